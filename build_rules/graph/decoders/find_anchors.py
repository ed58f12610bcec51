"""The anchors that the graph of an anchor head holds, read by running its tail on maps of zeros.

The sigmoid of zero is one half, and both ways in which such heads are decoded then give the anchor itself, in the
middle of its cell: YOLOv5's (2 sigmoid(t))^2 a and YOLOv3's exp(t) a. What comes out is believed only where every box
lies in the middle of the cell that it belongs to and the boxes of one anchor are equal in all cells. Source of the
formulas: the decode of the public yolov5 code, release 7.0, and the YOLOv3 paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from build_rules.errors import InputError
from build_rules.graph.decoders.match_rows import rows_of
from build_rules.graph.load.constants import Array
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.prove.runtime import run_tail
from build_rules.records.roles import BOXES
from build_rules.records.split_hint import SplitHint
from build_rules.records.split_json import Anchors, Endpoint

__all__ = ["check_anchors", "read_anchors", "unlikely_anchors"]

TOLERANCE = 1e-3
WRITTEN = 0.02
"""How far anchors written down may differ from those of the graph: trainers print them rounded to whole pixels."""
Boxes = tuple[Array, Array]


def read_anchors(view: GraphView, endpoints: Sequence[Endpoint], hints: Sequence[SplitHint]) -> Anchors | None:
    """Return the anchors of each level, finest first, in pixels; None when there are none or they are not understood.

    Raises `InputError` when the tail cannot be run.
    """
    levels = sorted((e for e in endpoints if e.is_grid), key=lambda e: e.stride or 0)
    named = [(hint, b.channels) for hint in hints for b in hint.boundaries if b.name == BOXES]
    if not levels or len(named) != 1 or any(level.stride is None for level in levels):
        return None
    hint, channels = named[0]
    rows = _boxes_of_zeros(view, [e.tensor for e in endpoints], hint.target, hint.axis, channels)
    for boxes in _readings(view, rows):
        anchors = _levels(boxes, levels, hint.anchors_per_cell)
        if anchors is not None:
            return anchors
    return None


def check_anchors(given: Anchors, endpoints: Sequence[Endpoint], read: Anchors | None) -> Anchors:
    """Return the anchors of `model.toml`, or those that the graph holds (`read`), which are the same, unrounded.

    Raises `InputError` for another number of levels than the head has, another order, and others than the graph's.
    """
    levels = sorted((e for e in endpoints if e.is_grid), key=lambda e: e.stride or 0)
    strides = ", ".join(str(level.stride) for level in levels)
    if len(given) != len(levels):
        head = f"{len(levels)} maps (strides {strides})" if levels else "no map with the role anchor"
        raise InputError(
            f"[split] of model.toml: anchors has {len(given)} levels, but the head has {head}; write one list of "
            "[width, height] for each, finest level first."
        )
    for level, own in zip(levels, given, strict=True):
        if level.shape[1] % len(own):
            raise InputError(
                f"[split] of model.toml: anchors has {len(own)} for the map '{level.tensor}' (stride {level.stride}), "
                f"whose {level.shape[1]} channels are not as many boxes; correct the anchors."
            )
    if read is not None and not _alike(given, read):
        raise InputError(
            f"[split] of model.toml: anchors says {_shown(given)}, but the graph decodes with {_shown(read)} (strides "
            f"{strides}); correct them, or leave them out: they are read from the graph."
        )
    areas = [sum(width * height for width, height in own) / len(own) for own in given]
    if areas != sorted(areas):
        raise InputError(
            f"[split] of model.toml: anchors has larger ones before smaller ones ({_shown(given)}), but the levels "
            f"are those of the strides {strides}, finest first; write them in that order."
        )
    return given if read is None else read


def unlikely_anchors(anchors: Anchors, endpoints: Sequence[Endpoint]) -> str | None:
    """Return a warning about anchors that were written down in cells instead of pixels, as it seems."""
    strides = sorted(e.stride or 0 for e in endpoints if e.is_grid)
    if any(max(map(max, own)) >= stride for stride, own in zip(strides, anchors, strict=False)):
        return None
    return (
        f"the anchors in model.toml are smaller than the cells of their maps ({_shown(anchors)}, strides "
        f"{', '.join(map(str, strides))}): YOLOv5's checkpoints hold them divided by the stride, and pixels are meant; "
        "multiply them with the strides, unless all objects are that small"
    )


def _alike(given: Anchors, read: Anchors) -> bool:
    if [len(level) for level in given] != [len(level) for level in read]:
        return False
    first, second = (np.array([pair for level in anchors for pair in level]) for anchors in (given, read))
    return bool((np.abs(first - second) <= 0.51 + WRITTEN * second).all())


def _shown(anchors: Anchors) -> str:
    levels = ("[" + ", ".join(f"[{width:g}, {height:g}]" for width, height in level) + "]" for level in anchors)
    return "[" + ", ".join(levels) + "]"


def _boxes_of_zeros(
    view: GraphView, tensors: Sequence[str], target: str, axis: int, channels: tuple[int, int]
) -> Array:
    """Return the four coordinates of every box, [boxes, 4], of the first image."""
    zeros = {name: np.zeros(view.shapes[name]) for name in tensors}
    value = run_tail(view, zeros, [target])[target]
    return rows_of(value, axis, channels, view.batch)


def _readings(view: GraphView, rows: Array) -> Iterator[Boxes]:
    """Yield centres and sizes in pixels, [boxes, 2] each, in the ways in which heads write boxes."""
    if rows.shape[1] != 4:
        return
    first, second = rows[:, :2], rows[:, 2:]
    image = np.array([view.input.width, view.input.height])
    for unit in (np.ones(2), image):
        yield first * unit, second * unit
        yield (first + second) / 2 * unit, (second - first) * unit


def _levels(boxes: Boxes, levels: Sequence[Endpoint], anchors: int) -> Anchors | None:
    """Return the anchors of all levels, whose boxes follow each other in any order."""
    left = list(levels)
    by_level: dict[str, tuple[tuple[float, float], ...]] = {}
    start = 0
    while left:
        fitting = [(level, own) for level in left if (own := _level(boxes, level, anchors, start)) is not None]
        if not fitting:
            return None
        level, by_level[fitting[0][0].name] = fitting[0]
        left.remove(level)
        start += anchors * prod(level.shape[2:])
    return tuple(by_level[level.name] for level in levels) if start == len(boxes[0]) else None


def _level(boxes: Boxes, level: Endpoint, anchors: int, start: int) -> tuple[tuple[float, float], ...] | None:
    """Return the anchors of a level whose boxes begin at `start`, None when they are not there."""
    height, width = level.shape[2:]
    stride = float(level.stride or 1)
    end = start + anchors * height * width
    if end > len(boxes[0]):
        return None
    rows, columns = np.mgrid[0:height, 0:width]
    middle = (np.stack([columns, rows], axis=-1) + 0.5) * stride
    for shape, axes in (((anchors, height, width, 2), (0, 1, 2, 3)), ((height, width, anchors, 2), (2, 0, 1, 3))):
        centres, sizes = (part[start:end].reshape(shape).transpose(axes) for part in boxes)
        alike = np.abs(sizes - sizes[:, :1, :1]).max() <= TOLERANCE * max(float(np.abs(sizes).max()), 1.0)
        if alike and sizes.min() > 0 and np.abs(centres - middle).max() <= TOLERANCE * stride:
            return tuple((float(w), float(h)) for w, h in sizes[:, 0, 0].round(4))
    return None
