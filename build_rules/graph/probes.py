"""What do the first layers of a graph make of plain images?

They are run as a model of their own on a black, a white and a coloured image for each channel, of which only a few
numbers are kept, and on a random image, of which one tensor at a time is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx.numpy_helper import from_array

from build_rules.graph.load.constants import Array
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.prove.runtime import open_session, run_session

__all__ = ["WHITE", "Probes"]

WHITE = 255
KEPT = 65536
"""Values that a median is taken of."""


@dataclass(frozen=True)
class _Seen:
    """One tensor for one image: the median of its values, and of its first image the mean along each axis."""

    median: float
    means: Mapping[int, Array]


class Probes:
    """The first layers `nodes` of a graph, with the values of their `constants`; `tensors` are what they make."""

    def __init__(
        self,
        view: GraphView,
        nodes: Sequence[onnx.NodeProto],
        tensors: Sequence[str],
        constants: Mapping[str, Array],
    ) -> None:
        """Run them. Raises `InputError` when onnxruntime does not."""
        self._image, self._kind, self._tensors = view.input, view.types[view.input.name], tensors
        graph = onnx.helper.make_graph(
            nodes,
            "first layers",
            [onnx.helper.make_tensor_value_info(view.input.name, self._kind, view.input.shape)],
            [onnx.helper.make_tensor_value_info(name, view.types[name], view.shapes[name]) for name in tensors],
            [from_array(value, name) for name, value in constants.items()],
        )
        model = onnx.helper.make_model(graph, opset_imports=view.model.opset_import)
        model.ir_version = max(view.model.ir_version, 4)
        self._session = open_session(model.SerializeToString(), "the model's first layers")
        self._axis = view.input.layout.index("c")
        self._black = self._seen([])
        self._white = self._seen(range(view.input.channels))
        self._colors = [self._seen([channel]) for channel in range(view.input.channels)]

    def _run(self, pixels: Array, tensors: Sequence[str]) -> dict[str, Array]:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(self._kind)
        return run_session(self._session, tensors, {self._image.name: pixels.astype(dtype)})

    def _seen(self, channels: Sequence[int]) -> dict[str, _Seen]:
        """Return what is seen of an image whose `channels` are white, the others black."""
        pixels = np.zeros(self._image.shape, np.uint8)
        np.moveaxis(pixels, self._axis, 0)[list(channels)] = WHITE
        return {name: _reduced(value) for name, value in self._run(pixels, self._tensors).items()}

    def is_same(self, first: str, second: str) -> bool:
        """Say whether black and white are the same in both tensors."""
        pairs = [(seen[second].median, WHITE * at if first == self._image.name else seen[first].median)
                 for at, seen in enumerate((self._black, self._white))]  # fmt: skip
        return all(abs(made - given) <= 1e-3 * max(1.0, abs(given)) for made, given in pairs)

    def gain(self, tensor: str) -> tuple[float, float] | None:
        """Return the (gain, mean) of most of a tensor's values: value = (input - mean) * gain.

        None where white gives the same as black; a picture turned to its negative has a gain below 0.
        """
        if tensor == self._image.name:
            return 1.0, 0.0
        black = self._black[tensor].median
        gain = (self._white[tensor].median - black) / WHITE
        return (gain, -black / gain) if np.isfinite(gain) and gain else None

    def channels(self, tensor: str, axis: int) -> tuple[Array, Array]:
        """Return, of the channels along `axis`, the offset (C) and the gain for each channel of the input (C, C)."""
        offset = self._black[tensor].means[axis]
        gains = [(seen[tensor].means[axis] - offset) / WHITE for seen in self._colors]
        return offset, np.stack(gains, axis=1)

    def random(self, tensor: str, axis: int) -> tuple[Array, Array]:
        """Return a random image (N, C, H, W) and the tensor for it, its `axis` brought to the second place."""
        pixels = np.random.default_rng(0).integers(0, WHITE + 1, self._image.shape, dtype=np.uint8)
        prepared = self._run(pixels, [tensor])[tensor]
        return np.moveaxis(pixels, self._axis, 1), np.moveaxis(prepared, axis, 1)


def _reduced(value: Array) -> _Seen:
    flat = value.reshape(-1)
    # An odd step walks through all channels and columns instead of hitting the same ones again and again.
    median = float(np.median(flat[:: flat.size // KEPT | 1].astype(np.float64)))
    if value.ndim != 4:
        return _Seen(median, {})
    means = {axis: value[0].mean(axis=tuple({0, 1, 2} - {axis - 1}), dtype=np.float64) for axis in (1, 3)}
    return _Seen(median, means)
