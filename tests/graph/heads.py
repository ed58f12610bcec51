"""Detection heads of every make: what a head is and how it is written (`Head`), its graph, and the truth about it.

`head_model` writes the graph, `truth` says at which tensors it has to be cut. Neither knows the program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.shape_inference import infer_shapes

from tests.graph.graphs import Builder, document, hint

__all__ = ["NOISE", "ROLES", "Head", "Truth", "anchors_of", "head_model", "hinted", "truth"]

ROLES = ("boxes", "objectness", "scores", "mask_coefs", "landmarks", "angle")
NOISE = ("Identity", "Dropout", "Cast", "Casts", "Reshapes", "Transposes", "Unsqueezes")
FEATURES = 2
PROTO_STRIDE = 4
DTYPE = np.float32

Truth = tuple[str, str, int, str | None, str | None]
"""Role, tensor, stride, encoding, activation of one endpoint."""


@dataclass(frozen=True)
class Head:
    """One head. The upper members say what it computes, the lower ones (from `opset`) how that is written.

    `strides` and `roles` are in the order in which the graph joins them. `bins` 1 means that distances are predicted as
    they are. `anchors` 0 is a head without anchors; else the roles are those of YOLOv5, whatever `roles` says.
    `landmarks` are how many points of how many values (3 with visibility). `picked` boxes are selected by the graph.
    `wrong` is how a head differs from all those that have a decoder.
    """

    image: tuple[int, int] = (64, 64)
    batch: int = 1
    strides: tuple[int, ...] = (8, 16, 32)
    roles: tuple[str, ...] = ("boxes", "scores")
    classes: int = 3
    scored: str = "Sigmoid"
    bins: int = 4
    decode: str = "centre and size"
    anchors: int = 0
    coefficients: int = 4
    landmarks: tuple[int, int] = (3, 3)
    turned: str = "Sigmoid"
    picked: int = 0
    wrong: str = ""
    opset: int = 17
    body: str = "SiLU"
    after: str = ""
    grid: str = "stored"
    first: str = "scales"
    apart: str = "Slice"
    average: str = "Conv"
    bins_axis: int = 1
    channels_last: bool = False
    one_output: bool = True
    protos_last: bool = False
    constants: bool = False
    anonymous: bool = False
    noise: tuple[str, ...] = ("",)

    def cells(self, stride: int) -> int:
        """Number of cells of one scale."""
        return self.image[0] // stride * (self.image[1] // stride)

    @property
    def rows(self) -> int:
        """Number of boxes in all."""
        return sum(map(self.cells, self.strides)) * max(self.anchors, 1)

    @property
    def parts(self) -> dict[str, int]:
        """The roles in the order of the output's channels, and how many channels each has there."""
        sizes = {
            "boxes": 4,
            "objectness": 1,
            "scores": self.classes,
            "mask_coefs": self.coefficients,
            "landmarks": prod(self.landmarks),
            "angle": 1,
        }
        masks = ("mask_coefs",) if "mask_coefs" in self.roles else ()
        names = ("boxes", "objectness", "scores", *masks) if self.anchors else self.roles
        return {name: sizes[name] for name in names}

    def width(self, role: str) -> int:
        """Number of channels that the last layer of a role has."""
        return 4 * self.bins if role == "boxes" else self.parts[role]


# The truth.


def truth(head: Head) -> list[Truth]:
    """Return the endpoints, roles in the order of the output, fine scales first, prototypes last."""
    strides = sorted(head.strides)
    activations = {"objectness": "sigmoid", "scores": head.scored.lower(), "angle": head.turned.lower() or None}
    encodings = {"boxes": "dfl" if head.bins > 1 else "direct"}
    if head.anchors:
        all_alike = None if "mask_coefs" in head.parts else "sigmoid"
        found: list[Truth] = [("anchor", f"anchor_{s}", s, "anchor", all_alike) for s in strides]
    else:
        roles = sorted(head.parts, key=lambda role: ROLES.index(role)) if head.picked else head.parts
        found = [(r, f"{r}_{s}", s, encodings.get(r), activations.get(r)) for r in roles for s in strides]
    if "mask_coefs" in head.parts:
        found.append(("protos", "protos_map", PROTO_STRIDE, None, None))
    return found


def hinted(head: Head) -> dict[str, Any]:
    """Return the document that a trainer would write."""
    stops = list(accumulate(head.parts.values()))
    boundaries = list(zip(head.parts, [0, *stops], stops, strict=False))
    members: dict[str, Any] = {"strides": sorted(head.strides)}
    if head.anchors:
        members["anchors_per_cell"] = head.anchors
    if head.one_output or head.anchors:
        hints, targets = [hint(*boundaries, **members)], ["output0"]
    else:
        targets = list(head.parts)
        hints = [hint((role, 0, size), target=role, **members) for role, size in head.parts.items()]
    axes = ["batch", "num_boxes", "num_features"] if head.channels_last else ["batch", "num_features", "num_boxes"]
    return document(*hints, outputs=[{"name": target, "dshape": [{axis: 1} for axis in axes]} for target in targets])


# The graph.


def head_model(head: Head, metadata: Any = None) -> onnx.ModelProto:
    """Return the model of a head, with a body before it."""
    b = Builder(head.opset, (head.batch, 3, *head.image))
    features = {stride: _body(b, head, stride) for stride in sorted({*head.strides, PROTO_STRIDE})}
    parts = _anchor_grids(b, head, features) if head.anchors else _decoded(b, head, features)
    outputs = _picked(b, head, parts) if head.picked else _outputs(b, head, parts)
    if "mask_coefs" in head.parts:
        outputs.append(_protos(b, head, features[PROTO_STRIDE]))
    model = b.model(*outputs, document=metadata)
    _disturb(model, head)
    if head.constants:
        _weights_to_constants(model)
    if head.anonymous:
        for node in model.graph.node:
            node.name = ""
    return model


def _body(b: Builder, head: Head, stride: int) -> str:
    conv = b.conv("image", 3, FEATURES, stride, f"feature_{stride}")
    return _activated(b, head, conv)


def _activated(b: Builder, head: Head, conv: str, name: str = "") -> str:
    if head.body == "SiLU":
        return b.op("Mul", conv, b.op("Sigmoid", conv), name=name)
    return b.op(head.body, conv, name=name)


def _protos(b: Builder, head: Head, feature: str) -> tuple[str, list[int]]:
    _activated(b, head, b.conv(feature, FEATURES, head.coefficients, 1), "protos_map")
    height, width = (size // PROTO_STRIDE for size in head.image)
    if head.protos_last:
        moved = b.op("Transpose", "protos_map", perm=[0, 2, 3, 1], name="protos")
        return moved, [head.batch, height, width, head.coefficients]
    return "protos_map", [head.batch, head.coefficients, height, width]


def _joined(b: Builder, head: Head, features: Mapping[int, str]) -> dict[str, str]:
    """Return, for each role, one tensor [batch, width, cells] of all scales."""
    maps = {(r, s): _map(b, head, features[s], head.width(r), f"{r}_{s}") for r in head.parts for s in head.strides}
    if head.first == "scales":
        return {
            role: b.op(
                "Concat", *(b.reshape(maps[role, s], head.batch, head.width(role), -1) for s in head.strides), axis=2
            )
            for role in head.parts
        }
    roles = list(head.parts)[::-1]  # in another order than in the output
    widths = [head.width(role) for role in roles]
    joined = [b.op("Concat", *(maps[role, s] for role in roles), axis=1) for s in head.strides]
    flat = b.op("Concat", *(b.reshape(name, head.batch, sum(widths), -1) for name in joined), axis=2)
    return dict(zip(roles, _apart(b, head, flat, widths), strict=True))


def _map(b: Builder, head: Head, feature: str, width: int, name: str) -> str:
    """Return the last layer of the network, perhaps with a learned scale or an activation of its own."""
    if head.after == "Scale":
        return b.op("Mul", b.conv(feature, FEATURES, width, 1), b.weight(0.7), name=name)
    if head.after:
        return b.op(head.after, b.conv(feature, FEATURES, width, 1), name=name)
    return b.conv(feature, FEATURES, width, 1, name)


def _apart(b: Builder, head: Head, name: str, widths: Sequence[int], axis: int = 1) -> list[str]:
    """Take a tensor apart along an axis."""
    if len(widths) == 1:
        return [name]
    if head.apart == "Slice":
        stops = list(accumulate(widths))
        return [b.slice(name, start, stop, axis) for start, stop in zip([0, *stops], stops, strict=False)]
    if head.apart == "SplitToSequence":
        parts = b.op("SplitToSequence", name, b.integers(*widths), axis=axis)
        return [b.op("SequenceAt", parts, b.weight(index, np.int64)) for index in range(len(widths))]
    if head.opset < 13:
        first = b.op("Split", name, axis=axis, split=list(widths), outputs=len(widths))
    else:
        first = b.op("Split", name, b.integers(*widths), axis=axis, outputs=len(widths))
    return [first, *(f"{first}_{index}" for index in range(1, len(widths)))]


def _grid(head: Head) -> tuple[Any, Any]:
    """Return the centres [1, 2, cells], in cells, and the strides [1, cells]."""
    centres, strides = [], []
    for stride in head.strides:
        rows, columns = np.mgrid[0 : head.image[0] // stride, 0 : head.image[1] // stride]
        centres.append(np.stack([columns.ravel(), rows.ravel()]) + 0.5)
        strides.append(np.full(rows.size, stride))
    return np.concatenate(centres, axis=1)[np.newaxis], np.concatenate(strides)[np.newaxis]


def _computed_grid(b: Builder, head: Head, features: Mapping[int, str]) -> str:
    """The same centres, from the shapes of the features, as exports have it that were not simplified."""
    grids = []
    for stride in head.strides:
        shape = b.op("Shape", features[stride])
        size = b.slice(shape, 2, 4, 0)
        columns, rows = (_counted(b, b.op("Gather", shape, b.weight(axis, np.int64), axis=0)) for axis in (3, 2))
        x = b.op("Expand", b.reshape(columns, 1, -1), size)
        y = b.op("Expand", b.reshape(rows, -1, 1), size)
        grids.append(b.op("Concat", b.reshape(x, 1, 1, -1), b.reshape(y, 1, 1, -1), axis=1))
    return b.op("Concat", *grids, axis=2)


def _counted(b: Builder, size: str) -> str:
    counted = b.op("Range", b.weight(0, np.int64), size, b.weight(1, np.int64))
    return b.op("Add", b.op("Cast", counted, to=TensorProto.FLOAT), b.weight(0.5))


def _decoded(b: Builder, head: Head, features: Mapping[int, str]) -> dict[str, str]:
    """Return, for each role in the order of the output, [batch, size, rows]."""
    joined = _joined(b, head, features)
    corner = 0.5 if head.wrong == "corners of the cells" else 0.0
    first, second = _grid(head)
    centres, strides = b.weight(first - corner), b.weight(second / (8 if head.wrong == "other units" else 1))
    if head.grid == "computed":
        centres = _computed_grid(b, head, features)
    angle = joined.get("angle", "")
    if angle and head.turned:
        angle = b.op("Mul", b.op("Sub", b.op(head.turned, angle), b.weight(0.25)), b.weight(np.pi))
    make: dict[str, Callable[[], str]] = {
        "boxes": lambda: _boxes(b, head, joined["boxes"], angle, centres, strides),
        "objectness": lambda: b.op("Sigmoid", joined["objectness"]),
        "scores": lambda: _scores(b, head, joined["scores"]),
        "mask_coefs": lambda: joined["mask_coefs"],
        "landmarks": lambda: _landmarks(b, head, joined["landmarks"], centres, strides),
        "angle": lambda: angle,
    }
    return {role: make[role]() for role in head.parts}


def _scores(b: Builder, head: Head, name: str) -> str:
    if head.wrong == "classes in another order":
        name = b.op("Gather", name, b.integers(*range(head.classes)[::-1]), axis=1)
    if head.scored == "Softmax":
        return _softmax(b, name, 3, 1)
    return b.op(head.scored, name)


def _softmax(b: Builder, name: str, rank: int, axis: int) -> str:
    """A softmax over one axis; before opset 13 only the last axis is one."""
    if b.opset >= 13 or axis == rank - 1:
        return b.op("Softmax", name, axis=axis)
    perm = list(range(rank))
    perm[axis], perm[-1] = perm[-1], perm[axis]
    return b.op("Transpose", b.op("Softmax", b.op("Transpose", name, perm=perm), axis=rank - 1), perm=perm)


def _boxes(b: Builder, head: Head, name: str, angle: str, centres: str, strides: str) -> str:
    distances = _averaged(b, head, name) if head.bins > 1 else name
    low, high = _apart(b, head, distances, [2, 2])
    if head.wrong == "right and bottom first":
        low, high = high, low
    if head.wrong == "doubled":
        low, high = (b.op("Mul", side, b.weight(2.0)) for side in (low, high))
    if angle:
        return _turned_boxes(b, head, (low, high), angle, centres, strides)
    if head.decode == "exponential":
        first, second = b.op("Add", low, centres), b.op("Exp", high)
    else:
        first, second = b.op("Sub", centres, low), b.op("Add", centres, high)
    if head.decode == "centre and size":
        middle = b.op("Div", b.op("Add", first, second), b.weight(2.0))
        first, second = middle, b.op("Sub", second, first)
    return b.op("Mul", b.op("Concat", first, second, axis=1), strides)


def _turned_boxes(b: Builder, head: Head, sides: tuple[str, str], angle: str, centres: str, strides: str) -> str:
    low, high = sides
    x, y = _apart(b, head, b.op("Div", b.op("Sub", high, low), b.weight(2.0)), [1, 1])
    sine, cosine = b.op("Sin", angle), b.op("Cos", angle)
    moved = (
        b.op("Sub", b.op("Mul", x, cosine), b.op("Mul", y, sine)),
        b.op("Add", b.op("Mul", x, sine), b.op("Mul", y, cosine)),
    )
    middle = b.op("Add", b.op("Concat", *moved, axis=1), centres)
    return b.op("Mul", b.op("Concat", middle, b.op("Add", low, high), axis=1), strides)


def _averaged(b: Builder, head: Head, name: str) -> str:
    """Bins [batch, 4 * bins, rows] to distances [batch, 4, rows]; the softmax stands on the axis `bins_axis`."""
    axis, bins = head.bins_axis, np.arange(head.bins)
    perm = [0, 1, 3]
    perm.insert(axis, 2)
    apart = b.reshape(name, head.batch, 4, head.bins, head.rows)
    if head.wrong == "bins of the sides in turn":
        apart = b.op("Transpose", b.reshape(name, head.batch, head.bins, 4, head.rows), perm=[0, 2, 1, 3])
    moved = b.op("Transpose", apart, perm=perm)
    soft = _softmax(b, moved, 4, axis)
    if head.average == "ReduceSum":
        shape = [1] * 4
        shape[axis] = head.bins
        return _sum(b, b.op("Mul", soft, b.weight(bins.reshape(shape))), axis)
    # Axes of [batch, 4, bins, rows]:
    wanted = {"Conv": [0, 2, 1, 3], "MatMul, row": [0, 1, 2, 3]}.get(head.average, [0, 1, 3, 2])
    if perm != wanted:
        soft = b.op("Transpose", soft, perm=[perm.index(a) for a in wanted])
    if head.average == "Conv":
        return b.reshape(b.op("Conv", soft, b.weight(bins.reshape(1, -1, 1, 1))), head.batch, 4, head.rows)
    if head.average == "MatMul, row":
        return b.reshape(b.op("MatMul", b.weight(bins.reshape(1, -1)), soft), head.batch, 4, head.rows)
    if head.average == "MatMul":
        return b.op("MatMul", soft, b.weight(bins))
    return b.reshape(b.op("MatMul", soft, b.weight(bins.reshape(-1, 1))), head.batch, 4, head.rows)


def _sum(b: Builder, name: str, axis: int) -> str:
    if b.opset < 13:
        return b.op("ReduceSum", name, axes=[axis], keepdims=0)
    return b.op("ReduceSum", name, b.integers(axis), keepdims=0)


def _landmarks(b: Builder, head: Head, name: str, centres: str, strides: str) -> str:
    count, values = head.landmarks
    points = b.reshape(name, head.batch, count, values, head.rows)
    visible = ""
    if values > 2:
        points, visible = _apart(b, head, points, [2, 1], axis=2)
    moved = b.op("Mul", b.op("Add", b.op("Mul", points, b.weight(2.0)), centres), strides)
    if visible:
        moved = b.op("Concat", moved, b.op("Sigmoid", visible), axis=2)
    return b.reshape(moved, head.batch, count * values, head.rows)


def _anchor_grids(b: Builder, head: Head, features: Mapping[int, str]) -> dict[str, str]:
    """YOLOv5: on each scale boxes, objectness and scores of all anchors from one layer; in all [batch, rows, sum]."""
    total = sum(head.parts.values())
    grids = []
    for stride in head.strides:
        conv = _map(b, head, features[stride], head.anchors * total, f"anchor_{stride}")
        height, width = (size // stride for size in head.image)
        five = b.op("Transpose", b.reshape(conv, head.batch, head.anchors, total, height, width), perm=[0, 1, 3, 4, 2])
        grids.append(b.reshape(_anchor_boxes(b, head, five, stride), head.batch, -1, total))
    return {"all": b.op("Transpose", b.op("Concat", *grids, axis=1), perm=[0, 2, 1])}


def _anchor_boxes(b: Builder, head: Head, name: str, stride: int) -> str:
    coefficients = head.parts.get("mask_coefs", 0)
    sizes = [2, 2, sum(head.parts.values()) - 4 - coefficients, *([coefficients] if coefficients else [])]
    if head.decode == "exponential" or coefficients:
        centre, size, *rest = _apart(b, head, name, sizes, axis=4)
        activated = [b.op("Sigmoid", centre), size, b.op("Sigmoid", rest[0]), *rest[1:]]
    else:
        activated = _apart(b, head, b.op("Sigmoid", name), sizes, axis=4)
    rows, columns = np.mgrid[0 : head.image[0] // stride, 0 : head.image[1] // stride]
    grid = b.weight((np.stack([columns, rows], axis=-1) - 0.5)[np.newaxis, np.newaxis])
    anchors = b.weight(anchors_of(head, stride).reshape(1, head.anchors, 1, 1, 2))
    scale = 1.0 if head.wrong == "centres as YOLOv3" else 2.0
    moved = b.op("Add", b.op("Mul", activated[0], b.weight(scale)), grid)
    middle = b.op("Mul", moved, b.weight(float(stride)))
    if head.decode == "exponential":
        extent = b.op("Exp", activated[1])
    else:
        half = b.op("Sigmoid", activated[1]) if coefficients else activated[1]
        extent = b.op("Pow", b.op("Mul", half, b.weight(2.0)), b.weight(2.0))
    return b.op("Concat", middle, b.op("Mul", extent, anchors), *activated[2:], axis=4)


def anchors_of(head: Head, stride: int) -> np.ndarray:
    """Return the anchors of a scale, [anchors, 2] in pixels."""
    return np.array([[stride * (index + 1.0), stride * (index + 1.5)] for index in range(head.anchors)])


# The outputs.


def _outputs(b: Builder, head: Head, parts: Mapping[str, str]) -> list[str | tuple[str, Sequence[int]]]:
    if not head.one_output and not head.anchors:
        return [_output(b, head, name, head.parts[role], role) for role, name in parts.items()]
    names = list(parts.values())
    joined = b.op("Concat", *names, axis=1) if len(names) > 1 else names[0]
    return [_output(b, head, joined, sum(head.parts.values()), "output0")]


def _output(b: Builder, head: Head, name: str, channels: int, called: str) -> tuple[str, Sequence[int]]:
    if head.channels_last:
        return b.op("Transpose", name, perm=[0, 2, 1], name=called), [head.batch, head.rows, channels]
    return b.op("Identity", name, name=called), [head.batch, channels, head.rows]


def _picked(b: Builder, head: Head, parts: Mapping[str, str]) -> list[str | tuple[str, Sequence[int]]]:
    """Boxes, best score, its class, and the rest of the best cells, [batch, picked, 6 or more]."""
    last = {role: b.op("Transpose", name, perm=[0, 2, 1]) for role, name in parts.items()}
    best = _max(b, last["scores"])
    cells = _index(b, head, _top(b, head, best, 1)[1])
    scores = _rows(b, head, last["scores"], cells, head.classes)
    score, place = _top(b, head, b.reshape(scores, head.batch, -1), 1)
    number = b.op("Mod", place, b.integers(head.classes))
    row = _index(b, head, b.op("Div", place, b.integers(head.classes)))
    rest = [role for role in ROLES if role in parts and role != "scores"]
    chosen = {r: _rows(b, head, _rows(b, head, last[r], cells, head.parts[r]), row, head.parts[r]) for r in rest}
    best_class = [_column(b, head, score), b.op("Cast", _column(b, head, number), to=TensorProto.FLOAT)]
    before = [chosen.pop(role) for role in rest if role in ("boxes", "objectness")]
    b.op("Concat", *before, *best_class, *chosen.values(), axis=2, name="output0")
    size = 2 + sum(head.parts[role] for role in rest)
    return [("output0", [head.batch, head.picked, size])]


def _max(b: Builder, name: str) -> str:
    if b.opset < 18:
        return b.op("ReduceMax", name, axes=[-1], keepdims=0)
    return b.op("ReduceMax", name, b.integers(-1), keepdims=0)


def _top(b: Builder, head: Head, name: str, axis: int) -> tuple[str, str]:
    first = b.op("TopK", name, b.integers(head.picked), axis=axis, outputs=2)
    return first, f"{first}_1"


def _column(b: Builder, head: Head, name: str) -> str:
    return b.reshape(name, head.batch, head.picked, 1)


_index = _column


def _rows(b: Builder, head: Head, name: str, index: str, size: int) -> str:
    wide = b.op("Expand", index, b.integers(head.batch, head.picked, size))
    return b.op("GatherElements", name, wide, axis=1)


# What exporters leave behind.


def _weights_to_constants(model: onnx.ModelProto) -> None:
    nodes = [helper.make_node("Constant", [], [t.name], value=t) for t in model.graph.initializer]
    del model.graph.initializer[:]
    nodes += model.graph.node
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _disturb(model: onnx.ModelProto, head: Head) -> None:
    """Insert operators that change nothing after every float tensor of the tail, the last layers included."""
    graph = model.graph
    inferred = infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
        and all(dim.dim_value for dim in value.type.tensor_type.shape.dim)  # parts of a sequence have no shape
    }
    tail = _tail_tensors(graph) & shapes.keys() - {value.name for value in graph.output}
    kinds = iter(head.noise * (len(tail) + 1))
    for node in list(graph.node):
        for name in filter(tail.__contains__, node.output):
            added, last = _same(graph, name, shapes[name], next(kinds), head.opset)
            for user in graph.node:
                for place, source in enumerate(user.input):
                    if source == name:
                        user.input[place] = last
            place = 1 + next(index for index, other in enumerate(graph.node) if name in other.output)
            for new in reversed(added):
                graph.node.insert(place, new)


def _tail_tensors(graph: onnx.GraphProto) -> set[str]:
    """Return the tensors from the last layers on."""
    found: set[str] = set()
    for node in graph.node:
        if node.name.rpartition("_")[0] in (*ROLES, "anchor"):
            found.add(node.output[0])
        if found.intersection(node.input):
            found.update(node.output)
    return found


def _same(
    graph: onnx.GraphProto, name: str, shape: Sequence[int], kind: str, opset: int
) -> tuple[list[onnx.NodeProto], str]:
    """Return nodes that pass a tensor on as it is, and what they call it."""
    rank = len(shape)
    turn = [*range(1, rank), 0]
    writings: dict[str, list[tuple[str, dict[str, Any], list[int] | None]]] = {
        "": [],
        "Identity": [("Identity", {}, None)],
        "Dropout": [("Dropout", {}, None)],
        "Cast": [("Cast", {"to": TensorProto.FLOAT}, None)],
        "Casts": [("Cast", {"to": TensorProto.DOUBLE}, None), ("Cast", {"to": TensorProto.FLOAT}, None)],
        "Reshapes": [("Reshape", {}, [-1]), ("Reshape", {}, list(shape))],
        "Transposes": [
            ("Transpose", {"perm": turn}, None),
            ("Transpose", {"perm": [turn.index(axis) for axis in range(rank)]}, None),
        ],
        "Unsqueezes": [("Unsqueeze", {"axes": [rank]}, None), ("Squeeze", {"axes": [rank]}, None)],
    }
    nodes = []
    last = name
    for index, (operator, attributes, target) in enumerate(writings[kind]):
        inputs, new = [last], f"{name}_{kind}_{index}"
        if opset >= 13 and "axes" in attributes:
            target, attributes = attributes["axes"], {}
        if target is not None:
            graph.initializer.append(numpy_helper.from_array(np.array(target, dtype=np.int64), f"{new}_target"))
            inputs.append(f"{new}_target")
        nodes.append(helper.make_node(operator, inputs, [new], name=new, **attributes))
        last = new
    return nodes, last
