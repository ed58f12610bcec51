"""One step backwards through the decode tail.

The tail is what a detection head does after its last layer: it reshapes, joins the scales, applies sigmoids, averages
over bins (DFL: softmax, then a product with 0, 1, 2, ...), and does arithmetic with grid positions and strides.
`step_back` says for one node which parts of its inputs a part of its output comes from, or None where the tail begins:
at a layer of the network (convolution, activation, upsampling, ...), whose output is what the chip has to deliver.

Two kinds of arithmetic belong to the network although they look like decoding: an activation written out as a product
(SiLU: x * sigmoid(x)), and a per-channel scale or offset right after a convolution (an unfused batch normalization, a
learned scale), which the compiler folds into it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from build_rules.errors import InputError
from build_rules.graph.regions import (
    Box,
    hull,
    replace_axis,
    through_broadcast,
    through_concat,
    through_reshape,
    through_transpose,
)
from build_rules.graph.view import GraphView

__all__ = ["Reach", "step_back"]

ACTIVATIONS = {"Sigmoid": "sigmoid", "Tanh": "tanh"}
SAME = ("Identity", "Cast", "Dropout")
RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
UNARY = ("Exp", "Log", "Neg", "Sqrt", "Abs", "Reciprocal", "Floor", "Ceil", "Round")
NETWORK_UNARY = ("Relu", "LeakyRelu", "Clip", "HardSwish", "HardSigmoid", "Elu", "Softplus")
BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min")
FOLDABLE = ("Add", "Sub", "Mul", "Div")
LAYERS = ("Conv", "ConvTranspose", "BatchNormalization")
NONE: frozenset[str | None] = frozenset([None])
GATE_LENGTH = 3
"""Operators in the longest gate: x * tanh(softplus(x)) has two."""


@dataclass(frozen=True)
class Reach:
    """What the tail does with a tensor: the part it uses, and how.

    `activations`: the activations applied to parts of it before anything else, None among them when a part has none.
    `averaged`: it is contracted with constants along an axis right after; `dfl`: a softmax over bins was contracted so.
    """

    box: Box
    activations: frozenset[str | None] = NONE
    averaged: bool = False
    dfl: bool = False

    def merged(self, other: Reach) -> Reach:
        """Return the union of two uses of one tensor."""
        return Reach(
            hull(self.box, other.box),
            self.activations | other.activations,
            self.averaged and other.averaged,
            self.dfl or other.dfl,
        )


@dataclass(frozen=True)
class _Place:
    """A node, the output of it that the walk came from, and what is done with that output."""

    view: GraphView
    node: onnx.NodeProto
    tensor: str
    reach: Reach

    @property
    def source(self) -> str:
        return str(self.node.input[0])

    @property
    def data(self) -> list[str]:
        """The inputs that depend on the image, each once."""
        return list(dict.fromkeys(name for name in self.node.input if name in self.view.image_tensors))

    def back(self, box: Box, **changes: Any) -> list[tuple[str, Reach]]:
        return [(self.source, replace(self.reach, box=box, **changes))]

    def lost(self, why: str) -> InputError:
        return InputError(
            f"node '{self.node.name}' ({self.node.op_type}) in the decode tail cannot be followed: {why}; "
            "export the model again, simplified (onnxsim) and without post-processing."
        )


Steps = list[tuple[str, Reach]] | None


def step_back(view: GraphView, node: onnx.NodeProto, tensor: str, reach: Reach) -> Steps:
    """Return the inputs (tensor, use) that `reach` of the node's output `tensor` comes from, or None to stop here.

    Raises `InputError` for a node that belongs to the tail but cannot be followed.
    """
    handler = _HANDLERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if handler is None:
        return None
    place = _Place(view, node, tensor, reach)
    if unknown := [name for name in (tensor, *place.data) if name not in view.shapes]:
        raise place.lost(f"the shape of '{unknown[0]}' is unknown")
    if node.op_type not in (*BINARY, "Concat", "MatMul", "Conv") and place.data != [place.source]:
        raise place.lost("how it works depends on the image")
    try:
        return handler(place)
    except (IndexError, KeyError, ValueError) as error:
        raise place.lost(f"its attributes do not fit its inputs ({error})") from error


def _attributes(node: onnx.NodeProto) -> Mapping[str, object]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def _integer(node: onnx.NodeProto, name: str, default: int) -> int:
    value = _attributes(node).get(name, default)
    return value if isinstance(value, int) else default


def _axis(node: onnx.NodeProto, rank: int, default: int = 0) -> int:
    axis = _integer(node, "axis", default)
    return axis + rank if axis < 0 else axis


def _integers(at: _Place, index: int, name: str) -> list[int] | None:
    """Return a list that is an input in newer opsets and an attribute in older ones."""
    if len(at.node.input) > index and at.node.input[index]:
        value = at.view.constant(at.node.input[index])
        if value is None:
            raise at.lost(f"its input '{at.node.input[index]}' is not a constant")
        return [int(v) for v in value.ravel()]
    stored = _attributes(at.node).get(name)
    return [int(v) for v in stored] if isinstance(stored, (list, tuple)) else None


def _same(at: _Place) -> Steps:
    return [(at.source, at.reach)]


def _reshape(at: _Place) -> Steps:
    shapes = at.view.shapes
    return at.back(through_reshape(at.reach.box, shapes[at.tensor], shapes[at.source]))


def _transpose(at: _Place) -> Steps:
    stored = _attributes(at.node).get("perm")
    perm = list(stored) if isinstance(stored, (list, tuple)) else list(range(len(at.reach.box)))[::-1]
    return at.back(through_transpose(at.reach.box, perm))


def _concat(at: _Place) -> Steps:
    axis = _axis(at.node, len(at.reach.box))
    boxes = through_concat(at.reach.box, axis, [at.view.shapes[name][axis] for name in at.node.input])
    parts = [(name, box) for name, box in zip(at.node.input, boxes, strict=True) if box is not None]
    return [(name, replace(at.reach, box=box)) for name, box in parts if name in at.view.image_tensors]


def _split(at: _Place) -> Steps:
    axis = _axis(at.node, len(at.reach.box))
    outputs = list(at.node.output)
    offset = sum(at.view.shapes[name][axis] for name in outputs[: outputs.index(at.tensor)])
    low, high = at.reach.box[axis]
    return at.back(replace_axis(at.reach.box, axis, (low + offset, high + offset)))


def _slice(at: _Place) -> Steps:
    starts, ends = _integers(at, 1, "starts"), _integers(at, 2, "ends")
    if starts is None or ends is None:
        raise at.lost("it has no bounds")
    axes = _integers(at, 3, "axes") or list(range(len(starts)))
    steps = _integers(at, 4, "steps") or [1] * len(starts)
    shape, box = at.view.shapes[at.source], at.reach.box
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        picked = range(*slice(start, end, step).indices(shape[axis]))[slice(*box[axis])]
        box = replace_axis(box, axis % len(shape), (min(picked), max(picked) + 1))
    return at.back(box)


def _gather(at: _Place) -> Steps:
    shape, indices = at.view.shapes[at.source], at.view.constant(at.node.input[1])
    if indices is None:
        raise at.lost("its indices are not constant")
    axis = _axis(at.node, len(shape))
    picked = np.where(indices < 0, indices + shape[axis], indices)
    part = (int(picked.min()), int(picked.max()) + 1)
    return at.back((*at.reach.box[:axis], part, *at.reach.box[axis + indices.ndim :]))


def _expand(at: _Place) -> Steps:
    return at.back(through_broadcast(at.reach.box, at.view.shapes[at.source]))


def _activation(at: _Place) -> Steps:
    return at.back(at.reach.box, activations=frozenset([ACTIVATIONS[at.node.op_type]]), averaged=False)


def _softmax(at: _Place) -> Steps:
    """Cross a softmax: each value depends on the whole axis. Averaged afterwards, it is that of a DFL layer."""
    shape, box = at.view.shapes[at.tensor], at.reach.box
    # Before opset 13 softmax runs over all axes from `axis` on, flattened (operator changelog).
    axis = _axis(at.node, len(shape), 1 if at.view.opset < 13 else -1)
    for mixed in range(axis, len(shape) if at.view.opset < 13 else axis + 1):
        box = replace_axis(box, mixed, (0, shape[mixed]))
    kind = None if at.reach.averaged else "softmax"
    return at.back(box, activations=frozenset([kind]), averaged=False, dfl=at.reach.dfl or at.reach.averaged)


def _unary(at: _Place) -> Steps:
    return at.back(at.reach.box, activations=NONE, averaged=False)


def _network_unary(at: _Place) -> Steps:
    return None if at.view.stride(at.tensor) else _unary(at)


def _binary(at: _Place) -> Steps:
    if at.view.stride(at.tensor) and (_is_gate(at.view, at.node) or _is_folded(at.view, at.tensor)):
        return None
    plain = replace(at.reach, activations=NONE, averaged=False)
    return [(name, replace(plain, box=through_broadcast(at.reach.box, at.view.shapes[name]))) for name in at.data]


def _conv(at: _Place) -> Steps:
    """Cross the convolution of a DFL layer: one output, 1x1, constant weights 0, 1, 2, ...; stop at any other."""
    weight = at.view.constant(at.node.input[1])
    if weight is None or weight.ndim != 4 or weight.shape[0] != 1 or weight.shape[1] < 2 or weight.shape[2:] != (1, 1):
        return None
    if not np.array_equal(weight.ravel(), np.arange(weight.shape[1])):
        return None
    return at.back(replace_axis(at.reach.box, 1, (0, weight.shape[1])), activations=NONE, averaged=True)


def _matmul(at: _Place) -> Steps:
    """Cross a product with one constant column, which contracts the last axis; stop at any other."""
    shape = at.view.shapes.get(at.node.input[1], ())
    if at.data != [at.source] or not (len(shape) == 1 or shape[1:] == (1,)):
        return None
    outer = at.reach.box if len(shape) == 1 else at.reach.box[:-1]
    return at.back((*outer, (0, shape[0])), activations=NONE, averaged=True)


def _reduce_sum(at: _Place) -> Steps:
    """Cross a sum, together with a product by constants right before it (DFL written out)."""
    shape = at.view.shapes[at.source]
    axes = {axis % len(shape) for axis in _integers(at, 1, "axes") or range(len(shape))}
    kept = at.reach.box if _integer(at.node, "keepdims", 1) else _with_axes(at.reach.box, axes)
    box = tuple((0, size) if axis in axes else kept[axis] for axis, size in enumerate(shape))
    product = at.view.producer(at.source)
    if product is not None and product.op_type == "Mul":
        data = [name for name in product.input if name in at.view.image_tensors]
        if len(data) == 1 and at.view.shapes.get(data[0]) == shape:
            return [(data[0], replace(at.reach, box=box, activations=NONE, averaged=True))]
    return at.back(box, activations=NONE, averaged=False)


def _with_axes(box: Box, axes: Collection[int]) -> Box:
    for axis in sorted(axes):
        box = (*box[:axis], (0, 1), *box[axis:])
    return box


def _is_gate(view: GraphView, node: onnx.NodeProto) -> bool:
    """Say whether the node is x * f(x), an activation of the network such as SiLU or Mish."""
    if node.op_type != "Mul" or len(node.input) != 2:
        return False
    for gated, gate in (tuple(node.input), tuple(node.input)[::-1]):
        name = gate
        for _ in range(GATE_LENGTH):
            producer = view.producer(name)
            if producer is None or producer.op_type not in (*ACTIVATIONS, *NETWORK_UNARY, *SAME):
                break
            name = producer.input[0]
            if name == gated:
                return True
    return False


def _is_folded(view: GraphView, tensor: str) -> bool:
    """Say whether the tensor is a convolution followed by nothing but per-channel scales and offsets."""
    name = tensor
    while (node := view.producer(name)) is not None and node.op_type in FOLDABLE:
        data = [source for source in node.input if source in view.image_tensors]
        if len(data) != 1 or (node.op_type in ("Sub", "Div") and data[0] != node.input[0]):
            return False
        if not _is_per_channel(view, node, next((s for s in node.input if s != data[0]), "")):
            return False
        name = data[0]
    return name != tensor and node is not None and node.op_type in LAYERS


def _is_per_channel(view: GraphView, node: onnx.NodeProto, constant: str) -> bool:
    shape = view.shapes.get(constant)
    if shape is None or any(size != 1 for size in (*shape[:-3], *shape[-2:])):
        return False
    value = view.constant(constant)
    # A product with the stride itself turns grid units into pixels: that is decoding.
    is_stride = node.op_type == "Mul" and value is not None and bool(np.all(value == view.stride(node.output[0])))
    return not is_stride


_HANDLERS: dict[str, Callable[[_Place], Steps]] = {
    **dict.fromkeys(SAME, _same),
    **dict.fromkeys(RESHAPES, _reshape),
    **dict.fromkeys(ACTIVATIONS, _activation),
    **dict.fromkeys(NETWORK_UNARY, _network_unary),
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(BINARY, _binary),
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Expand": _expand,
    "Softmax": _softmax,
    "Conv": _conv,
    "MatMul": _matmul,
    "ReduceSum": _reduce_sum,
}
