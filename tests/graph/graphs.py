"""Small detection heads, hand-made: a 32x32 image, feature maps of 4x4 (stride 8) and 2x2 (stride 16)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from build_rules.graph import split_model
from build_rules.graph.load.graph_view import GraphView, view_graph
from build_rules.graph.load.source import load_source
from build_rules.records.split_json import Split

SIZE = 32
STRIDES = (8, 16)
BINS = 4
CLASSES = 5
CELLS = sum((SIZE // stride) ** 2 for stride in STRIDES)


class Builder:
    """Writes a graph node by node; `op` returns the name of the node's first output, which is also the node's name."""

    def __init__(self, opset: int = 17, image: Sequence[int | str] = (1, 3, SIZE, SIZE)) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, list(image))]
        self.random = np.random.default_rng(1)

    def op(self, kind: str, *inputs: str, name: str = "", outputs: int = 1, **attributes: Any) -> str:
        name = name or f"{kind.lower()}_{len(self.nodes)}"
        names = [name, *(f"{name}_{index}" for index in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=name, **attributes))
        return name

    def weight(self, values: Any, kind: Any = np.float32) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype=kind), name))
        return name

    def integers(self, *values: int) -> str:
        return self.weight(values, np.int64)

    def conv(self, source: str, inputs: int, channels: int, stride: int, name: str = "") -> str:
        shape = (channels, inputs, stride, stride)
        weight = self.weight(self.random.standard_normal(shape) / stride)
        return self.op("Conv", source, weight, name=name, strides=[stride, stride], kernel_shape=[stride, stride])

    def reshape(self, source: str, *shape: int) -> str:
        return self.op("Reshape", source, self.integers(*shape))

    def slice(self, source: str, start: int, stop: int, axis: int) -> str:
        return self.op("Slice", source, self.integers(start), self.integers(stop), self.integers(axis))

    def model(self, *outputs: str | tuple[str, Sequence[int | str]], document: Any = None) -> onnx.ModelProto:
        values = [
            onnx.ValueInfoProto(name=o) if isinstance(o, str) else helper.make_tensor_value_info(o[0], 1, list(o[1]))
            for o in outputs
        ]
        graph = helper.make_graph(self.nodes, "main", self.inputs, values, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        for value in model.graph.output:
            if not value.HasField("type"):
                inferred = {v.name: v for v in onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output}
                value.CopyFrom(inferred[value.name])
        if document is not None:
            helper.set_model_props(model, {"edgefirst": json.dumps(document)})
        return model


def hint(*boundaries: tuple[str, int, int], target: str = "output0", **members: Any) -> dict[str, Any]:
    """A split hint; boundaries are (name, start, stop)."""
    entries = [{"name": name, "channels": [start, stop]} for name, start, stop in boundaries]
    return {"type": "quantization_split", "target": target, "boundaries": entries, **members}


def document(*hints: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"schema_version": 2, "split_hints": list(hints), **members}


DETECTION = document(hint(("boxes", 0, 4), ("scores", 4, 4 + CLASSES), strides=list(STRIDES)))


def grid_of(stride: int) -> NDArray[np.int64]:
    """Column and row of each cell, [2, H, W]."""
    rows, columns = np.mgrid[0 : SIZE // stride, 0 : SIZE // stride]
    return np.stack([columns, rows])


def decode_boxes(b: Builder, distances: str) -> str:
    """Distances [1, 4, cells] of all scales to boxes [1, 4, cells]."""
    grid = b.weight(np.concatenate([grid_of(stride).reshape(1, 2, -1) + 0.5 for stride in STRIDES], axis=2))
    low = b.op("Sub", grid, b.slice(distances, 0, 2, 1))
    high = b.op("Add", grid, b.slice(distances, 2, 4, 1))
    centre = b.op("Div", b.op("Add", low, high), b.weight(2.0))
    joined = b.op("Concat", centre, b.op("Sub", high, low), axis=1)
    strides = [np.full((1, (SIZE // stride) ** 2), stride) for stride in STRIDES]
    return b.op("Mul", joined, b.weight(np.concatenate(strides, axis=1)))


def dfl(b: Builder, bins: str, kind: str) -> str:
    """Bins [1, 4 * BINS, cells] to distances [1, 4, cells], in the ways exporters write it."""
    split = b.reshape(bins, 1, 4, BINS, CELLS)
    if kind == "conv":
        softmax = b.op("Softmax", b.op("Transpose", split, perm=[0, 2, 1, 3]), axis=1)
        return b.reshape(b.op("Conv", softmax, b.weight(np.arange(BINS).reshape(1, BINS, 1, 1))), 1, 4, CELLS)
    if kind == "conv, softmax on the last axis":  # opset 11
        last = b.op("Transpose", split, perm=[0, 3, 1, 2])
        softmax = b.op("Transpose", b.op("Softmax", last, axis=3), perm=[0, 3, 2, 1])
        return b.reshape(b.op("Conv", softmax, b.weight(np.arange(BINS).reshape(1, BINS, 1, 1))), 1, 4, CELLS)
    last = b.op("Softmax", b.op("Transpose", split, perm=[0, 1, 3, 2]), axis=-1 if b.opset >= 13 else 3)
    if kind == "matmul":
        return b.op("MatMul", last, b.weight(np.arange(BINS)))
    assert kind == "sum"
    weighted = b.op("Mul", last, b.weight(np.arange(BINS)))
    return b.op("ReduceSum", weighted, b.integers(-1), keepdims=0)


WRITINGS = [
    ("conv", 17, "scales"),
    ("conv", 17, "roles"),
    ("conv, softmax on the last axis", 11, "scales"),
    ("matmul", 12, "scales"),
    ("matmul", 17, "roles"),
    ("sum", 13, "scales"),
    ("sum", 13, "roles"),
    ("sum", 17, "roles"),
    ("direct", 11, "scales"),
    ("direct", 17, "scales"),
    ("direct", 17, "roles"),
]
"""Ways in which exporters write a detector: `kind`, `opset` and `order` of `detection`."""


def detection(
    kind: str = "conv", opset: int = 17, order: str = "scales", classes: int = CLASSES, metadata: Any = DETECTION
) -> onnx.ModelProto:
    """A detector; `kind` of DFL or "direct"; `order`: what is joined first, the `scales` of a role or the `roles`."""
    b = Builder(opset)
    width = 4 if kind == "direct" else 4 * BINS
    boxes = [b.conv("image", 3, width, stride, f"box_map_{stride}") for stride in STRIDES]
    scores = [b.conv("image", 3, classes, stride, f"score_map_{stride}") for stride in STRIDES]
    if order == "scales":
        joined = [
            b.op("Concat", *(b.reshape(name, 1, channels, -1) for name in maps), axis=2)
            for maps, channels in ((boxes, width), (scores, classes))
        ]
    else:
        cells = [b.op("Concat", *pair, axis=1) for pair in zip(boxes, scores, strict=True)]
        flat = b.op("Concat", *(b.reshape(name, 1, width + classes, -1) for name in cells), axis=2)
        first = b.op("Split", flat, b.integers(width, classes), axis=1, outputs=2)
        joined = [first, f"{first}_1"]
    distances = joined[0] if kind == "direct" else dfl(b, joined[0], kind)
    b.op("Concat", decode_boxes(b, distances), b.op("Sigmoid", joined[1]), axis=1, name="output0")
    return b.model("output0", document=metadata)


def save(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def view_of(model: onnx.ModelProto, folder: Path) -> GraphView:
    return view_graph(load_source(save(model, folder)))


def split(path: Path, **settings: Any) -> Split:
    """What the room finds in a file; the cut model lies beside it (`cut_of`)."""
    return split_model(path, "m", path.with_suffix(".cut"), **settings).split


def cut_of(path: Path) -> onnx.ModelProto:
    """The cut model that `split` wrote."""
    return onnx.load_from_string(path.with_suffix(".cut").read_bytes())


def image(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((1, 3, SIZE, SIZE), dtype=np.float32)
