"""What is quantized, and how: the numbers of one quantized network, and which tensors share them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from build_rules.compilers.emulator.fuse import Layer
from build_rules.compilers.emulator.graph import attribute
from build_rules.compilers.emulator.network import Floats, Network
from build_rules.compilers.emulator.script_settings import Settings

__all__ = ["Grid", "Kernel", "Plan", "grid", "group_bits", "image_tensors", "rounding_layers", "share_grids"]

PASSIVE = frozenset(
    {
        *("maxpool", "format_conversion", "feature_splitter", "spatial_splitter", "slice", "shortcut"),
        *("depth_to_space", "space_to_depth"),
    }
)
"""Kinds that only move or select values: what they read and what they write lies on one grid."""


@dataclass(frozen=True)
class Grid:
    """A quantization: `real = scale * (q - zero_point)`, q unsigned with `bits` bits."""

    scale: float
    zero_point: int
    bits: int

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Return the type of q."""
        return np.uint8 if self.bits == 8 else np.uint16

    @property
    def limits(self) -> tuple[float, float]:
        """Return the smallest and largest real value the grid holds."""
        top = (1 << self.bits) - 1
        return self.scale * (0 - self.zero_point), self.scale * (top - self.zero_point)


@dataclass(frozen=True)
class Kernel:
    """A quantized kernel, symmetric per output channel: `real = scales[o] * values`; int8 (4 or 8 bits) or int16."""

    values: npt.NDArray[np.int8] | npt.NDArray[np.int16]
    scales: Floats
    bits: int


@dataclass(frozen=True)
class Plan:
    """Everything that makes a quantized network out of a float one.

    `tensors`: inner ONNX tensor -> grid, for those that are requantized. `kernels`, `biases`: by layer name.
    `outputs`: vstream -> grid; `folded`: vstream -> activation. `mean`, `std`: as in `Settings`.
    """

    tensors: Mapping[str, Grid]
    kernels: Mapping[str, Kernel]
    biases: Mapping[str, Floats]
    outputs: Mapping[str, Grid]
    folded: Mapping[str, str]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None


def grid(low: float, high: float, bits: int) -> Grid:
    """Return the grid of a range, widened to hold 0, which must be exact since padding is made of it."""
    low, high = min(low, 0.0), max(high, 0.0)
    top = (1 << bits) - 1
    # The scale is kept in float32, as the runtime stores it.
    scale = float(np.float32(max((high - low) / top, 1e-12)))
    return Grid(scale, int(np.clip(np.rint(-low / scale), 0, top)), bits)


def share_grids(network: Network, settings: Settings) -> dict[str, str]:
    """Map each tensor to the representative of those it shares one grid with; tensors on the image's grid are absent.

    Inputs of a concatenation share a grid with its output, as on the device, where concatenating moves bytes only.
    """
    parent: dict[str, str] = {network.graph.input: network.graph.input}

    def root(tensor: str) -> str:
        while parent.setdefault(tensor, tensor) != tensor:
            tensor = parent[tensor]
        return tensor

    for layer in network.layers:
        moved = _moved(network, layer, settings)
        # Pixels are exact as they are; only a concatenation could mix them with others, and then rounds anew.
        pixels = [tensor for tensor in moved if root(tensor) == network.graph.input]
        if moved and (not pixels or len(pixels) == len(moved)):
            for tensor in (*moved, *layer.outputs):
                parent[root(tensor)] = root(moved[0])
        else:
            for tensor in layer.outputs:
                root(tensor)
    return {tensor: root(tensor) for tensor in parent if root(tensor) != network.graph.input}


def rounding_layers(network: Network, shared: Mapping[str, str]) -> tuple[Layer, ...]:
    """Return the layers after which values are rounded: all but those that only move values on the grid they read."""
    return tuple(
        layer
        for layer in network.layers
        if not _is_moving(network, layer) or any(shared.get(t) != shared.get(layer.inputs[0]) for t in layer.outputs)
    )


def image_tensors(network: Network) -> frozenset[str]:
    """Return the tensors that hold the values of the network's input and no others, in whatever layout."""
    found = {network.graph.input}
    for layer in network.layers:
        if _is_moving(network, layer) and found.issuperset(layer.inputs):
            found.update(layer.outputs)
    return frozenset(found)


def _is_moving(network: Network, layer: Layer) -> bool:
    node = network.graph.nodes[layer.nodes[0]]
    nearest = node.op_type in ("Resize", "Upsample") and attribute(node, "mode", b"nearest") == b"nearest"
    return layer.kind in PASSIVE or layer.kind == "concat" or nearest


def _moved(network: Network, layer: Layer, settings: Settings) -> tuple[str, ...]:
    if layer.name in settings.precision or not _is_moving(network, layer):
        return ()
    return layer.inputs


def group_bits(network: Network, settings: Settings, shared: Mapping[str, str]) -> dict[str, int]:
    """Return the bits of every shared grid: 16 when a layer that writes or reads it is to work in 16 bits."""
    bits = dict.fromkeys(shared.values(), 8)

    def demand(tensors: Iterable[str], wanted: int) -> None:
        for tensor in tensors:
            if tensor in shared:
                bits[shared[tensor]] = max(bits[shared[tensor]], wanted)

    for layer in network.layers:
        if layer.name in settings.precision:
            demand(layer.outputs, settings.precision[layer.name].output_bits)
            demand(layer.inputs, settings.precision[layer.name].input_bits)
    return bits
