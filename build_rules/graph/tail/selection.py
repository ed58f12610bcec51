"""Operators of the tail that pick the best cells: end-to-end heads rank their scores and gather what belongs to them.

What is picked depends on the image, so a part of the output may come from anywhere along the axis that is picked from;
along the other axes the part stays. The places themselves (the second output of `TopK`, `ArgMax`) are followed to the
scores that were ranked. Operators as in the ONNX specification (https://onnx.ai/onnx/operators).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from build_rules.graph.tail.index_boxes import Box, replace_axis
from build_rules.graph.tail.layout import LAYOUT
from build_rules.graph.tail.reach import NONE, Place, Steps

__all__ = ["SELECTION"]


def _whole_axis(at: Place, box: Box, axis: int) -> Box:
    return replace_axis(box, axis, (0, at.view.shapes[at.source][axis]))


def _top_k(at: Place) -> Steps:
    axis = at.axis(len(at.reach.box), -1)
    box = _whole_axis(at, at.reach.box, axis)
    if at.tensor == at.node.output[0]:
        return at.back(box, picked=True)
    return at.back(box, picked=True, ranked=True, activations=NONE, contracted="")


def _gather_elements(at: Place) -> Steps:
    if at.source not in at.view.image_tensors:
        raise at.lost("it picks constants")
    return at.back(_whole_axis(at, at.reach.box, at.axis(len(at.reach.box))), picked=True)


def _gather(at: Place) -> Steps:
    """Cross a gather; with constant indices it only moves values."""
    if at.source not in at.view.image_tensors:
        raise at.lost("it picks constants")
    if at.node.input[1] not in at.view.image_tensors:
        return LAYOUT["Gather"](at)
    shape, indices = at.view.shapes[at.source], at.view.shapes[at.node.input[1]]
    axis = at.axis(len(shape))
    box = (*at.reach.box[:axis], (0, shape[axis]), *at.reach.box[axis + len(indices) :])
    return at.back(box, picked=True)


def _gather_nd(at: Place) -> Steps:
    if at.source not in at.view.image_tensors:
        raise at.lost("it picks constants")
    shape, indices = at.view.shapes[at.source], at.view.shapes[at.node.input[1]]
    kept, fixed = at.integer("batch_dims", 0), at.integer("batch_dims", 0) + indices[-1]
    inner = at.reach.box[len(at.reach.box) - (len(shape) - fixed) :] if fixed < len(shape) else ()
    return at.back((*at.reach.box[:kept], *((0, size) for size in shape[kept:fixed]), *inner), picked=True)


def _extremum(at: Place) -> Steps:
    """Cross a maximum over one axis: the score of the best class."""
    shape = at.view.shapes[at.source]
    axes = {axis % len(shape) for axis in at.integers(1, "axes") or range(len(shape))}
    return at.back(_with_axes(at, axes))


def _arg_max(at: Place) -> Steps:
    axis = at.axis(len(at.view.shapes[at.source]))
    return at.back(_with_axes(at, {axis}), ranked=True, activations=NONE, contracted="")


def _with_axes(at: Place, axes: set[int]) -> Box:
    """Return the box with the reduced axes whole, whether or not the output kept them."""
    shape, box = at.view.shapes[at.source], at.reach.box
    kept = iter(box)
    if at.integer("keepdims", 1):
        return tuple((0, size) if axis in axes else box[axis] for axis, size in enumerate(shape))
    return tuple((0, size) if axis in axes else next(kept) for axis, size in enumerate(shape))


def _remainder(at: Place) -> Steps:
    """Cross the arithmetic on places: which class and which cell a place in a flattened list means."""
    return [(name, replace(at.reach, activations=NONE, contracted="")) for name in at.data]


SELECTION: dict[str, Callable[[Place], Steps]] = {
    "TopK": _top_k,
    "GatherElements": _gather_elements,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "ReduceMax": _extremum,
    "ArgMax": _arg_max,
    "Mod": _remainder,
}
