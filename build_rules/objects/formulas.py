"""What EdgeFirst's decoders make of the values of places, whole maps of them or a few.

Values have their channels last. Boxes are x1 y1 x2 y2 in pixels of the input, `[..., 4]`. Sources: the decode of
Ultralytics' YOLOv8 to YOLO26 and of yolov5 7.0, which the EdgeFirst HAL and decoder follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from build_rules.records.roles import SIGMOID, SOFTMAX, TANH

__all__ = ["activated", "anchor_boxes", "averaged_bins", "boxes_from_sides", "middles"]

SIDES = 4
Array = NDArray[Any]


def activated(values: Array, activation: str | None) -> Array:
    """Return the values behind an activation; a softmax runs along the channels."""
    if activation == SIGMOID:
        # Beyond 80 nothing changes in 64 bits, and 32 bits do not overflow.
        odds: Array = np.exp(-np.clip(values, -80, 80))
        return 1 / (1 + odds)
    if activation == TANH:
        return np.tanh(values)
    if activation == SOFTMAX:
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
        shares: Array = powers / powers.sum(axis=-1, keepdims=True)
        return shares
    return values


def averaged_bins(values: Array) -> Array:
    """Return the four distances of DFL values [..., 4 * bins]: the mean over a run of bins for each side."""
    shares = activated(values.reshape(*values.shape[:-1], SIDES, values.shape[-1] // SIDES), SOFTMAX)
    means: Array = (shares * np.arange(shares.shape[-1])).sum(axis=-1)
    return means


def boxes_from_sides(sides: Array, middle: Array, stride: int) -> Array:
    """Return the boxes of left, top, right, bottom [..., 4]: distances from the `middle` [..., 2] in cells."""
    left_top, right_bottom = np.split(sides * stride, 2, axis=-1)
    return np.concatenate([middle - left_top, middle + right_bottom], axis=-1)


def anchor_boxes(values: Array, middle: Array, anchor: Array, stride: int) -> Array:
    """Return the boxes of raw x, y, width, height [..., 4]; an `anchor` [..., 2] is (width, height) in pixels."""
    half, extent = np.split(activated(values, SIGMOID), 2, axis=-1)
    centre = middle + (2 * half - 1) * stride
    size = (2 * extent) ** 2 * anchor
    return np.concatenate([centre - size / 2, centre + size / 2], axis=-1)


def middles(shape: Sequence[int], stride: int) -> Array:
    """Return x and y of the middle of each cell, [H, W, 2], in pixels."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    return (np.stack([columns, rows], axis=-1) + 0.5) * stride
