"""Finding what the decoders compute in what a graph computes: which row is which place of which scale.

Nothing is known beforehand of how a graph writes its rows down, but that those of one scale follow each other, and that
all columns of an output are in one order. Boxes may be corners or centre and size, in pixels or fractions of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from build_rules.graph.load.constants import Array
from build_rules.records.roles import BOXES

__all__ = [
    "Order",
    "Scale",
    "Tolerance",
    "are_regular",
    "find_boxes",
    "find_picked",
    "fits",
    "fits_classes",
    "fits_picked",
    "rows_of",
]

REGULAR = 1e-3
"""Deviation from an even grid, as a part of the largest value."""
AXES = ((0, 1, 2, 3), (1, 2, 0, 3))
"""Ways to write [anchors, H, W, columns] down."""

Order = tuple[tuple[int, tuple[int, ...]], ...]
"""Index of a scale and of its axes in the order in which they are written, one scale after the other."""
Alike = Callable[[Array, Array], bool]
"""Compares what is expected with the same number of rows."""


@dataclass(frozen=True)
class Scale:
    """What the decoders make of one scale: for each role the values it may have, [anchors, H, W, columns].

    Boxes are x1 y1 x2 y2 and the middle of the cell, x y, in pixels.
    """

    values: Mapping[str, tuple[Array, ...]]


@dataclass(frozen=True)
class Tolerance:
    """What rounding may change: boxes, in pixels, and other values."""

    box: float
    value: float


def rows_of(output: Array, axis: int, channels: tuple[int, int], batch: int) -> Array:
    """Return some channels of an output of a graph, along `axis`, of the first of `batch` images: [rows, channels]."""
    last = np.moveaxis(output, axis, -1)[..., channels[0] : channels[1]]
    rows: Array = last.reshape(batch, -1, channels[1] - channels[0])[0].astype(np.float64)
    return rows


def find_boxes(
    scales: Sequence[Scale], rows: Array, image: tuple[int, int], tolerance: Tolerance, turned: bool = False
) -> Order | None:
    """Return how the boxes [rows, 4] of a graph follow each other, None when they are not those of the decoders.

    `image` is (width, height). Of `turned` boxes the size is the same, and the centre as far from the cell's middle.
    """

    def alike(block: Array, part: Array) -> bool:
        return bool(_box_difference(block, part, turned).max() <= tolerance.box)

    orders = (_find_order(scales, BOXES, boxes, alike) for boxes in _readings(rows, image))
    return next((order for order in orders if order is not None), None)


def fits(scales: Sequence[Scale], role: str, rows: Array, tolerance: Tolerance, order: Order | None = None) -> bool:
    """Say whether the columns of a role are what the decoders compute, in the order given or in any.

    A single column may be the best of several.
    """

    def alike(block: Array, part: Array) -> bool:
        if part.shape[-1] == 1:
            block = block.max(axis=-1, keepdims=True)
        return block.shape == part.shape and bool(np.abs(block - part).max() <= tolerance.value)

    return _find_order(scales, role, rows, alike, order) is not None


def fits_classes(scales: Sequence[Scale], role: str, rows: Array, tolerance: Tolerance, order: Order | None) -> bool:
    """Say whether class numbers [rows, 1] are those of the largest values of a role, or of one as large."""

    def alike(block: Array, part: Array) -> bool:
        numbers = part.astype(int)
        if not np.array_equal(numbers, part) or numbers.min() < 0 or numbers.max() >= block.shape[-1]:
            return False
        chosen = np.take_along_axis(block, numbers, axis=-1)
        return bool((block.max(axis=-1, keepdims=True) - chosen).max() <= tolerance.value)

    return _find_order(scales, role, rows, alike, order) is not None


def find_picked(
    scales: Sequence[Scale], rows: Array, image: tuple[int, int], tolerance: Tolerance, turned: bool = False
) -> Array | None:
    """Return the numbers of the places that a graph picked [rows], None when boxes are not those of the decoders."""
    places = _all_places(scales, BOXES, 0)
    for boxes in _readings(rows, image):
        distances = (_box_difference(places, np.broadcast_to(box, (len(places), 4)), turned) for box in boxes)
        nearest = [(int(one.argmin()), float(one.min())) for one in distances]
        if all(distance <= tolerance.box for _, distance in nearest):
            return np.array([place for place, _ in nearest])
    return None


def fits_picked(scales: Sequence[Scale], role: str, rows: Array, tolerance: Tolerance, places: Array) -> bool:
    """Say whether columns are those of the places that were picked; one column may be the score of any class."""
    for choice in range(_choices(scales, role)):
        expected = _all_places(scales, role, choice)[places]
        difference = np.abs(expected - rows) if rows.shape[1] in (1, expected.shape[1]) else np.full((1, 1), np.inf)
        if rows.shape[1] == 1:
            difference = difference.min(axis=1)
        if difference.max() <= tolerance.value:
            return True
    return False


def are_regular(rows: Array, shapes: Sequence[tuple[int, int, int]]) -> bool:
    """Say whether the rows that a graph makes of equal cells grow evenly along the rows and columns of every scale.

    `shapes` are (anchors, H, W). Every decode does that, whatever its formula, unless its grid holds other numbers.
    """
    limit = REGULAR * float(np.abs(rows).max())

    def even(block: Array, part: Array) -> bool:
        places, values = block.reshape(-1, block.shape[-1]), part.reshape(-1, part.shape[-1])
        plane = np.linalg.lstsq(places, values, rcond=None)[0]
        return bool(np.abs(places @ plane - values).max() <= limit)

    return _find_order([Scale({BOXES: (_planes(*shape),)}) for shape in shapes], BOXES, rows, even) is not None


def _planes(anchors: int, height: int, width: int) -> Array:
    """Return, for each place, 1, row and column in the columns of its anchor, [anchors, H, W, 3 * anchors]."""
    rows, columns = np.mgrid[0:height, 0:width]
    plane = np.stack([np.ones((height, width)), rows, columns], axis=-1)
    own = np.eye(anchors)[:, np.newaxis, np.newaxis, :, np.newaxis]
    planes: Array = (own * plane[np.newaxis, :, :, np.newaxis]).reshape(anchors, height, width, -1)
    return planes


def _readings(rows: Array, image: tuple[int, int]) -> Iterator[Array]:
    """Yield x1 y1 x2 y2 in pixels in the ways in which heads write boxes."""
    if rows.shape[1] == 4:
        first, second = rows[:, :2], rows[:, 2:]
        for unit in (np.ones(4), np.array(image * 2)):
            yield np.concatenate([first - second / 2, first + second / 2], axis=1) * unit
            yield rows * unit


def _box_difference(expected: Array, actual: Array, turned: bool) -> Array:
    boxes, middles = expected[..., :4], expected[..., 4:]
    if turned:
        boxes, actual = _unturned(boxes, middles), _unturned(actual, middles)
    difference: Array = np.abs(boxes - actual).max(axis=-1)
    return difference


def _unturned(boxes: Array, middles: Array) -> Array:
    """Return what a turn around the middle of the cell leaves as it is: width, height, distance."""
    low, high = boxes[..., :2], boxes[..., 2:]
    away = np.linalg.norm((low + high) / 2 - middles, axis=-1, keepdims=True)
    return np.concatenate([high - low, away], axis=-1)


def _choices(scales: Sequence[Scale], role: str) -> int:
    return min(len(scale.values.get(role, ())) for scale in scales)


def _all_places(scales: Sequence[Scale], role: str, choice: int) -> Array:
    blocks = [scale.values[role][choice] for scale in scales]
    return np.concatenate([block.reshape(-1, block.shape[-1]) for block in blocks])


def _find_order(
    scales: Sequence[Scale], role: str, rows: Array, alike: Alike, order: Order | None = None
) -> Order | None:
    """Return the order in which all rows are what is expected of one scale after the other; None when there is none."""
    for choice in range(max((len(scale.values.get(role, ())) for scale in scales), default=0)):
        placed: list[tuple[int, tuple[int, ...]]] = []
        start = 0
        while start < len(rows):
            open_ones = [(i, axes) for i in range(len(scales)) for axes in AXES if all(i != j for j, _ in placed)]
            tried = open_ones if order is None else order[len(placed) : len(placed) + 1]
            blocks = {(i, axes): scales[i].values.get(role, ())[choice : choice + 1] for i, axes in tried}
            fitting = [key for key, block in blocks.items() if block and _fits_at(rows, start, block[0], key[1], alike)]
            if not fitting:
                break
            placed.append(fitting[0])
            start += prod(blocks[fitting[0]][0].shape[:3])
        if placed and start == len(rows):
            return tuple(placed)
    return None


def _fits_at(rows: Array, start: int, block: Array, axes: Sequence[int], alike: Alike) -> bool:
    part = rows[start : start + prod(block.shape[:3])]
    moved = block.transpose(axes)
    return part.size == prod(moved.shape[:3]) * rows.shape[1] and alike(moved, part.reshape(*moved.shape[:3], -1))
