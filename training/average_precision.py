"""Mean average precision at one overlap, the number by which detectors are compared.

As COCO computes it: detections of a class are taken by falling score, each claims the free object of its image it
overlaps most (at least `overlap`), precision is made monotone and averaged at 101 recalls. Classes without a single
object do not count. Only `numpy`, so that training, the build's tests and anybody's script can use the same ruler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["AveragePrecision", "Detections", "Truth", "average_precision", "box_iou"]

RECALLS = np.linspace(0, 1, 101)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Detections:
    """What a detector found in one image: boxes K x 4 (x1 y1 x2 y2), scores K, class indices K."""

    boxes: Floats
    scores: Floats
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Truth:
    """What is in one image: boxes M x 4 (x1 y1 x2 y2), class indices M."""

    boxes: Floats
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision per class (NaN where the truth has no object of it) and their mean."""

    per_class: tuple[float, ...]
    mean: float


def box_iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of every box of `a` (K x 4) with every box of `b` (M x 4): K x M."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.prod(np.clip(high - low, 0, None), axis=-1)
    area_a, area_b = np.prod(a[:, 2:] - a[:, :2], axis=-1), np.prod(b[:, 2:] - b[:, :2], axis=-1)
    return np.asarray(both / np.maximum(area_a[:, None] + area_b[None] - both, 1e-12))


def _hits(found: Detections, truth: Truth, label: int, overlap: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Scores of one image's detections of a class, falling, and whether each claimed an object."""
    mine = np.flatnonzero(found.labels == label)
    mine = mine[np.argsort(-found.scores[mine], kind="stable")]
    objects = truth.boxes[truth.labels == label]
    hits, free = np.zeros(len(mine), bool), np.ones(len(objects), bool)
    if len(objects) and len(mine):
        for row, overlaps in enumerate(box_iou(found.boxes[mine], objects)):
            best = int(np.argmax(np.where(free, overlaps, -1.0)))
            if free[best] and overlaps[best] >= overlap:
                hits[row], free[best] = True, False
    return found.scores[mine], hits


def _of_class(found: Sequence[Detections], truth: Sequence[Truth], label: int, overlap: float) -> float:
    objects = sum(int((t.labels == label).sum()) for t in truth)
    if objects == 0:
        return float("nan")
    pairs = [_hits(f, t, label, overlap) for f, t in zip(found, truth, strict=True)]
    scores, hits = np.concatenate([s for s, _ in pairs]), np.concatenate([h for _, h in pairs])
    if len(scores) == 0:
        return 0.0
    right = np.cumsum(hits[np.argsort(-scores, kind="stable")])
    recall, precision = right / objects, right / np.arange(1, len(right) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, RECALLS - 1e-12)
    return float(np.where(at < len(recall), best_from_here[np.minimum(at, len(recall) - 1)], 0.0).mean())


def average_precision(
    found: Sequence[Detections], truth: Sequence[Truth], classes: int, overlap: float = 0.5
) -> AveragePrecision:
    """Average precision of detections in several images; `found[i]` and `truth[i]` belong to the same image."""
    per_class = tuple(_of_class(found, truth, label, overlap) for label in range(classes))
    counted = [value for value in per_class if not np.isnan(value)]
    return AveragePrecision(per_class, float(np.mean(counted)) if counted else float("nan"))
