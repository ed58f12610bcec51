"""Cross-layer equalization: channels between two layers brought to one scale, so that one grid suits them all.

Where nothing but a positively homogeneous function f (none, ReLU, leaky ReLU) stands between two layers with kernels,
f(W1 x + b1) may shrink channel by channel if the kernel behind grows as much:

    W1[i] / s[i],  b1[i] / s[i],  W2[:, i] * s[i]     s[i] = sqrt(r1[i] * r2[i]) / r2[i],  r = largest absolute weight

(Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction, section 4.1), swept over all
pairs until nothing moves. That is best for weights on one grid per tensor; ours have one per output channel, and what
a pair then gains or loses is in the activations. So a pair is only changed where the noise expected behind it falls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from build_rules.compilers.emulator.fuse import Layer
from build_rules.compilers.emulator.graph import attribute, read_graph
from build_rules.compilers.emulator.network import Network, kernel_axis
from build_rules.compilers.emulator.qdq import float_model
from build_rules.compilers.emulator.quantization_plan import Plan
from build_rules.compilers.emulator.script_settings import Settings
from build_rules.compilers.emulator.sessions import map_samples, open_session, run
from build_rules.compilers.samples import Samples

__all__ = ["Equalized", "equalize"]

HOMOGENEOUS = frozenset({"Relu", "LeakyRelu", "Identity", "Dropout"})
CONVOLUTIONS = ("conv", "dw")
SWEEPS = 20
SETTLED = 0.01
"""A sweep that moves no channel by more than this part is the last."""

FARTHEST = 1e4
"""No channel is moved by more: whose weights are next to nothing, is not worth the others' precision."""

GAIN = 0.5
"""A pair is changed where the expected noise falls below this part: what is well scaled stays as it is."""

LOOKED_AT = 4
"""Samples that the extremes of channels are taken from; only whether a pair is changed depends on them."""

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Equalized:
    """The network with some pairs equalized, which computes what it did; `pairs`: the first layer of each."""

    network: Network
    pairs: tuple[str, ...]


@dataclass(frozen=True)
class _Pair:
    first: Layer
    second: Layer

    @property
    def tensor(self) -> str:
        return self.second.inputs[0]


@dataclass(frozen=True)
class _Channels:
    """What the samples show of each channel of one tensor: its ends (0 among them), and its mean square."""

    lows: Doubles
    highs: Doubles
    squares: Doubles


def equalize(network: Network, settings: Settings, samples: Samples, indices: Sequence[int]) -> Equalized:
    """Equalize a network as a script asks for; where a line gives the range of a layer, that one stays in its unit."""
    pairs = _pairs(network, settings) if settings.equalization else ()
    if not pairs:
        return Equalized(network, ())
    kernels = {layer.name: _rows(network, layer) for pair in pairs for layer in (pair.first, pair.second)}
    scales = _scales(network, pairs, kernels)
    seen = _observed(network, settings, pairs, samples, indices[:LOOKED_AT])

    def noise(pair: _Pair, divided_by: Doubles) -> float:
        return _noise(kernels[pair.second.name], _groups(network, pair.second), seen[pair.tensor], divided_by)

    kept = {pair: scale for pair, scale in scales.items() if noise(pair, scale) < GAIN * noise(pair, np.ones(1))}
    return (
        Equalized(_scaled(network, kept), tuple(pair.first.name for pair in kept)) if kept else Equalized(network, ())
    )


def _pairs(network: Network, settings: Settings) -> tuple[_Pair, ...]:
    graph = network.graph
    kernels = {layer.nodes[0]: layer for layer in network.weighted if _has_rows(network, layer)}
    pairs = []
    for first in kernels.values():
        tensor = first.outputs[0]
        users = graph.consumers.get(tensor, ())
        second = kernels.get(users[0]) if len(users) == 1 else None
        if second is None or tensor in graph.outputs or second.inputs != (tensor,):
            continue
        if (first.kind in CONVOLUTIONS) != (second.kind in CONVOLUTIONS):
            continue
        if first.name in settings.unequalized or first.name in settings.ranges:
            continue
        if all(graph.nodes[index].op_type in HOMOGENEOUS for index in first.nodes[1:]):
            pairs.append(_Pair(first, second))
    return tuple(pairs)


def _has_rows(network: Network, layer: Layer) -> bool:
    return layer.kind in CONVOLUTIONS or (layer.kind == "dense" and network.kernel(layer).ndim == 2)


def _groups(network: Network, layer: Layer) -> int:
    return int(attribute(network.graph.nodes[layer.nodes[0]], "group", 1)) if layer.kind in CONVOLUTIONS else 1


def _rows(network: Network, layer: Layer) -> Doubles:
    """Return a kernel as [outputs, inputs of a group, taps]."""
    kernel = np.moveaxis(network.kernel(layer).astype(np.float64), kernel_axis(network.graph, layer), 0)
    return kernel.reshape(*kernel.shape[:2], -1)


def _scales(network: Network, pairs: Sequence[_Pair], kernels: Mapping[str, Doubles]) -> dict[_Pair, Doubles]:
    """Return what each channel between a pair is divided by."""
    moved = dict(kernels)
    scales = {pair: np.ones(len(kernels[pair.first.name])) for pair in pairs}
    for _ in range(SWEEPS):
        farthest = 0.0
        for pair in pairs:
            groups, before = _groups(network, pair.second), scales[pair]
            first, second = moved[pair.first.name], moved[pair.second.name]
            made, read = np.abs(first).max(axis=(1, 2)), _largest_read(second, groups)
            alive = (made > 0) & (read > 0)
            wanted = before * np.sqrt(np.divide(made, read, out=np.ones_like(made), where=alive))
            scales[pair] = np.clip(wanted, 1 / FARTHEST, FARTHEST)
            step = scales[pair] / before
            moved[pair.first.name] = first / step[:, None, None]
            moved[pair.second.name] = second * _columns(step, second, groups)
            farthest = max(farthest, float(np.abs(np.log(step)).max()))
        if farthest < SETTLED:
            break
    return scales


def _largest_read(rows: Doubles, groups: int) -> Doubles:
    """Return the largest absolute weight that reads each input channel."""
    largest = np.abs(rows).max(axis=2)
    return np.asarray(largest.reshape(groups, -1, rows.shape[1]).max(axis=1).reshape(-1))


def _columns(values: Doubles, rows: Doubles, groups: int) -> Doubles:
    """Return numbers of input channels, shaped to multiply a kernel by: [outputs, inputs of a group, 1]."""
    return values.reshape(groups, -1).repeat(len(rows) // groups, axis=0)[:, :, None]


def _observed(
    network: Network, settings: Settings, pairs: Iterable[_Pair], samples: Samples, indices: Sequence[int]
) -> dict[str, _Channels]:
    plan = Plan({}, {}, {}, {}, {}, settings.mean, settings.std)
    axes = {pair.tensor: 1 if pair.first.kind in CONVOLUTIONS else -1 for pair in pairs}
    session = open_session(float_model(network, plan, list(axes), delivers=False))

    def one(index: int) -> dict[str, _Channels]:
        return {name: _channels(value, axes[name]) for name, value in run(session, samples.sample(index)).items()}

    parts = map_samples(one, indices)
    return {
        name: _Channels(
            np.min([part[name].lows for part in parts], axis=0),
            np.max([part[name].highs for part in parts], axis=0),
            np.mean([part[name].squares for part in parts], axis=0),
        )
        for name in axes
    }


def _channels(value: npt.NDArray[np.float32], axis: int) -> _Channels:
    rows = np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1)
    squares = np.square(rows, dtype=np.float64).mean(axis=1)
    return _Channels(np.minimum(rows.min(axis=1), 0), np.maximum(rows.max(axis=1), 0), squares)


def _noise(rows: Doubles, groups: int, seen: _Channels, scales: Doubles) -> float:
    """Return the noise power expected behind the second layer, in 8 bits: of its rounded input and of its kernel.

    Rounding makes step^2 / 12 of noise. A row's scale is the row's own affair, so its unit is as it was.
    """
    scales = np.broadcast_to(scales, seen.lows.shape)
    moved = rows * _columns(scales, rows, groups)
    step = (float((seen.highs / scales).max()) - float((seen.lows / scales).min())) / 255
    steps = np.abs(moved).max(axis=(1, 2)) / 127
    power = _columns(seen.squares / scales**2, rows, groups).sum(axis=(1, 2)) * rows.shape[2]
    return float(step**2 * np.square(moved).sum() + (steps**2 * power).sum()) / 12


def _scaled(network: Network, kept: Mapping[_Pair, Doubles]) -> Network:
    made = {pair.first.name: scales for pair, scales in kept.items()}
    read = {pair.second.name: scales for pair, scales in kept.items()}
    model = onnx.ModelProto()
    model.CopyFrom(network.graph.model)
    nodes = {node.output[0]: node for node in model.graph.node if node.output}
    for layer in network.weighted:
        if layer.name not in made and layer.name not in read:
            continue
        node = nodes[network.graph.nodes[layer.nodes[0]].output[0]]
        rows = _rows(network, layer)
        if layer.name in read:
            rows = rows * _columns(read[layer.name], rows, _groups(network, layer))
        if layer.name in made:
            rows = rows / made[layer.name][:, None, None]
        _store(model, node, 1, f"{layer.name}/equalized_kernel", _as_kernel(network, layer, rows))
        if layer.name in made and len(node.input) > 2 and node.input[2]:
            bias = network.graph.constant(node.input[2]).astype(np.float64).reshape(-1) / made[layer.name]
            _store(model, node, 2, f"{layer.name}/equalized_bias", bias)
    return replace(network, graph=read_graph(model, network.graph.outputs))


def _as_kernel(network: Network, layer: Layer, rows: Doubles) -> Doubles:
    kernel = network.kernel(layer)
    axis = kernel_axis(network.graph, layer)
    return np.moveaxis(rows.reshape(np.moveaxis(kernel, axis, 0).shape), 0, axis)


def _store(model: onnx.ModelProto, node: onnx.NodeProto, place: int, name: str, value: Doubles) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
    node.input[place] = name
