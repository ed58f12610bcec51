"""The room against exports of real training code: exactly the endpoints that the corpus' manifest says."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import pytest
import tomli

from build_rules.declared.split_table import read_split
from build_rules.errors import InputError
from build_rules.graph import split_model
from build_rules.records.split_json import Proof, Split
from build_rules.toml_table import Table
from build_rules.trainer.read_document import read_document
from tests.graph.graphs import cut_of, document, hint, save, split
from tests.shared import corpus_model, corpus_truth, needs_shared

pytestmark = needs_shared

# With hints, or with `outputs[]` that say what each map is.
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
BARE = ["yolov8n_bare", "yolo11n_bare", "yolo26n_bare", "yolo26n_e2e"]
"""Without hints: exported without metadata, or end to end, which has none."""
ATTENTION = {"yolo11": 1, "yolo26": 2}
"""Blocks: C2PSA has one, and YOLO26 another in its last C3k2."""


def expected(name: str) -> list[tuple[Any, ...]]:
    """(role, tensor, node, shape) in our order: roles as listed, prototypes last, fine scales first."""
    truth = corpus_truth()[name]
    roles = list(dict.fromkeys(entry["role"] for entry in truth["endpoints"]))
    entries = sorted(truth["endpoints"], key=lambda entry: (roles.index(entry["role"]), entry["stride"]))
    return [(e["role"], e["tensor"], e["node"], tuple(e["shape"])) for e in entries + truth["proto"]]


def check(name: str, found: Split) -> None:
    """Compare everything that the walk tells with the truth."""
    endpoints = found.endpoints
    assert [(e.role, e.tensor, e.node, e.shape) for e in endpoints] == expected(name)
    strides = {entry["tensor"]: entry["stride"] for entry in corpus_truth()[name]["endpoints"]}
    assert [e.stride for e in endpoints] == [strides.get(e.tensor, 4) for e in endpoints]
    assert found.proof == Proof(max_abs_error=0.0, inputs=1)
    assert len(found.attention) == ATTENTION.get(name[:6], 0)
    encodings = {e.encoding for e in endpoints if e.role == "boxes"}
    assert encodings <= ({"direct"} if name.startswith("yolo26") else {"dfl"})
    assert {e.activation for e in endpoints if e.role == "scores"} <= {"sigmoid"}
    assert {e.activation for e in endpoints if e.role not in ("scores", "anchor")} <= {None}


def without_metadata(name: str, folder: Path) -> Path:
    model = onnx.load(corpus_model(name))
    del model.metadata_props[:]
    return save(model, folder)


@pytest.fixture(scope="module")
def by_metadata(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Split, Path]]:
    """Cut a model as it was exported, once: what was found, and the cut model."""

    @cache
    def cut(name: str) -> tuple[Split, Path]:
        output = tmp_path_factory.mktemp("cut") / "cut.onnx"
        return split_model(corpus_model(name), name, output).split, output

    return cut


@pytest.fixture(scope="module")
def by_structure(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Split]:
    """Cut a model without its metadata, once."""
    return cache(lambda name: split(without_metadata(name, tmp_path_factory.mktemp("bare"))))


@pytest.mark.parametrize("name", MODELS)
def test_finds_exactly_the_true_endpoints(name: str, by_metadata: Callable[[str], tuple[Split, Path]]) -> None:
    found, output = by_metadata(name)
    check(name, found)
    assert found.found_by == ("structure" if name == "modelpack_det_seg" else "hints")
    onnx.checker.check_model(output, full_check=True)
    assert [value.name for value in onnx.load(output).graph.output] == [e.tensor for e in found.endpoints]


@pytest.mark.parametrize("name", [*(n for n in MODELS if not n.startswith("modelpack")), *BARE])
def test_finds_them_without_hints_too(name: str, by_structure: Callable[[str], Split]) -> None:
    found = by_structure(name)
    check(name, found)
    assert found.found_by == "structure"


@pytest.mark.parametrize("name", [n for n in MODELS if not n.startswith("modelpack")])
def test_writes_the_hints_that_the_trainer_wrote(
    name: str, by_metadata: Callable[[str], tuple[Split, Path]], by_structure: Callable[[str], Split]
) -> None:
    given, found = by_metadata(name)[0].hints, by_structure(name).hints
    boundaries = [[(b.name, b.channels, b.activation) for b in hint.boundaries] for hint in given]
    own = [[(b.name, b.channels, b.activation) for b in hint.boundaries] for hint in found]
    if name == "yolov5n_anchor":  # the trainer says nothing of the sigmoid of the boxes
        own = [[(n, c, None if n == "boxes" else a) for n, c, a in hint] for hint in own]
    assert own == boundaries
    assert [(h.target, h.strides, h.anchors_per_cell) for h in found] == [
        (h.target, h.strides, h.anchors_per_cell) for h in given
    ]


def test_an_end_to_end_graph_has_no_hints(tmp_path: Path) -> None:
    result = split_model(corpus_model("yolo26n_e2e"), "m", tmp_path / "cut.onnx")
    check("yolo26n_e2e", result.split)
    assert (result.split.hints, result.split.found_by, result.warnings) == ((), "structure", ())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad/boundary_gap", "boundary 'scores' of the EdgeFirst metadata leaves a gap"),
        ("bad/boundary_overlap", "boundary 'scores' of the EdgeFirst metadata overlaps"),
        ("bad/end2end_with_hints", "model.end2end"),
        ("bad/malformed_json", "'edgefirst' is not valid JSON"),
        ("bad/schema_version_3", "schema_version 3"),
        ("bad/strides_wrong", "the split hint says strides [4, 8, 16], but the boundary 'boxes'"),
        ("bad/target_missing", "names the target 'output9', but the graph's outputs are 'output0'"),
        ("yolov8n-cls", "its outputs are 'output0' [1, 1000], one value for each class of the whole image"),
    ],
)
def test_refuses(name: str, message: str, tmp_path: Path) -> None:
    path = corpus_model(name)
    with pytest.raises(InputError) as caught:
        split_model(path, name, tmp_path / "cut.onnx")
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("bad/no_split_hints", "the EdgeFirst metadata has no split_hints; the graph itself tells where to cut"),
        ("bad/unknown_split_type", "has no split_hints of a known type (only 'tensor_split'); the graph itself tells"),
    ],
)
def test_metadata_without_usable_hints_is_told(name: str, warning: str, tmp_path: Path) -> None:
    result = split_model(corpus_model(name), "m", tmp_path / "cut.onnx")
    check("yolov8n", result.split)
    assert len(result.warnings) == 1
    assert warning in result.warnings[0]
    assert "boxes [0, 4), scores [4, 84)" in result.warnings[0]


def test_a_bare_modelpack_is_asked_about(tmp_path: Path) -> None:
    """Nothing in the graph says what its raw maps are; the error brings the tables that do, but for the roles."""
    path = without_metadata("modelpack_det_seg", tmp_path)
    with pytest.raises(InputError, match=r"what the output 'output_0'.*cannot be told") as caught:
        split(path)
    assert caught.value.paste.count("[[split.endpoint]]") == 2
    text = caught.value.paste.replace('role = "?"', 'role = "anchor"', 1).replace('role = "?"', 'role = "segmentation"')
    choice = read_split(Table({"split": tomli.loads(text)["split"]}, "model.toml"))
    assert [e.tensor for e in split(path, choice=choice).endpoints] == [e[1] for e in expected("modelpack_det_seg")]


def test_metadata_alone_changes_nothing(tmp_path: Path) -> None:
    """Labels belong to a later step: a model that differs only there is cut to the same bytes."""
    first, second = (split_model(corpus_model(n), "m", tmp_path / n[-2:]).split for n in ("yolov8n", "bad/labels_79"))
    assert first == second
    assert (tmp_path / "8n").read_bytes() == (tmp_path / "79").read_bytes()
    assert len(read_document(corpus_model("bad/labels_79")).labels) == 79


def test_reads_the_document() -> None:
    source = read_document(corpus_model("yolov8n"))
    assert source.key == "edgefirst"
    assert source.content["decoder_version"] == "yolov8"
    assert len(source.labels) == 80


def test_an_export_that_was_not_simplified(tmp_path: Path) -> None:
    """The dynamic export with fixed sizes: target shapes, slice bounds and the anchor grid hang on `Shape` nodes."""
    model = onnx.load(corpus_model("yolov8n_dynamic"))
    cells = sum(480 * 640 // stride**2 for stride in (8, 16, 32))
    for value, shape in ((model.graph.input[0], (1, 3, 480, 640)), (model.graph.output[0], (1, 84, cells))):
        for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            dim.dim_value = size
    del model.graph.value_info[:]
    metadata = document(hint(("boxes", 0, 4), ("scores", 4, 84), strides=[8, 16, 32]))
    onnx.helper.set_model_props(model, {"edgefirst": json.dumps(metadata)})
    path = save(model, tmp_path)
    found = split(path)
    assert [(e.role, e.tensor) for e in found.endpoints] == [e[:2] for e in expected("yolov8n_dynamic")]
    assert [e.shape[2:] for e in found.endpoints] == [(60, 80), (30, 40), (15, 20)] * 2
    assert "Shape" not in {node.op_type for node in cut_of(path).graph.node}
