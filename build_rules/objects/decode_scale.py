"""What the maps of one scale hold, at the places alone whose score is high enough.

A place is a cell, and of an anchor head a cell and an anchor. Each has one object, of its best class, as the EdgeFirst
HAL takes it and Ultralytics' `predict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, log
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from build_rules.objects.formulas import activated, anchor_boxes, averaged_bins, boxes_from_sides
from build_rules.objects.found import Objects
from build_rules.records.roles import BEFORE_SCORES, DFL, SIGMOID
from build_rules.records.split_json import Endpoint, Level

__all__ = ["CutScale", "GridScale", "Scale", "Tensors"]

Tensors = Mapping[str, NDArray[np.float32]]
"""Endpoint name -> [H, W, C]."""
Floats = NDArray[np.float64]

BELOW = 1e-3
"""How far below the logit of a score values are looked at: float32 rounds, and the score itself decides afterwards."""


class Scale(Protocol):
    """The maps of one stride."""

    @property
    def stride(self) -> int:
        """Pixels of the input from cell to cell."""

    @property
    def classes(self) -> int:
        """How many classes are told apart."""

    def read(self, tensors: Tensors, score: float) -> Objects:
        """Return the objects scored above `score`, in the order of their places."""

    def best(self, tensors: Tensors) -> NDArray[np.float32]:
        """Return the best score of each cell, [H, W]."""


@dataclass(frozen=True)
class CutScale:
    """Boxes and scores as maps of their own, in some heads an objectness.

    `applied` are the names of the endpoints whose values are behind their activation already.
    """

    stride: int
    boxes: Endpoint
    scores: Endpoint
    objectness: Endpoint | None
    applied: frozenset[str]

    @property
    def classes(self) -> int:
        """Channels of the scores."""
        return self.scores.shape[1]

    def read(self, tensors: Tensors, score: float) -> Objects:
        """Return the objects scored above `score`."""
        scores, activation = tensors[self.scores.name], self._activation(self.scores)
        if activation not in (None, SIGMOID):
            scores, activation = activated(scores, activation), None
        rows, columns = np.nonzero(scores.max(axis=-1) > _least(score, activation))
        values = scores[rows, columns]
        labels = values.argmax(axis=-1)
        best = activated(np.take_along_axis(values, labels[:, None], axis=-1)[:, 0].astype(np.float64), activation)
        if self.objectness is not None:
            sure = tensors[self.objectness.name][rows, columns, 0].astype(np.float64)
            best = best * activated(sure, self._activation(self.objectness))
        keep = best > score
        rows, columns = rows[keep], columns[keep]
        values = tensors[self.boxes.name][rows, columns].astype(np.float64)
        sides = averaged_bins(values) if self.boxes.encoding == DFL else values
        middle = (np.stack([columns, rows], axis=-1) + 0.5) * self.stride
        return Objects(boxes_from_sides(sides, middle, self.stride), best[keep], labels[keep])

    def best(self, tensors: Tensors) -> NDArray[np.float32]:
        """Return the best score of each cell, [H, W]."""
        scores, activation = tensors[self.scores.name], self._activation(self.scores)
        if activation not in (None, SIGMOID):
            scores, activation = activated(scores, activation), None
        best = activated(scores.max(axis=-1), activation)
        if self.objectness is not None:
            best = best * activated(tensors[self.objectness.name][..., 0], self._activation(self.objectness))
        return np.asarray(best, np.float32)

    def _activation(self, endpoint: Endpoint) -> str | None:
        return None if endpoint.name in self.applied else endpoint.activation


@dataclass(frozen=True)
class GridScale:
    """A raw grid: for each of its anchors four coordinates, objectness, the class scores, and what is not read."""

    stride: int
    grid: Endpoint
    anchors: Level
    classes: int

    def read(self, tensors: Tensors, score: float) -> Objects:
        """Return the objects scored above `score`."""
        values = self._per_anchor(tensors)
        least = _least(score, SIGMOID)
        rows, columns, anchors = np.nonzero(values[..., BEFORE_SCORES - 1] > least)
        found = values[rows, columns, anchors, : BEFORE_SCORES + self.classes].astype(np.float64)
        labels = found[:, BEFORE_SCORES:].argmax(axis=-1)
        scores = np.prod(activated(found[np.arange(len(found))[:, None], _sure_and(labels)], SIGMOID), axis=-1)
        keep = scores > score
        middle = (np.stack([columns, rows], axis=-1)[keep] + 0.5) * self.stride
        sizes = np.array(self.anchors, np.float64)[anchors[keep]]
        return Objects(anchor_boxes(found[keep, :4], middle, sizes, self.stride), scores[keep], labels[keep])

    def best(self, tensors: Tensors) -> NDArray[np.float32]:
        """Return the best score of each cell, [H, W]."""
        values = self._per_anchor(tensors)
        sure = activated(values[..., BEFORE_SCORES - 1], SIGMOID)
        scores = activated(values[..., BEFORE_SCORES : BEFORE_SCORES + self.classes].max(axis=-1), SIGMOID)
        return np.asarray((sure * scores).max(axis=-1), np.float32)

    def _per_anchor(self, tensors: Tensors) -> NDArray[np.float32]:
        values = tensors[self.grid.name]
        return values.reshape(*values.shape[:2], len(self.anchors), values.shape[2] // len(self.anchors))


def _sure_and(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the channels of the objectness and of the best class, [K, 2]."""
    return np.stack([np.full(len(labels), BEFORE_SCORES - 1), BEFORE_SCORES + labels], axis=-1)


def _least(score: float, activation: str | None) -> float:
    """Return what values exceed whose score exceeds `score`, and few others."""
    if activation is None:
        return score - BELOW * score
    return log(score / (1 - score)) - BELOW if score > 0 else -inf
