"""What a network itself says it sees: its own outputs decoded in plain numpy, knowing nothing of cuts or documents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from build_rules.records.split_json import Split
from tests.metadata.corpus import Array

__all__ = ["Candidates", "Choice", "candidates", "choose", "iou_of", "suppress"]


@dataclass(frozen=True)
class Candidates:
    """Possible objects, best score first: `boxes` [N, 4] x1 y1 x2 y2 as fractions of the input, the best class of each
    with its score, and what follows the scores in the output (mask coefficients, landmarks, an angle), [N, M].
    """

    boxes: Array
    scores: Array
    labels: Array
    rest: Array

    def take(self, chosen: Array) -> Candidates:
        """Those at some indices, in that order."""
        return Candidates(self.boxes[chosen], self.scores[chosen], self.labels[chosen], self.rest[chosen])


@dataclass(frozen=True)
class Choice:
    """Thresholds at which nothing is close: a decoder that rounds differently decides the same."""

    score: float
    iou: float


def candidates(split: Split, outputs: list[Array], classes: int, anchors: Array | None = None) -> Candidates:
    """Decode a network's own outputs; `anchors` are the ModelPack grids', [levels, anchors, 2] in pixels."""
    first = outputs[0].astype(np.float64)
    if anchors is not None and first.ndim == 4:
        boxes, scores, rest = _grids(split, outputs, anchors, classes)
    elif anchors is not None:  # YOLOv5: [1, N, 4 + 1 + classes], x y w h in pixels
        boxes, scores, rest = _corners(first[0, :, :4]), first[0, :, 4:5] * first[0, :, 5:], first[0, :, :0]
        # With a single class the decoders score the objectness alone.
        scores = first[0, :, 4:5] if classes == 1 else scores
    elif first.shape[1] <= 300 and first.shape[2] < 100:  # selected: [1, 300, 4 + score + class + rest], x1 y1 x2 y2
        boxes, scores, rest = _selected(first[0], classes)
    else:  # [1, 4 + classes + rest, N], x y w h in pixels
        table = first[0].T
        boxes, scores, rest = _corners(table[:, :4]), table[:, 4 : 4 + classes], table[:, 4 + classes :]
    boxes = boxes / np.array([split.input.width, split.input.height] * 2)
    found = Candidates(boxes, scores.max(axis=1), scores.argmax(axis=1), rest)
    found = found.take(np.argsort(-found.scores, kind="stable"))
    # Noise in place of weights also makes boxes whose sides are the wrong way round.
    return found.take(np.flatnonzero((found.boxes[:, 2:] > found.boxes[:, :2]).all(axis=1)))


def _corners(boxes: Array) -> Array:
    """x y w h -> x1 y1 x2 y2."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    corners: Array = np.concatenate([centre - half, centre + half], axis=1)
    return corners


def _selected(rows: Array, classes: int) -> tuple[Array, Array, Array]:
    """Undo the selection of a network that chooses boxes itself: it may report one cell once for each class."""
    _, first = np.unique(rows[:, :4], axis=0, return_index=True)
    scores = np.zeros((len(first), classes))
    for index, row in enumerate(rows[first]):
        same = rows[(rows[:, :4] == row[:4]).all(axis=1)]
        np.maximum.at(scores[index], same[:, 5].astype(int), same[:, 4])
    return rows[first, :4], scores, rows[first, 6:]


def _grids(split: Split, grids: list[Array], anchors: Array, classes: int) -> tuple[Array, Array, Array]:
    """Decode raw anchor grids, [1, H, W, anchors * (5 + classes)], as ModelPack and YOLOv5 define them."""
    boxes, scores = [], []
    for grid, sizes in zip((g for g in grids if g.shape[-1] == 3 * (5 + classes)), anchors, strict=True):
        _, height, width, _ = grid.shape
        cells = 1 / (1 + np.exp(-grid[0].astype(np.float64).reshape(height, width, len(sizes), 5 + classes)))
        rows, columns = np.mgrid[:height, :width]
        corner = np.stack([columns, rows], axis=-1)[:, :, None]
        stride = np.array([split.input.width / width, split.input.height / height])
        centre = (cells[..., :2] * 2 - 0.5 + corner) * stride
        boxes.append(_corners(np.concatenate([centre, (cells[..., 2:4] * 2) ** 2 * sizes], axis=-1).reshape(-1, 4)))
        score = cells[..., 4:5] * cells[..., 5:] if classes > 1 else cells[..., 4:5]
        scores.append(score.reshape(-1, classes))
    found = np.concatenate(boxes)
    return found, np.concatenate(scores), found[:, :0]


def choose(found: Candidates, few: int = 30, many: int = 80) -> Choice:
    """Choose thresholds from the network's own numbers: between `few` and `many` candidates, nothing near an edge.

    Weights of test networks are noise, so no fixed threshold would leave a sensible number.
    """
    many = min(many, len(found.scores) - 1)
    gaps = found.scores[few:many] - found.scores[few + 1 : many + 1]
    count = few + 1 + int(gaps.argmax())
    score = float(found.scores[count - 1 : count + 1].mean())
    overlaps = iou_of(found.boxes[:count])[np.triu_indices(count, 1)]
    edges = np.sort(np.concatenate([[0.5, 0.8], overlaps[(overlaps > 0.5) & (overlaps < 0.8)]]))
    widest = int(np.diff(edges).argmax())
    return Choice(score, float(edges[widest : widest + 2].mean()))


def iou_of(boxes: Array) -> Array:
    """Intersection over union of every pair, [N, N]."""
    low, high = np.maximum(boxes[:, None, :2], boxes[None, :, :2]), np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    ratio: Array = shared / np.maximum(area[:, None] + area[None, :] - shared, 1e-12)
    return ratio


def suppress(found: Candidates, choice: Choice, *, aware: bool) -> Candidates:
    """Keep what scores above the threshold and overlaps nothing better; `aware`, nothing better of its own class."""
    found = found.take(np.flatnonzero(found.scores >= choice.score))
    overlap = iou_of(found.boxes) > choice.iou
    if aware:
        overlap &= found.labels[:, None] == found.labels[None, :]
    kept: list[int] = []
    for index in range(len(found.scores)):
        if not overlap[index, kept].any():
            kept.append(index)
    return found.take(np.array(kept))
