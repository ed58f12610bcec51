"""Graphs that cannot be cut: what they are is told, and what to export instead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from build_rules.errors import InputError
from build_rules.graph import split_model
from tests.graph.graphs import CELLS, CLASSES, DETECTION, Builder, detection, document, hint, save, split

BEST = 3


def refused(folder: Path, model: onnx.ModelProto) -> str:
    path = save(model, folder)
    with pytest.raises(InputError) as caught:
        split_model(path, "m", folder / "cut.onnx")
    assert str(caught.value).startswith(f"{path}: ")
    assert not (folder / "cut.onnx").exists()
    return str(caught.value)


def detector() -> tuple[Builder, str, str]:
    """A builder with a detector's boxes [1, cells, 4] and scores [1, classes, cells]."""
    b = Builder()
    for node in detection().graph.node[:-1]:
        b.nodes.append(node)
    b.weights += detection().graph.initializer
    boxes, scores = detection().graph.node[-1].input
    return b, b.op("Transpose", boxes, perm=[0, 2, 1], name="boxes"), scores


@pytest.mark.parametrize("metadata", [None, DETECTION], ids=["bare", "with metadata"])
def test_box_suppression_in_the_graph(tmp_path: Path, metadata: object) -> None:
    b, boxes, scores = detector()
    kept = b.op("NonMaxSuppression", boxes, scores, b.integers(BEST), b.weight(0.5), b.weight(0.5), name="nms")
    b.op("Cast", kept, to=TensorProto.FLOAT, name="output0")
    message = refused(tmp_path, b.model(("output0", [BEST, 3]), document=metadata))
    assert "the graph suppresses overlapping boxes itself (node 'nms', NonMaxSuppression)" in message
    assert "export the model without NMS (Ultralytics: nms=False)" in message


@pytest.mark.parametrize(
    ("kind", "domain"),
    [
        ("EfficientNMS_TRT", "TRT"),
        ("BatchedNMS_TRT", "com.nvidia"),
        ("BatchedNMSDynamic_TRT", "TRT"),
        ("TRTBatchedNMS", "mmdeploy"),
        ("NMSRotated", "mmdeploy"),
    ],
)
def test_plug_ins_of_other_runtimes_that_suppress(tmp_path: Path, kind: str, domain: str) -> None:
    b, boxes, scores = detector()
    b.nodes.append(helper.make_node(kind, [boxes, scores], ["output0"], domain=domain, name="plugin"))
    model = b.model(("output0", [1, BEST, 6]))
    model.opset_import.append(helper.make_opsetid(domain, 1))
    message = refused(tmp_path, model)
    assert f"the graph suppresses overlapping boxes itself (node 'plugin', {kind})" in message
    assert "without NMS" in message


def test_suppression_that_no_output_needs_is_no_matter(tmp_path: Path) -> None:
    b, boxes, scores = detector()
    b.op("NonMaxSuppression", boxes, scores, name="unused")
    b.op("Transpose", boxes, perm=[0, 2, 1], name="where")
    b.op("Concat", "where", scores, axis=1, name="output0")
    found = split_model(save(b.model("output0"), tmp_path), "m", tmp_path / "cut.onnx").split
    assert [e.name for e in found.endpoints] == ["boxes_0", "boxes_1", "scores_0", "scores_1"]


@pytest.mark.parametrize("named", ["name", "output"])
def test_a_name_alone_suppresses_nothing(tmp_path: Path, named: str) -> None:
    model = detection()
    if named == "name":
        model.graph.node[0].name = "NonMaxSuppression"
    else:
        old = model.graph.node[0].output[0]
        model.graph.node[0].output[0] = "EfficientNMS_TRT"
        for node in model.graph.node[1:]:
            node.input[:] = ["EfficientNMS_TRT" if name == old else name for name in node.input]
    assert len(split_model(save(model, tmp_path), "m", tmp_path / "cut.onnx").split.endpoints) == 4


@pytest.mark.parametrize("last", ["Softmax", "Sigmoid", "Identity"])
@pytest.mark.parametrize("metadata", [None, document()], ids=["bare", "with metadata"])
def test_a_classifier(tmp_path: Path, last: str, metadata: object) -> None:
    b = Builder()
    pooled = b.op("Flatten", b.op("GlobalAveragePool", b.op("Relu", b.conv("image", 3, 8, 8))))
    b.op(last, b.op("Gemm", pooled, b.weight(np.ones((8, CLASSES)))), name="output0")
    message = refused(tmp_path, b.model("output0", document=metadata))
    assert f"this is no detector: its outputs are 'output0' [1, {CLASSES}]" in message
    assert "(a classifier)" in message
    assert "export a detection or segmentation model" in message


def test_a_classifier_of_two_outputs_lists_both(tmp_path: Path) -> None:
    b = Builder()
    pooled = b.op("Flatten", b.op("GlobalAveragePool", b.conv("image", 3, 8, 8)), name="features")
    b.op("ReduceMax", pooled, axes=[1], keepdims=0, name="best")
    assert "its outputs are 'features' [1, 8], 'best' [1]" in refused(tmp_path, b.model(pooled, "best"))


def attention(b: Builder, queries: str, keys: str, width: int) -> str:
    query, key, values = (b.op("MatMul", s, b.weight(b.random.random((width, width)))) for s in (queries, keys, keys))
    scores = b.op("MatMul", query, b.op("Transpose", key, perm=[0, 2, 1]))
    return b.op("Add", queries, b.op("MatMul", b.op("Softmax", scores, axis=-1), values))


def decoder(learned: bool) -> Builder:
    """A small DETR (learned queries) or RT-DETR (queries selected among the cells), without its outputs."""
    b, width = Builder(), 8
    cells = b.reshape(b.conv("image", 3, width, 8, "map"), 1, width, -1)
    tokens = b.op("Transpose", cells, perm=[0, 2, 1])
    if learned:
        queries = b.weight(b.random.random((1, BEST, width)))
    else:
        chance = b.op(
            "ReduceMax", b.op("MatMul", tokens, b.weight(b.random.random((width, CLASSES)))), axes=[2], keepdims=0
        )
        best = b.op("Unsqueeze", f"{b.op('TopK', chance, b.integers(BEST), axis=1, outputs=2)}_1", b.integers(2))
        queries = b.op("GatherElements", tokens, b.op("Expand", best, b.integers(1, BEST, width)), axis=1)
    hidden = attention(b, attention(b, queries, queries, width), tokens, width)
    b.op("Sigmoid", b.op("MatMul", hidden, b.weight(b.random.random((width, 4)))), name="boxes")
    b.op("Sigmoid", b.op("MatMul", hidden, b.weight(b.random.random((width, CLASSES)))), name="scores")
    return b


@pytest.mark.parametrize("learned", [True, False], ids=["DETR", "RT-DETR"])
@pytest.mark.parametrize("joined", [True, False], ids=["one output", "two outputs"])
def test_the_queries_of_a_transformer(tmp_path: Path, learned: bool, joined: bool) -> None:
    b = decoder(learned)
    names = [b.op("Concat", "boxes", "scores", axis=2, name="output0")] if joined else ["boxes", "scores"]
    message = refused(tmp_path, b.model(*names))
    assert "come from the queries of a transformer (RT-DETR, DETR)" in message
    assert "export a YOLO or ModelPack detector" in message


def test_the_queries_of_a_transformer_with_hints(tmp_path: Path) -> None:
    b = decoder(learned=False)
    b.op("Concat", "boxes", "scores", axis=2, name="output0")
    hints = document(hint(("boxes", 0, 4), ("scores", 4, 4 + CLASSES)))
    assert "queries of a transformer" in refused(tmp_path, b.model("output0", document=hints))


def test_attention_before_the_last_convolutions_is_part_of_the_network(tmp_path: Path) -> None:
    """A tail that ends nowhere behind such a network is not blamed on a transformer."""
    b, width = Builder(), 8
    tokens = b.op("Transpose", b.reshape(b.conv("image", 3, width, 8), 1, width, -1), perm=[0, 2, 1])
    mixed = b.op("Transpose", attention(b, tokens, tokens, width), perm=[0, 2, 1])
    scores = b.conv(b.reshape(mixed, 1, width, 4, 4), width, CLASSES, 1, "map")
    b.op("Sigmoid", b.op("LpNormalization", b.reshape(scores, 1, CLASSES, -1), name="norm"), name="output0")
    message = refused(tmp_path, b.model("output0", document=document(hint(("scores", 0, CLASSES)))))
    assert "transformer" not in message
    assert "ends at node 'norm' (LpNormalization)" in message
    assert "export the model without post-processing (no NMS, no end-to-end head)" in message


def test_an_output_without_a_fixed_shape(tmp_path: Path) -> None:
    b, boxes, _ = detector()
    rows = b.op("Reshape", boxes, b.integers(-1, 4))
    chosen = b.op("NonZero", b.op("Greater", b.op("ReduceMax", rows, axes=[1], keepdims=0), b.weight(0.5)))
    b.op("Gather", rows, b.reshape(chosen, -1), axis=0, name="output0")
    model = b.model(("output0", [1, 4]))
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "n"
    message = refused(tmp_path, model)
    assert "the output 'output0' has no fixed shape; export the model with a static shape" in message


@pytest.mark.parametrize("shape", [[1, CELLS, 4], [1, CLASSES]])
def test_a_wrong_claim_of_an_outputs_shape_is_not_believed(tmp_path: Path, shape: list[int]) -> None:
    """Such a file is no classifier, and its hints are right: the graph says which shape its output has."""
    model = detection()
    dims = model.graph.output[0].type.tensor_type.shape.dim
    del dims[:]
    for size in shape:
        dims.add(dim_value=size)
    assert [e.role for e in split(save(model, tmp_path)).endpoints] == ["boxes", "boxes", "scores", "scores"]
