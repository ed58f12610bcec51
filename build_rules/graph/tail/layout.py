"""Operators of the tail that only move values: reshaping, joining, cutting.

Operators as in the ONNX specification (https://onnx.ai/onnx/operators).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from build_rules.graph.tail.index_boxes import (
    replace_axis,
    through_broadcast,
    through_concat,
    through_reshape,
    through_transpose,
)
from build_rules.graph.tail.reach import Place, Steps

__all__ = ["LAYOUT", "SAME"]

SAME = ("Identity", "Cast", "Dropout")
RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


def _same(at: Place) -> Steps:
    return [(at.source, at.reach)]


def _reshape(at: Place) -> Steps:
    """Cross a reshape, and those before it in one step: what lies between two may be no box (all axes joined)."""
    source, shapes = at.source, at.view.shapes
    while (node := at.view.producer(source)) is not None and node.op_type in (*RESHAPES, *SAME):
        if node.input[0] not in shapes:
            break
        source = node.input[0]
    return [(source, replace(at.reach, box=through_reshape(at.reach.box, shapes[at.tensor], shapes[source])))]


def _transpose(at: Place) -> Steps:
    stored = at.attributes().get("perm")
    perm = list(stored) if isinstance(stored, (list, tuple)) else list(range(len(at.reach.box)))[::-1]
    return at.back(through_transpose(at.reach.box, perm))


def _concat(at: Place) -> Steps:
    axis = at.axis(len(at.reach.box))
    boxes = through_concat(at.reach.box, axis, [at.view.shapes[name][axis] for name in at.node.input])
    parts = [(name, box) for name, box in zip(at.node.input, boxes, strict=True) if box is not None]
    return [(name, replace(at.reach, box=box)) for name, box in parts if name in at.view.image_tensors]


def _split(at: Place) -> Steps:
    axis = at.axis(len(at.reach.box))
    outputs = list(at.node.output)
    offset = sum(at.view.shapes[name][axis] for name in outputs[: outputs.index(at.tensor)])
    low, high = at.reach.box[axis]
    return at.back(replace_axis(at.reach.box, axis, (low + offset, high + offset)))


def _slice(at: Place) -> Steps:
    starts, ends = at.integers(1, "starts"), at.integers(2, "ends")
    if starts is None or ends is None:
        raise at.lost("it has no bounds")
    axes = at.integers(3, "axes") or list(range(len(starts)))
    steps = at.integers(4, "steps") or [1] * len(starts)
    shape, box = at.view.shapes[at.source], at.reach.box
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        picked = range(*slice(start, end, step).indices(shape[axis]))[slice(*box[axis])]
        box = replace_axis(box, axis % len(shape), (min(picked[0], picked[-1]), max(picked[0], picked[-1]) + 1))
    return at.back(box)


def _gather(at: Place) -> Steps:
    shape, indices = at.view.shapes[at.source], at.view.constant(at.node.input[1])
    if indices is None:
        raise at.lost("its indices are not constant")
    axis = at.axis(len(shape))
    picked = np.where(indices < 0, indices + shape[axis], indices)
    part = (int(picked.min()), int(picked.max()) + 1)
    return at.back((*at.reach.box[:axis], part, *at.reach.box[axis + indices.ndim :]))


def _expand(at: Place) -> Steps:
    return at.back(through_broadcast(at.reach.box, at.view.shapes[at.source]))


LAYOUT: dict[str, Callable[[Place], Steps]] = {
    **dict.fromkeys(SAME, _same),
    **dict.fromkeys(RESHAPES, _reshape),
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Expand": _expand,
}
