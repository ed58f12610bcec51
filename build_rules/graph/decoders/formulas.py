"""What EdgeFirst's decoders make of the maps of one scale, in float64.

Boxes are x1 y1 x2 y2 in pixels of the input, `[anchors, H, W, 4]`; other values `[anchors, H, W, channels]`; a head
without anchors has one. Maps are `[C, H, W]`. Sources: the decode of Ultralytics' YOLOv8 to YOLO26 and of yolov5 7.0,
which the EdgeFirst HAL and decoder follow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from build_rules.graph.load.constants import Array
from build_rules.records.roles import SIGMOID, SOFTMAX, TANH

__all__ = ["activated", "anchor_boxes", "averaged_bins", "boxes_from_sides", "middles", "per_place"]

SIDES = 4


def activated(values: Array, activation: str | None, axis: int = -1) -> Array:
    """Return the values behind an activation; a softmax runs along `axis`."""
    if activation == SIGMOID:
        return 1 / (1 + np.exp(-values))
    if activation == TANH:
        return np.tanh(values)
    if activation == SOFTMAX:
        powers = np.exp(values - values.max(axis=axis, keepdims=True))
        shares: Array = powers / powers.sum(axis=axis, keepdims=True)
        return shares
    return values


def per_place(values: Array) -> Array:
    """Return a map with its channels last, [1, H, W, C]."""
    return np.moveaxis(values, 0, -1)[np.newaxis]


def averaged_bins(values: Array) -> Array:
    """Return the distances [4, H, W] of a DFL map: the mean over a run of bins for each side."""
    bins = values.reshape(SIDES, -1, *values.shape[1:])
    weights = np.arange(bins.shape[1]).reshape(1, -1, 1, 1)
    means: Array = (activated(bins, SOFTMAX, axis=1) * weights).sum(axis=1)
    return means


def boxes_from_sides(sides: Array, stride: int) -> Array:
    """Return the boxes of left, top, right, bottom [4, H, W], distances from the middle of each cell in cells."""
    left_top, right_bottom = np.split(np.moveaxis(sides, 0, -1) * stride, 2, axis=-1)
    middle = middles(sides.shape[1:], stride)
    return np.concatenate([middle - left_top, middle + right_bottom], axis=-1)[np.newaxis]


def anchor_boxes(values: Array, anchors: Sequence[tuple[float, float]], stride: int) -> Array:
    """Return the boxes of x, y, width, height [anchors, 4, H, W], raw; `anchors` are (width, height) in pixels."""
    half, extent = np.split(np.moveaxis(activated(values, SIGMOID), 1, -1), 2, axis=-1)
    middle = middles(values.shape[2:], stride) + (2 * half - 1) * stride
    size = (2 * extent) ** 2 * np.array(anchors)[:, np.newaxis, np.newaxis]
    return np.concatenate([middle - size / 2, middle + size / 2], axis=-1)


def middles(shape: Sequence[int], stride: int) -> Array:
    """Return x and y of the middle of each cell, [H, W, 2], in pixels."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    return (np.stack([columns, rows], axis=-1) + 0.5) * stride
