"""The room against exports of real training code: exactly the endpoints that the corpus' manifest says."""

from __future__ import annotations

import json
from typing import Any

import onnx
import pytest

from build_rules.errors import InputError
from build_rules.graph import SplitResult, read_document, split_model
from tests.graph.graphs import document, hint
from tests.shared import corpus_model, corpus_truth, needs_shared

pytestmark = needs_shared

MODELS = [
    "yolov8n",
    "yolov8n-seg",
    "yolo11n",
    "yolo11n-seg",
    "yolo26n",
    "yolo26n-seg",
    "yolov8n_ul83",
    "yolov8n_320",
    "yolov8n_nc64",
    "yolov8n_dynamo",
    "yolov8n-pose",
    "yolov5n_anchor",
    "modelpack_det_seg",
]
ATTENTION = {"yolo11n": 2, "yolo11n-seg": 2, "yolo26n": 4, "yolo26n-seg": 4}


def expected(name: str) -> list[tuple[Any, ...]]:
    """(role, tensor, node, shape) in our order: roles as listed, prototypes last, fine scales first."""
    truth = corpus_truth()[name]
    roles = list(dict.fromkeys(entry["role"] for entry in truth["endpoints"]))
    entries = sorted(truth["endpoints"], key=lambda entry: (roles.index(entry["role"]), entry["stride"]))
    return [(e["role"], e["tensor"], e["node"], tuple(e["shape"])) for e in entries + truth["proto"]]


def check_strides(name: str, result: SplitResult) -> None:
    strides = {entry["tensor"]: entry["stride"] for entry in corpus_truth()[name]["endpoints"]}
    for endpoint in result.split.endpoints:
        assert endpoint.stride == strides.get(endpoint.tensor, 4)


@pytest.mark.parametrize("name", MODELS)
def test_finds_exactly_the_true_endpoints(name: str) -> None:
    result = split_model(corpus_model(name), name)
    endpoints = result.split.endpoints
    assert [(e.role, e.tensor, e.node, e.shape) for e in endpoints] == expected(name)
    check_strides(name, result)
    assert result.split.proof is not None
    assert result.split.proof.max_abs_error == 0.0
    assert len(result.split.attention) == ATTENTION.get(name, 0)
    encodings = {e.encoding for e in endpoints if e.role == "boxes"}
    assert encodings <= ({"direct"} if name.startswith("yolo26") else {"dfl"})
    assert {e.activation for e in endpoints if e.role == "scores"} <= {"sigmoid"}
    assert {e.activation for e in endpoints if e.role not in ("scores", "anchor")} <= {None}
    cut = onnx.load_from_string(result.model)
    assert [value.name for value in cut.graph.output] == [e.tensor for e in endpoints]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad/boundary_gap", "boundary 'scores' of the EdgeFirst metadata leaves a gap"),
        ("bad/boundary_overlap", "boundary 'scores' of the EdgeFirst metadata overlaps"),
        ("bad/end2end_with_hints", "model.end2end"),
        ("bad/malformed_json", "'edgefirst' is not valid JSON"),
        ("bad/no_split_hints", "has no split_hints of a known type, its outputs are 'output0' [1, 84, 8400]"),
        ("bad/schema_version_3", "schema_version 3"),
        ("bad/strides_wrong", "the split hint says strides [4, 8, 16], but the boundary 'boxes'"),
        ("bad/target_missing", "names the target 'output9', but the graph's outputs are 'output0'"),
        ("bad/unknown_split_type", "has no split_hints of a known type"),
        ("yolov8n_bare", "EdgeFirst metadata is missing, its outputs are 'output0' [1, 84, 8400]"),
        ("yolo26n_e2e", "model.end2end"),
        ("yolov8n-cls", "its outputs are 'output0' [1, 1000]"),
        ("yolov8n_dynamic", "dynamic shape [batch, 3, height, width]"),
    ],
)
def test_refuses(name: str, message: str) -> None:
    path = corpus_model(name)
    with pytest.raises(InputError) as caught:
        split_model(path, name)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_metadata_alone_changes_nothing() -> None:
    """Labels belong to a later step: a model that differs only there is cut to the same bytes."""
    first, second = (split_model(corpus_model(name), "m") for name in ("yolov8n", "bad/labels_79"))
    assert first == second
    assert len(read_document(corpus_model("bad/labels_79")).labels) == 79


def test_reads_the_document() -> None:
    source = read_document(corpus_model("yolov8n"))
    assert source.key == "edgefirst"
    assert source.document["decoder_version"] == "yolov8"
    assert len(source.labels) == 80


def test_an_export_that_was_not_simplified() -> None:
    """The dynamic export with fixed sizes: target shapes, slice bounds and the anchor grid hang on `Shape` nodes."""
    model = onnx.load(corpus_model("yolov8n_dynamic"))
    cells = sum(480 * 640 // stride**2 for stride in (8, 16, 32))
    for value, shape in ((model.graph.input[0], (1, 3, 480, 640)), (model.graph.output[0], (1, 84, cells))):
        for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            dim.dim_value = size
    del model.graph.value_info[:]
    metadata = document(hint(("boxes", 0, 4), ("scores", 4, 84), strides=[8, 16, 32]))
    onnx.helper.set_model_props(model, {"edgefirst": json.dumps(metadata)})
    path = corpus_model("yolov8n_dynamic").with_name("fixed.onnx")
    onnx.save(model, path)
    result = split_model(path, "m")
    assert [(e.role, e.tensor) for e in result.split.endpoints] == [e[:2] for e in expected("yolov8n_dynamic")]
    assert [e.shape[2:] for e in result.split.endpoints] == [(60, 80), (30, 40), (15, 20)] * 2
    assert "Shape" not in {node.op_type for node in onnx.load_from_string(result.model).graph.node}
