"""What the cut buys: the same network quantized with its tail, one output tensor on one grid, beside the cut one.

With the tail, boxes in pixels and scores from 0 to 1 stand in one tensor and share its scale, and sigmoid, softmax over
bins and the arithmetic of boxes are rounded to 8 bits on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from build_rules.errors import InputError
from build_rules.objects.agreement import Agreement, Precision
from build_rules.objects.found import Objects
from build_rules.objects.match_objects import match_objects, shown
from build_rules.objects.measure_agreement import agree, precision
from build_rules.objects.suppress import suppress
from build_rules.records.roles import BOXES, SCORES
from build_rules.records.split_json import Split

__all__ = ["Uncut", "UncutRow", "WholeReader", "as_rows", "find_reader", "find_target", "judge"]

SCORE, OVERLAP, MOST = 0.001, 0.7, 300
"""As `ObjectReader` has them by default."""
SAME = 0.99
"""Agreement (AP50-95) by which the float network's own output is read rightly."""


@dataclass(frozen=True)
class UncutRow:
    """One way to quantize. `step` is that of the grid of the one output, None with the cut, where each has its own.

    `box_error` in pixels of the input, over the corners of matched objects, `score_error` over their scores: means of
    the absolute difference to float; None without any pair.
    """

    name: str
    step: float | None
    frame_bytes: int
    agreement: Agreement
    truth: Precision | None
    box_error: float | None
    score_error: float | None


@dataclass(frozen=True)
class Uncut:
    """The cut network and the uncut one on the same images; no rows where there is no uncut one, as `because` says."""

    model: str
    images: int
    rows: tuple[UncutRow, ...]
    because: str


class WholeReader:
    """Reads objects of the output that a detector's tail makes: rows of x, y, width, height (or corners) and scores."""

    def __init__(self, boxes: tuple[int, int], scores: tuple[int, int], corners: bool) -> None:
        self._boxes, self._scores, self._corners = slice(*boxes), slice(*scores), corners

    def read(self, rows: NDArray[np.float32]) -> Objects:
        """Return the objects of one image, `rows` [N, channels]."""
        scores = rows[:, self._scores].astype(np.float64)
        best = scores.max(axis=1)
        kept = best > SCORE
        boxes, labels = rows[kept, self._boxes].astype(np.float64), scores[kept].argmax(axis=1).astype(np.int64)
        if not self._corners:
            half = boxes[:, 2:] / 2
            boxes = np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), axis=1)
        chosen = suppress(boxes, best[kept], labels, OVERLAP, MOST)
        return Objects(boxes[chosen], best[kept][chosen], labels[chosen])


def find_target(split: Split) -> tuple[str, tuple[int, int], tuple[int, int]]:
    """Return the output that joins boxes and scores, and the channels of both. Raises `InputError` without one."""
    for hint in split.hints:
        channels = {boundary.name: boundary.channels for boundary in hint.boundaries}
        if BOXES in channels and SCORES in channels and hint.anchors_per_cell == 1:
            return hint.target, channels[BOXES], channels[SCORES]
    raise InputError(
        f"{split.model}: none of its outputs joins boxes and scores in one tensor, so there is nothing uncut."
    )


def find_reader(
    split: Split, reference: Sequence[Objects], rows: Sequence[NDArray[np.float32]], classes: int
) -> WholeReader:
    """Return what reads the joined output: by it, float's own rows have to give the objects that its endpoints give.

    Raises `InputError` where none does.
    """
    target, boxes, scores = find_target(split)
    for corners in (False, True):
        reader = WholeReader(boxes, scores, corners)
        same = agree(reference, [reader.read(each) for each in rows], classes).map50_95
        if same is not None and same >= SAME:
            return reader
    raise InputError(
        f"{split.model}: nobody here reads objects of its whole output {target}, so nothing can be compared."
    )


def judge(
    name: str,
    step: float | None,
    frame_bytes: int,
    reference: Sequence[Objects],
    found: Sequence[Objects],
    truth: Sequence[Objects] | None,
    classes: int,
) -> UncutRow:
    """Return what one way to quantize comes to."""
    box_error, score_error = _errors(reference, found)
    return UncutRow(
        name=name,
        step=step,
        frame_bytes=frame_bytes,
        agreement=agree(reference, found, classes),
        truth=None if truth is None else precision(truth, found, classes),
        box_error=box_error,
        score_error=score_error,
    )


def _errors(reference: Sequence[Objects], found: Sequence[Objects]) -> tuple[float | None, float | None]:
    boxes, scores = [], []
    for exact, other in zip(map(shown, reference), found, strict=True):
        partners = match_objects(exact, other).partners
        has = partners >= 0
        boxes.append(np.abs(exact.boxes[has] - other.boxes[partners[has]]).ravel())
        scores.append(np.abs(exact.scores[has] - other.scores[partners[has]]))
    all_boxes, all_scores = np.concatenate([*boxes, np.zeros(0)]), np.concatenate([*scores, np.zeros(0)])
    return (float(all_boxes.mean()), float(all_scores.mean())) if len(all_scores) else (None, None)


def as_rows(tensor: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Return one image of a joined output as [N, C]; `channels` are those that are known, at least.

    The graph has [1, C, N] or [1, N, C], a compiler [1, W, C] of these with 1 and the axes in any order.
    """
    plane = tensor.reshape([side for side in tensor.shape if side > 1])
    if plane.ndim != 2 or min(plane.shape) < channels:
        raise InputError(f"an output of the shape {list(tensor.shape)} holds no rows of {channels} values and more.")
    return plane if plane.shape[1] <= plane.shape[0] else plane.T
