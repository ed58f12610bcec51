"""What do the first layers of a graph say about the pixels that it takes?

Exporters put the preparation of pixels into the graph: a cast of bytes, a turn from [H, W, C], red and blue swapped, a
division by 255, means and deviations. Which layers may belong to that, their operators tell; what they compute is not
read from them but measured: they are run on a black image, on one of each colour and on a random one. So however it is
written, it is understood, or it is not of that kind.

Where every channel comes out as (input - mean) / std of one channel, the layers are the graph's **front**: the model
script's normalization does the same on the chip, and the compiler begins behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx.numpy_helper import to_array

from build_rules.errors import InputError
from build_rules.graph.load.constants import Array
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.load.node_order import node_inputs
from build_rules.onnx_file.weights import is_readable, load_tensor
from build_rules.records.split_json import Front, PixelFacts

if TYPE_CHECKING:
    from build_rules.graph.probes import Probes

__all__ = ["read_front"]

MOVES = frozenset(
    {
        *("Identity", "Cast", "Dropout", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Gather", "Slice", "Split"),
        *("Concat", "Pad", "Resize", "Upsample", "SpaceToDepth", "DepthToSpace", "AveragePool", "MaxPool"),
        *("CastLike", "CenterCropPad", "Einsum", "Expand", "Flatten", "Pow", "Tile", "Where"),
    }
)
BOUNDS = frozenset({"Abs", "Clip", "Min", "Max", "Relu", "Round", "Floor", "Ceil"})
"""What does nothing to pixels, 0..255, where they are meant, and something to what is meant to be 0..1 already."""
ARITHMETIC = frozenset({"Sub", "Add", "Sum", "Mul", "Div", "Neg", "BatchNormalization", "Conv", "MatMul"})
MIXING = ("Conv", "MatMul")
"""Arithmetic that makes each channel of all, as a trained layer does."""
MAX_NODES = 64
MAX_GROWTH = 4
"""What a layer of a front may make of an image, in images."""
MAX_ELEMENTS = 1 << 24
MAX_IN_ALL = 1 << 26
"""Elements that the first layers may make of an image together, 256 MiB in float."""
FLOAT = onnx.TensorProto.FLOAT
HALF = onnx.TensorProto.FLOAT16
ROUNDING, HALF_ROUNDING = 1e-5, 2e-3

SMALL_GAIN = 1 / 50
"""What brings values to a fiftieth or less was made for 0..255: of 0..1 nothing would be left."""
LARGE_MEAN = 10.0
"""A mean that is subtracted from values in 0..1 or -1..1 is never as large."""
UNIT_GAIN = 1.5
"""What spreads values as the deviations of ImageNet do (1 / 0.229) was not made for 0..255."""
SCALES = (127.5, 128.0, 255.0, 256.0)


@dataclass(frozen=True)
class _Region:
    """The first layers that may prepare pixels; `tensors` are what they make, `bounded` those behind a bound.

    `learned` are those behind a layer that may have been trained, whose size therefore says less.
    """

    nodes: tuple[onnx.NodeProto, ...]
    tensors: tuple[str, ...]
    learned: frozenset[str]
    bounded: frozenset[str]
    constants: Mapping[str, Array]


@dataclass(frozen=True)
class _Affine:
    """value = (input - mean) / std, for each channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    swapped: bool

    @property
    def changes(self) -> bool:
        return self.swapped or any(self.mean) or any(std != 1 for std in self.std)


def read_front(view: GraphView) -> PixelFacts:
    """Return what the first layers of a graph say.

    Raises `InputError` when bytes come in and are worked on before they are made numbers, and for an image too large.
    """
    is_bytes = view.types[view.input.name] == onnx.TensorProto.UINT8
    region = _region(view)
    if not region.nodes:
        _check_bytes(view, None, is_bytes)
        return PixelFacts()
    in_all = sum(prod(view.shapes[name]) for name in region.tensors)
    if prod(view.input.shape) > MAX_ELEMENTS or in_all > MAX_IN_ALL:
        raise InputError(
            f"the input '{view.input.name}' {view.shape_text(view.input.name)} is too large for its first layers to be "
            "looked at; export the model with batch 1."
        )
    from build_rules.graph.probes import Probes

    probes = Probes(view, region.nodes, region.tensors, region.constants)
    certain = ("raw", f"takes bytes ('{view.input.name}' is UINT8)") if is_bytes else _certain(view, region, probes)
    start, affine = _start(view, region, probes, certain[0] == "raw")
    cut = start is not None and affine is not None and (affine.changes or view.types[view.input.name] != FLOAT)
    front = None
    if cut and start is not None and affine is not None:
        front = Front(start, (1, *view.shapes[start][1:]), affine.mean, affine.std, affine.swapped)
    _check_bytes(view, front, is_bytes)
    means = (None, None) if affine is None else (affine.mean, affine.std)
    return PixelFacts(front, certain[0], certain[1], *means)


def _check_bytes(view: GraphView, front: Front | None, is_bytes: bool) -> None:
    if front is not None or not is_bytes:
        return
    user = next((node for node in view.nodes if view.input.name in node_inputs(node)), None)
    where = "" if user is None else f" by '{user.name}' ({user.op_type})"
    fault = "go to the network in several ways" if user is not None and user.op_type == "Cast" else f"are used{where}"
    raise InputError(
        f"the input '{view.input.name}' holds bytes (UINT8), which {fault} before they are one image of floats, as the "
        "compiler needs it; export the model with a single Cast to float first, or with a float input."
    )


def _region(view: GraphView) -> _Region:
    reached: set[str] = {view.input.name}
    learned: set[str] = set()
    bounded: set[str] = set()
    nodes: list[onnx.NodeProto] = []
    tensors: list[str] = []
    constants: dict[str, Array] = {}
    limit = MAX_GROWTH * prod(view.input.shape)
    for node in view.nodes:
        sources = [name for name in node_inputs(node) if name in view.image_tensors]
        if not sources or not reached.issuperset(sources) or not _may_prepare(view, node, sources):
            continue
        if len(nodes) == MAX_NODES or any(prod(view.shapes.get(name, (limit + 1,))) > limit for name in node.output):
            continue
        given = {name: _constant(view, name) for name in node.input if name and name not in sources}
        if any(value is None for value in given.values()):
            continue
        constants |= {name: value for name, value in given.items() if value is not None}
        nodes.append(node)
        reached.update(node.output)
        tensors += node.output
        if node.op_type in ("BatchNormalization", *MIXING) or learned.intersection(sources):
            learned.update(node.output)
        if node.op_type in BOUNDS or bounded.intersection(sources):
            bounded.update(node.output)
    return _Region(tuple(nodes), tuple(tensors), frozenset(learned), frozenset(bounded), constants)


def _constant(view: GraphView, name: str) -> Array | None:
    """Return the value of a constant; a stored one may be as large as the image (a mean image)."""
    stored = next((tensor for tensor in view.model.graph.initializer if tensor.name == name), None)
    if stored is None or prod(stored.dims) > prod(view.input.shape) or not is_readable(stored):
        return view.constant(name)
    value: Array = to_array(load_tensor(stored, view.files))
    return value


def _may_prepare(view: GraphView, node: onnx.NodeProto, sources: Sequence[str]) -> bool:
    if node.domain not in ("", "ai.onnx") or not all(node.output):
        return False
    if node.op_type in MOVES or (node.op_type in BOUNDS and len(sources) == 1):
        return True
    if node.op_type not in ARITHMETIC or len(sources) != 1:
        return False
    if node.op_type in MIXING:
        return node.input[0] == sources[0] and _is_pointwise(view, node)
    return node.op_type in ("Add", "Mul", "Sub", "Sum") or node.input[0] == sources[0]


def _is_pointwise(view: GraphView, node: onnx.NodeProto) -> bool:
    """Say whether a layer looks at one pixel only and gives as many channels as it takes."""
    before, after = view.shapes.get(node.input[0], ()), view.shapes.get(node.output[0], ())
    kernel = view.shapes.get(node.input[1], ())
    if node.op_type == "MatMul":
        return before == after and before[-1:] == (view.input.channels,) and len(kernel) == 2
    return before == after and len(kernel) == 4 and kernel[2:] == (1, 1) and len(after) == 4


def _start(view: GraphView, region: _Region, probes: Probes, is_raw: bool) -> tuple[str | None, _Affine | None]:
    """Return the last tensor that everything behind hangs on and that is the image, prepared; what it is of it.

    A bound is passed over only where it is certain that pixels come in, which it leaves alone.
    """
    halves = any(view.types[tensor] == HALF for tensor in region.tensors)
    for tensor in reversed(region.tensors):
        if view.types[tensor] not in (FLOAT, HALF) or (tensor in region.bounded and not is_raw):
            continue
        if not _is_bottleneck(view, region, tensor):
            continue
        affine = _affine(view, tensor, probes, HALF_ROUNDING if halves else ROUNDING)
        if affine is not None:
            return tensor, affine
    return None, None


def _is_bottleneck(view: GraphView, region: _Region, tensor: str) -> bool:
    """Say whether everything behind hangs on a tensor alone: nobody else reads what comes before it."""
    hidden, before = {tensor}, set()
    for node in reversed(region.nodes):
        if hidden.intersection(node.output):
            before.add(node.name)
            hidden.update(node.output, (name for name in node_inputs(node) if name in view.image_tensors))
    hidden.discard(tensor)
    if hidden.intersection(view.outputs):
        return False
    # The shape of a tensor is known without it.
    others = (node for node in view.nodes if node.name not in before and node.op_type not in ("Shape", "Size"))
    return not any(hidden.intersection(node_inputs(node)) for node in others)


def _affine(view: GraphView, tensor: str, probes: Probes, rounding: float) -> _Affine | None:
    image = view.input
    shape, channels = view.shapes[tensor], image.channels
    layouts = {1: (channels, image.height, image.width), 3: (image.height, image.width, channels)}
    axis = next((axis for axis, layout in layouts.items() if shape[1:] == layout), None)
    if axis is None:
        return None
    offset, gains = probes.channels(tensor, axis)
    order = np.abs(gains).argmax(axis=1)
    gain = gains[np.arange(channels), order]
    if not np.isfinite(gains).all() or (gain <= 0).any() or order.tolist() not in _orders(channels):
        return None
    std = [_plain(1 / value) for value in gain]
    mean = [_plain(-o * s) if abs(o) > 1e-5 else 0.0 for o, s in zip(offset, std, strict=True)]
    pixels, prepared = probes.random(tensor, axis)
    column = (1, channels, 1, 1)
    wanted = (pixels[:, order] - np.reshape(mean, column)) / np.reshape(std, column)
    if not np.allclose(prepared, wanted, rtol=rounding, atol=rounding * float(np.abs(wanted).max())):
        return None
    return _Affine(tuple(mean), tuple(std), order.tolist() != list(range(channels)))


def _orders(channels: int) -> list[list[int]]:
    """Return the orders of channels that are colours of a camera adaptor: as they are, and red and blue swapped."""
    plain = list(range(channels))
    return [plain, [2, 1, 0, *plain[3:]]] if channels in (3, 4) else [plain]


def _plain(value: float) -> float:
    """Return a number as somebody may have written it: float32 holds no more than these digits for certain."""
    return float(f"{value:.6g}") + 0.0


def _certain(view: GraphView, region: _Region, probes: Probes) -> tuple[str | None, str]:
    """Return what the first layers' arithmetic was made for, with the reason; None where it says nothing."""
    takes, because = None, ""
    clamped: set[str] = set()
    for node in region.nodes:
        if clamped.intersection(node.input) or (node.op_type in BOUNDS and not probes.is_same(*_way(view, node))):
            clamped.update(node.output)
            continue
        written = _written_in(view, region, node, probes) if node.op_type in ARITHMETIC else None
        size = None if written is None else _size(*written)
        if written is not None and size is not None:  # of several the last one, which has all before it in it
            takes, (gain, mean) = size, written
            because = f"begins with (x - {_plain(mean):.4g}) / {1 / gain:.4g} ('{node.name}', {node.op_type})"
    return takes, because


def _way(view: GraphView, node: onnx.NodeProto) -> tuple[str, str]:
    """Return what of the image goes into a node, and what comes out."""
    return next(name for name in node.input if name in view.image_tensors), node.output[0]


def _written_in(view: GraphView, region: _Region, node: onnx.NodeProto, probes: Probes) -> tuple[float, float] | None:
    """Return the (gain, mean) that somebody wrote down in a layer, with all before it; None for what was trained."""
    source, _ = _way(view, node)
    if source in region.learned:
        return None
    if node.op_type == "BatchNormalization":
        return _normalized(probes.gain(source), region, node)
    gain_and_mean = probes.gain(node.output[0])
    return _usual(gain_and_mean) if node.op_type in MIXING else gain_and_mean


def _normalized(
    before: tuple[float, float] | None, region: _Region, node: onnx.NodeProto
) -> tuple[float, float] | None:
    """Return what the running mean and variance of a batch normalization say; its factors are learned."""
    mean, variance = (float(np.median(region.constants[name])) for name in node.input[3:5])
    if before is None or not variance > 0:
        return None
    gain, shift = before
    return gain / float(np.sqrt(variance)), shift + mean / gain


def _usual(written: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return what weights do if nobody would have trained them to: a usual scale, with a usual mean or none."""
    if written is None:
        return None
    std, mean = 1 / written[0], written[1]
    usual = 40 <= std <= 80 and 90 <= mean <= 140
    scaled = any(abs(std - scale) < 0.1 for scale in SCALES) and (abs(mean) < 0.1 or 127 <= mean <= 128.5)
    return written if usual or scaled else None


def _size(gain: float, mean: float) -> str | None:
    if abs(gain) <= SMALL_GAIN or mean >= LARGE_MEAN:
        return "raw"
    return "unit" if gain >= UNIT_GAIN and 0 <= mean <= 1 else None
