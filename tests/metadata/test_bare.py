"""The document of an export without EdgeFirst metadata beside what EdgeFirst's own decoder infers for the same file."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import edgefirst.decoder
import onnx
import pytest

from build_rules.metadata.bare import complete_bare
from build_rules.metadata.compiled_document import compile_document
from build_rules.metadata.serialize import document_bytes
from build_rules.records.split_json import Preprocessing, Split
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.labels import labels_text
from build_rules.trainer.preprocessing import read_preprocessing
from build_rules.trainer.read_document import parse_document
from tests.metadata.corpus import CORPUS, TRUTH, split_of
from tests.metadata.synthetic import Head, tensors_of
from tests.metadata.test_corpus import FACTS
from tests.metadata.test_corpus import tensors_of as corpus_tensors
from tests.shared import needs_shared

Signals = list[Any]

# What no name tells: the files are the exports of Ultralytics with the trainer's document and labels taken out.
EXPORTS = [
    *("yolov8n_bare", "yolo11n_bare", "yolo26n_bare"),
    *("yolov8n", "yolov8n_320", "yolov8n_nc64", "yolov8n_ul83", "yolov8n-seg", "yolo11n-seg"),
    *("yolo26n", "yolo26n-seg", "yolo26n_e2e"),
]
every_export = pytest.mark.parametrize("name", EXPORTS if TRUTH else [pytest.param("", marks=needs_shared)])

SAME = ("schema_version", "decoder_version", "nms", "nms_multi_label", "name", "description", "validation", "model")
"""Members that are as in what the decoder infers: there with the same value, or missing there and here."""


@cache
def exported(name: str) -> tuple[dict[str, str], Signals, Signals]:
    """The properties of a bare export, its inputs and its outputs."""
    with zipfile.ZipFile(CORPUS / f"{name}.onnxz") as archive:
        model = onnx.load_from_string(archive.read("model.onnx"))
    properties = {entry.key: entry.value for entry in model.metadata_props if entry.key not in ("edgefirst", "labels")}
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [_signal(value) for value in model.graph.input if value.name not in stored]
    return properties, inputs, [_signal(value) for value in model.graph.output]


def _signal(value: onnx.ValueInfoProto) -> tuple[str, list[int | str], str]:
    return (value.name, [dim.dim_value for dim in value.type.tensor_type.shape.dim], "float32")


def ours(properties: dict[str, str], split: Split, tensors: Any = None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The document that the build writes, and the labels."""
    source = parse_document(properties.items())
    compiled = compile_document(
        complete_bare(source, split), split, tensors or corpus_tensors(split), FACTS, split.folded
    )
    assert not any("nms" in warning or "decoder_version" in warning for warning in compiled.warnings)
    return compiled.document, source.labels


def axes(section: dict[str, Any]) -> dict[str, int]:
    """The sizes of a `dshape`, whether it is a list of pairs or of one-key objects."""
    return dict(pair.popitem() if isinstance(pair, dict) else pair for pair in map(_copied, section["dshape"]))


def _copied(pair: Any) -> Any:
    return dict(pair) if isinstance(pair, dict) else tuple(pair)


def compare(document: dict[str, Any], labels: tuple[str, ...], schema: dict[str, Any], names: list[str]) -> None:
    selects = any(output["type"] == "detections" for output in schema["outputs"])
    for member in SAME:
        if member == "nms" and selects:
            # The graph selected its boxes; ours was cut before, and no reader may be left to guess.
            assert (document["nms"], schema.get("nms")) == ("class_aware", None)
            continue
        assert (member in document, document.get(member)) == (member in schema, schema.get(member)), member
    assert document["input"]["cameraadaptor"] == schema["input"]["cameraadaptor"]
    assert axes(document["input"]) == axes(schema["input"])
    assert list(labels) == names
    # Members that only one side has are those of which docs/metadata.md says why.
    assert document.keys() - schema.keys() <= {"hailo", "nms"}
    assert schema.keys() - document.keys() == set()
    assert document["input"].keys() == schema["input"].keys()


@every_export
def test_member_by_member(name: str) -> None:
    properties, inputs, outputs = exported(name)
    document, labels = ours(properties, split_of(name))
    inferred = edgefirst.decoder.infer_ultralytics_schema("onnx", inputs, outputs, properties)
    compare(document, labels, inferred.schema, inferred.labels)


@every_export
def test_pixels_are_made_as_for_the_original(name: str, tmp_path: Path) -> None:
    """A reader of the compiled file takes the same pixels, task and labels as one of the ONNX."""
    properties, inputs, outputs = exported(name)
    document, labels = ours(properties, split_of(name))
    path = tmp_path / "model.hef"
    path.write_bytes(b"\x01HEF" + bytes(60))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("edgefirst.json", document_bytes(document))
        archive.writestr("labels.txt", labels_text(labels).encode("utf-8"))
    (tmp_path / "model.onnx").write_bytes(b"")
    signals = edgefirst.decoder.ModelSignals("onnx", inputs, outputs, properties)
    original = edgefirst.decoder.resolve_model_config(tmp_path / "model.onnx", signals)
    compiled = edgefirst.decoder.resolve_model_config(path)
    assert compiled.preprocessing == original.preprocessing
    assert (compiled.task, compiled.labels) == (original.task, original.labels)
    pixels = read_preprocessing(TrainerDocument(), 3)
    assert pixels.resize == original.preprocessing.fit
    assert original.preprocessing.normalization == pixels.normalization.in_pixels()


def test_the_manual_names_every_member_that_is_compared() -> None:
    page = (Path(__file__).parents[2] / "docs/metadata.md").read_text(encoding="utf-8")
    rows = [row.split("|")[1] for row in page.split("## An export without")[1].splitlines() if row.startswith("|")]
    named = {word.split(".")[0] for row in rows for word in row.replace(",", " ").replace("`", " ").split()}
    assert {*SAME, "input", "outputs", "hailo", "labels"} - named == set()


NAMES = repr({number: f"class {number}" for number in range(3)})
BASE = {
    "description": "Ultralytics YOLOv8n model",
    "author": "Ultralytics",
    "version": "8.3.0",
    "task": "detect",
    "head": "Detect",
    "stride": "32",
    "batch": "1",
    "imgsz": "[640, 640]",
    "names": NAMES,
    "args": "{'nms': False}",
    "channels": "3",
    "end2end": "False",
}
VARIANTS: dict[str, dict[str, str | None]] = {
    "as it is": {},
    **{f"without {key}": {key: None} for key in BASE if key not in ("names", "task")},
    "YOLOv5u": {"description": "Ultralytics YOLOv5nu model", "version": "8.0.0"},
    "YOLOv9": {"description": "Ultralytics YOLOv9c model"},
    "YOLO12": {"description": "Ultralytics YOLO12n model"},
    "YOLO26": {"description": "Ultralytics YOLO26n model", "version": "8.4.190"},
    "own description": {"description": "parking lots"},
    "small letters": {"author": "ultralytics"},
    "another version": {"version": "x"},
    "another imgsz": {"imgsz": "[320, 320]"},
    "class agnostic arguments": {"args": "{'agnostic_nms': True}"},
    "JSON": {"names": json.dumps({str(number): f"class {number}" for number in range(3)})},
    "backwards": {"names": "{2: 'c', 1: 'b', 0: 'a'}"},
    "quotes": {"names": repr({0: "driver's seat", 1: 'a "b"', 2: "é"})},
}


def varied(change: dict[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in {**BASE, **change}.items() if value is not None}


def signals_of(head: Head) -> tuple[Signals, Signals]:
    height, width = head.size
    cells = sum((height // stride) * (width // stride) for stride in head.strides)
    outputs = [("output0", [1, 4 + head.nc + head.masks, cells], "float32")]
    if head.masks:
        outputs.append(("output1", [1, head.masks, height // 4, width // 4], "float32"))
    return [("images", [1, 3, height, width], "float32")], outputs


@pytest.mark.parametrize("change", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("head", [Head(nc=3), Head("direct", nc=3, size=(384, 640)), Head(nc=3, masks=32)])
def test_variants_of_the_properties(change: dict[str, str | None], head: Head) -> None:
    properties = varied({**change, "task": "segment" if head.masks else "detect"})
    inferred = edgefirst.decoder.infer_ultralytics_schema("onnx", *signals_of(head), properties)
    document, labels = ours(properties, head.split, tensors_of(head))
    compare(document, labels, inferred.schema, inferred.labels)


REFUSED: dict[str, tuple[dict[str, str | None], str | None]] = {
    "pose": ({"task": "pose"}, "yolov8"),
    "obb": ({"task": "obb"}, "yolov8"),
    "not of Ultralytics": ({"author": "Somebody"}, None),
    "names missing": ({"names": None}, "yolov8"),
    "names and author missing": ({"names": None, "author": None}, None),
    "a list": ({"names": "['a', 'b', 'c']"}, "yolov8"),
    "counted from one": ({"names": "{1: 'a', 2: 'b', 3: 'c'}"}, "yolov8"),
    "end2end before the selection": ({"end2end": "True"}, "yolo26"),
}


@pytest.mark.parametrize(("change", "version"), REFUSED.values(), ids=REFUSED)
def test_what_the_decoder_infers_nothing_for(change: dict[str, str | None], version: str | None) -> None:
    head, properties = Head(nc=3), varied(change)
    with pytest.raises(ValueError):
        edgefirst.decoder.infer_ultralytics_schema("onnx", *signals_of(head), properties)
    document, _ = ours(properties, head.split, tensors_of(head))
    assert document.get("decoder_version") == version
    assert document["nms"] == "class_aware"
    assert document["input"]["cameraadaptor"] == "rgb"


@pytest.mark.parametrize(("color", "written"), [("grey", "grey"), ("yuyv", "yuyv"), (None, None)])
def test_colours_are_those_that_were_calibrated_in(color: str | None, written: str | None) -> None:
    split = replace(Head(nc=3).split, preprocessing=Preprocessing(color=color))
    said = complete_bare(TrainerDocument(ultralytics=True), split)
    assert said.section("input").get("cameraadaptor") == written


def test_what_the_table_of_the_model_says_counts() -> None:
    split = Head(nc=3).split
    said = {"nms": "class_agnostic", "decoder_version": "yolo11", "input": {"color_adaptor": "bgr"}, "name": "m"}
    bare = TrainerDocument(said, ultralytics=True, end2end=True)
    assert complete_bare(bare, split) == bare


def test_nothing_is_inferred_beside_metadata() -> None:
    trainer = TrainerDocument({"schema_version": 2}, key="edgefirst", ultralytics=True)
    assert complete_bare(trainer, Head(nc=3).split) is trainer


def test_an_anchor_head_has_no_decoder_version() -> None:
    split = Head(nc=3).split
    anchor = replace(split, endpoints=tuple(replace(e, role="anchor", encoding="anchor") for e in split.endpoints))
    assert complete_bare(TrainerDocument(ultralytics=True), anchor).content == {
        "nms": "class_aware",
        "input": {"cameraadaptor": "rgb"},
    }
