"""The exported graph up to its endpoints, in floats: what everything that is quantized is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from build_rules.inference import new_session, session_options
from build_rules.records.calibration_json import Feed
from build_rules.records.split_json import swapped_order

__all__ = ["ExportedGraph", "own_input"]

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


class ExportedGraph:
    """`split.onnx`, fed with samples as `feed.json` says; safe to use from several threads.

    `input` is the name of its input, `outputs` are those of its tensors, in the order of the endpoints.
    """

    def __init__(self, path: Path, feed: Feed) -> None:
        self._session, self._feed = new_session(str(path), session_options()), feed
        self._source = self._session.get_inputs()[0]
        self.input = str(self._source.name)
        self.outputs = tuple(str(output.name) for output in self._session.get_outputs())

    def run(self, sample: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return the tensors that it makes of one sample (C, H, W), each as the graph has it."""
        own = own_input(sample, self._feed, self._source)
        computed: list[NDArray[np.float32]] = self._session.run(list(self.outputs), {self.input: own})
        return computed


def own_input(sample: NDArray[np.uint8], feed: Feed, source: Any) -> NDArray[np.generic]:
    """Return a sample as the exported graph takes it: normalized, in its own order of colours, layout and type."""
    column = (-1, 1, 1)
    taken = feed.normalization
    values = (sample * np.float64(taken.scale) - np.reshape(taken.mean, column)) / np.reshape(taken.std, column)
    if feed.swapped:
        values = values[swapped_order(len(values))]
    image = values[None]
    if image.shape != tuple(source.shape):
        image = image.transpose(0, 2, 3, 1)
    kind = TYPES[source.type]
    return np.ascontiguousarray(np.rint(image) if kind is np.uint8 else image).astype(kind)
