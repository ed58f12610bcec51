"""Operators of the tail that compute: activations, distributions over bins, arithmetic with the grid.

Operators as in the ONNX specification (https://onnx.ai/onnx/operators).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from math import prod

import numpy as np

from build_rules.graph.load.constants import Array
from build_rules.graph.tail.index_boxes import Box, replace_axis, through_broadcast
from build_rules.graph.tail.network_arithmetic import ACTIVATIONS, NETWORK_UNARY, is_folded, is_gate
from build_rules.graph.tail.reach import NONE, Place, Steps
from build_rules.records.roles import SOFTMAX

__all__ = ["ARITHMETIC"]

UNARY = ("Exp", "Log", "Neg", "Sqrt", "Abs", "Reciprocal", "Floor", "Ceil", "Round", "Cos", "Sin")
BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min")
SUM, AVERAGE = "sum", "average"
COORDINATES = 4
"""Constants of at most so many values along one axis may scale the coordinates of a box; others differ by place."""


def _activation(at: Place) -> Steps:
    return at.back(at.reach.box, activations=frozenset([ACTIVATIONS[at.node.op_type]]), contracted="")


def _softmax(at: Place) -> Steps:
    """Cross a softmax: each value depends on the whole axis. Averaged afterwards, it is that of a DFL layer."""
    shape, box = at.view.shapes[at.tensor], at.reach.box
    # Before opset 13 softmax runs over all axes from `axis` on, flattened (operator changelog).
    axis = at.axis(len(shape), 1 if at.view.opset < 13 else -1)
    for mixed in range(axis, len(shape) if at.view.opset < 13 else axis + 1):
        box = replace_axis(box, mixed, (0, shape[mixed]))
    averaged = at.reach.contracted == AVERAGE
    kind = None if averaged else SOFTMAX
    return at.back(box, activations=frozenset([kind]), contracted="", dfl=at.reach.dfl or averaged)


def _unary(at: Place) -> Steps:
    return at.back(at.reach.box, activations=NONE, contracted="", computed=True)


def _network_unary(at: Place) -> Steps:
    return None if at.view.stride(at.tensor) else _unary(at)


def _binary(at: Place) -> Steps:
    if at.view.stride(at.tensor) and (is_gate(at.view, at.node) or is_folded(at.view, at.tensor)):
        return None
    located = at.reach.located or _has_places(at)
    contracted = AVERAGE if at.reach.contracted == SUM and _is_weighting(at) else ""
    plain = replace(at.reach, activations=NONE, contracted=contracted, computed=True, located=located)
    return [(name, replace(plain, box=through_broadcast(at.reach.box, at.view.shapes[name]))) for name in at.data]


def _is_weighting(at: Place) -> bool:
    """Say whether the node is a product with the numbers of bins that leaves the shape of the other factor as it is."""
    constants = [name for name in at.node.input if name not in at.view.image_tensors]
    same = len(constants) == 1 and at.view.shapes[at.data[0]] == at.view.shapes[at.tensor]
    return at.node.op_type == "Mul" and same and _counts_bins(at.view.constant(constants[0]))


def _counts_bins(weight: Array | None) -> bool:
    """Say whether weights are 0, 1, 2, ..., as DFL has them and as the decoders average."""
    return weight is not None and weight.size > 1 and np.array_equal(weight.ravel(), np.arange(weight.size))


def _has_places(at: Place) -> bool:
    """Say whether an operand is a constant with a value for each place, such as grid positions, strides, anchors."""
    for name in at.node.input:
        shape = at.view.shapes.get(name, ())
        along = [size for size in shape if size > 1]
        if name not in at.view.image_tensors and (prod(along) > COORDINATES or len(along) > 1):
            value = at.view.constant(name)
            if value is None:
                return True
            used = value[tuple(slice(*part) for part in through_broadcast(at.reach.box, shape))]
            if used.min() < used.max():
                return True
    return False


def _conv(at: Place) -> Steps:
    """Cross the convolution of a DFL layer: one output, 1x1, constant weights 0, 1, 2, ...; stop at any other."""
    shape = at.view.shapes.get(at.node.input[1], ())
    if len(shape) != 4 or shape[0] != 1 or shape[2:] != (1, 1) or not _counts_bins(at.view.constant(at.node.input[1])):
        return None
    box = replace_axis(at.reach.box, 1, (0, shape[1]))
    return at.back(box, activations=NONE, contracted=AVERAGE, computed=True)


def _matmul(at: Place) -> Steps:
    """Cross a product with the numbers of bins, which contracts the last axis or the one before; stop else.

    Or with a matrix that makes other coordinates of four: centre and size become corners.
    """
    first, second = at.node.input
    constant = second if at.data == [first] else first
    shape = at.view.shapes.get(constant, ())
    if len(at.data) == 1 and shape == (COORDINATES, COORDINATES) and at.view.stride(at.tensor) is None:
        return _other_coordinates(at, constant, len(at.reach.box) - (1 if constant == second else 2))
    if len(at.data) != 1 or len(shape) not in (1, 2) or prod(shape) != shape[0 if constant == second else -1]:
        return None
    if not _counts_bins(at.view.constant(constant)):
        return None
    bins, outer = (0, prod(shape)), at.reach.box
    if constant == second:
        box = (*(outer if len(shape) == 1 else outer[:-1]), bins)
    else:
        box = (*(outer[:-1] if len(shape) == 1 else outer[:-2]), bins, outer[-1])
    return [(at.data[0], replace(at.reach, box=box, activations=NONE, contracted=AVERAGE, computed=True))]


def _other_coordinates(at: Place, constant: str, axis: int) -> Steps:
    """Cross a product with a constant matrix along `axis`, from the coordinates that have a weight in it."""
    matrix = at.view.constant(constant)
    if matrix is None:
        return None
    weights = matrix if constant == at.node.input[1] else matrix.T
    used = np.flatnonzero(weights[:, slice(*at.reach.box[axis])].any(axis=1))
    if not used.size:
        return None
    box = replace_axis(at.reach.box, axis, (int(used[0]), int(used[-1]) + 1))
    return [(at.data[0], replace(at.reach, box=box, activations=NONE, contracted="", computed=True))]


def _reduce_sum(at: Place) -> Steps:
    """Cross a sum; behind a product with constants it is an average (DFL written out)."""
    shape = at.view.shapes[at.source]
    axes = {axis % len(shape) for axis in at.integers(1, "axes") or range(len(shape))}
    kept = at.reach.box if at.integer("keepdims", 1) else _with_axes(at.reach.box, axes)
    box = tuple((0, size) if axis in axes else kept[axis] for axis, size in enumerate(shape))
    return at.back(box, activations=NONE, contracted=SUM, computed=True)


def _with_axes(box: Box, axes: Collection[int]) -> Box:
    for axis in sorted(axes):
        box = (*box[:axis], (0, 1), *box[axis:])
    return box


ARITHMETIC: dict[str, Callable[[Place], Steps]] = {
    **dict.fromkeys(("Sigmoid", "Tanh"), _activation),
    **dict.fromkeys(NETWORK_UNARY, _network_unary),
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(BINARY, _binary),
    "Softmax": _softmax,
    "Conv": _conv,
    "MatMul": _matmul,
    "ReduceSum": _reduce_sum,
}
