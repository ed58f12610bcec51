"""Of boxes that cover the same object the best one: non-maximum suppression, each class on its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_CANDIDATES", "box_iou", "suppress"]

MAX_CANDIDATES = 30_000
"""Boxes that are looked at, the best ones: Ultralytics' `max_nms`."""
BLOCK = 128
"""Boxes that are compared at a time, with each other and with those kept."""

Floats = NDArray[np.floating[Any]]


def box_iou(first: Floats, second: Floats) -> NDArray[np.float64]:
    """Return the intersection over union of every box [K, 4] with every other [M, 4], x1 y1 x2 y2: [K, M].

    A box without area overlaps nothing.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.clip(high - low, 0, None)
    both = sides[..., 0] * sides[..., 1]
    areas = [np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=-1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - both
    return np.asarray(np.divide(both, union, out=np.zeros_like(union), where=union > 0), np.float64)


def suppress(boxes: Floats, scores: Floats, labels: NDArray[np.int64], overlap: float, most: int) -> NDArray[np.int64]:
    """Return the indices of the boxes that no better one of their class overlaps by more than `overlap`, best first.

    `boxes` [K, 4], `scores` [K], `labels` [K]. As Ultralytics does it: at most `MAX_CANDIDATES` are looked at and
    `most` kept; equal scores follow each other as they are given. Memory is a block of boxes times `most`.
    """
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    kept = order[:0]
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        if len(kept):
            block = block[~_covered(boxes, labels, block, kept, overlap).any(axis=1)]
        kept = np.concatenate([kept, _best(block, _covered(boxes, labels, block, block, overlap))])
        if len(kept) >= most:
            break
    return np.asarray(kept[:most], np.int64)


def _covered(
    boxes: Floats, labels: NDArray[np.int64], these: NDArray[np.int64], by: NDArray[np.int64], overlap: float
) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = labels[these][:, None] == labels[by][None]
    return same & (box_iou(boxes[these], boxes[by]) > overlap)


def _best(block: NDArray[np.int64], covers: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return those of a block, best first, that none of the ones kept before them covers."""
    gone = np.zeros(len(block), np.bool_)
    for place in np.flatnonzero(covers.sum(axis=1) > 1):
        # Only what overlaps anything else is looked at; each row holds itself.
        gone[place] = bool((covers[place, :place] & ~gone[:place]).any())
    return block[~gone]
