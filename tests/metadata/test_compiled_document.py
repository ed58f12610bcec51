"""The compiled document as a whole: what is kept, what is replaced, what is added."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import edgefirst.decoder as edgefirst_decoder
import edgefirst_hal
import pytest

from build_rules.errors import InputError
from build_rules.metadata.checks import check_document
from build_rules.metadata.compiled_document import BuildFacts, Compiled, compile_document
from build_rules.records.calibration_json import Calibrated, Geometry
from build_rules.records.normalization import Normalization
from build_rules.records.stage_report import StageReport
from build_rules.trainer.document import TrainerDocument
from tests.metadata.synthetic import Head, tensors_of

HEAD = Head(nc=3, size=(384, 640))
CALIBRATED = Calibrated(
    "calibration-local-0123456789abcdef.safetensors",
    8,
    Geometry("letterbox", (384, 640)),
    Normalization(1 / 255, (0.0,) * 3, (1.0,) * 3),
)
FACTS = BuildFacts(
    version="0.1.0",
    timestamp="2026-01-02T03:04:05+00:00",
    hw_arch="hailo8l",
    preset="balanced",
    compiler="emulator",
    compiler_version="0.1.0",
    emulated=True,
    sdk_version="3.30.0",
    calibrated=CALIBRATED,
)
SOURCE: dict[str, Any] = {
    "name": "shapes",
    "schema_version": 2,
    "host": {"studio_server": "example", "session": "t-1"},
    "dataset": {"classes": ["a", "b", "c"]},
    "input": {"cameraadaptor": "rgb", "shape": [1, 3, 384, 640], "output_channels": 3},
    "split_hints": [{"type": "quantization_split"}, {"type": "future_split"}, {"type": "quantization_split"}],
    "decoder_version": "yolo11",
    "nms": "class_aware",
    "calibration": "calibration-ds-1-0123456789abcdef.safetensors",
    "tiling": {"version": 1, "mode": "tiled", "grid": {"algorithm": "evendist"}},
    "outputs": [{"name": "output0", "type": "detection"}],
    "future": {"anything": [1, None, {"x": 2.5}]},
}


def compiled(source: dict[str, Any] = SOURCE, facts: BuildFacts = FACTS, head: Head = HEAD) -> Compiled:
    return compile_document(TrainerDocument(source), head.split, tensors_of(head), facts, head.folded)


def test_everything_else_is_kept_in_its_order() -> None:
    document = compiled().document
    expected = ["schema_version", *(key for key in SOURCE if key not in ("split_hints", "schema_version")), "hailo"]
    assert list(document) == expected
    for key in ("name", "host", "dataset", "decoder_version", "nms", "calibration", "tiling", "future"):
        assert document[key] == SOURCE[key]


def test_what_was_decided_of_the_pixels_is_said() -> None:
    """A graph that takes pixels as they are, and whose swap of red and blue is left to the camera."""
    split = HEAD.split
    split = replace(split, preprocessing=replace(split.preprocessing, word="raw", color="bgr"))
    source = {**SOURCE, "validation": {"iou": 0.5}}
    document = compile_document(TrainerDocument(source), split, tensors_of(HEAD), FACTS, HEAD.folded).document
    assert document["validation"] == {"iou": 0.5, "normalization": "raw"}
    assert document["input"]["cameraadaptor"] == "bgr"
    assert source["validation"] == {"iou": 0.5}
    assert SOURCE["input"]["cameraadaptor"] == "rgb"


@pytest.mark.parametrize("said", [True, False, None])
def test_a_cut_graph_does_not_select_its_boxes(said: bool | None) -> None:
    """Whatever the exported graph did in its tail, readers have to suppress what overlaps."""
    source = {**SOURCE, "model": {"task": "detection", "end2end": said}}
    assert compiled(source).document["model"] == {"task": "detection", "end2end": said and False}
    assert source["model"] == {"task": "detection", "end2end": said}


def test_the_source_is_left_alone() -> None:
    source = copy.deepcopy(SOURCE)
    compiled(source)
    assert source == SOURCE


def test_nothing_is_left_to_warn_about() -> None:
    assert compiled().warnings == ()
    assert check_document(compiled().document, tensors_of(HEAD), ["a", "b", "c"]) == ()


def test_input_is_the_compiled_layout() -> None:
    section = compiled().document["input"]
    assert section == {
        "cameraadaptor": "rgb",
        "shape": [1, 384, 640, 3],
        "output_channels": 3,
        "dshape": [{"batch": 1}, {"height": 384}, {"width": 640}, {"num_features": 3}],
    }


@pytest.mark.parametrize("source", [{}, {"input": None}, {"input": [1]}])
def test_an_input_that_the_trainer_left_out_is_written(source: dict[str, Any]) -> None:
    assert list(compiled(source).document["input"]) == ["shape", "dshape"]


def test_the_section_of_the_converter() -> None:
    assert compiled().document["hailo"] == {
        "version": "0.1.0",
        "timestamp": "2026-01-02T03:04:05+00:00",
        "hw_arch": "hailo8l",
        "preset": "balanced",
        "compiler": "emulator",
        "compiler_version": "0.1.0",
        "sdk_version": "3.30.0",
        "emulated": True,
        "splits_applied": ["quantization_split"],
        "calibration": "calibration-local-0123456789abcdef.safetensors",
        "calibration_geometry": {"resize": "letterbox", "input_shape": [384, 640]},
    }


def test_full_frame_is_written_when_it_is_true() -> None:
    facts = replace(FACTS, calibrated=replace(CALIBRATED, geometry=Geometry("letterbox", (384, 640), True)))
    section = compiled(facts=facts).document["hailo"]
    assert section["calibration_geometry"]["full_frame"] is True


def test_what_the_stages_report_stands_in_members_of_their_own_which_every_reader_passes_over() -> None:
    optimized = StageReport({"optimization_level": 0, "hw_arch": "no word of ours"}, ("the level was lowered.",))
    compiled_to = StageReport({"utilization": [{"compute": 31.4}], "remedies": ["a", "b"]})
    facts = replace(FACTS, stages={"optimize": optimized, "compile": compiled_to})
    document = compiled(facts=facts).document
    assert document["hailo"]["hw_arch"] == "hailo8l"
    assert document["hailo"]["build"] == {
        "optimize": dict(optimized.facts),
        "compile": dict(compiled_to.facts),
        "warnings": ["the level was lowered."],
    }
    text = json.dumps(document)
    assert edgefirst_hal.Decoder.new_from_json_str(text, 0.25, 0.7, edgefirst_hal.Nms.ClassAware)
    assert edgefirst_decoder.Decoder.new_from_json_str(text, 0.25, 0.7, edgefirst_decoder.Nms.ClassAware)


@pytest.mark.parametrize("stages", [{}, {"optimize": StageReport(), "compile": StageReport()}])
def test_a_compiler_that_reports_nothing_leaves_nothing(stages: dict[str, StageReport]) -> None:
    assert "build" not in compiled(facts=replace(FACTS, stages=stages)).document["hailo"]


def test_a_hef_from_elsewhere_has_no_calibration() -> None:
    section = compiled(facts=replace(FACTS, calibrated=None, sdk_version=None)).document
    assert not {"calibration", "calibration_geometry", "sdk_version"} & section["hailo"].keys()


def test_compiling_a_compiled_document_again_replaces_the_section() -> None:
    once = compiled().document
    again = compiled({**once, "hailo": {"stale": 1}}).document
    assert again["hailo"] == {**once["hailo"], "splits_applied": []}
    assert list(again) == list(once)


@pytest.mark.parametrize(
    ("members", "version", "nms", "warned"),
    [
        ({"decoder_version": "yolo11", "nms": "class_aware"}, "yolo11", "class_aware", []),
        ({"nms": "class_agnostic"}, None, "class_agnostic", []),
        ({}, None, "class_aware", ["nms is missing"]),
        ({"decoder_version": "yolov9", "nms": "hal"}, None, "class_aware", ["'yolov9' is unknown", "nms is 'hal'"]),
        ({"decoder_version": ["yolov8"], "nms": None}, None, "class_aware", ["['yolov8']", "nms is missing"]),
    ],
)
def test_closed_lists(members: dict[str, Any], version: str | None, nms: str, warned: list[str]) -> None:
    result = compiled(members)
    assert result.document.get("decoder_version") == version
    assert ("decoder_version" in result.document) == (version is not None)
    assert result.document["nms"] == nms
    assert len(result.warnings) == len(warned)
    assert all(word in warning for word, warning in zip(warned, result.warnings, strict=True))


def test_equal_shapes_are_warned_about_by_name() -> None:
    (warning,) = (warning for warning in compiled(head=Head(nc=64)).warnings if "shape" in warning)
    for level in range(3):
        boxes, scores = f"'synthetic/conv{40 + level}' (boxes)", f"'synthetic/conv{43 + level}' (scores)"
        assert f"{boxes} and {scores} [1, {80 >> level}, {80 >> level}, 64]" in warning
    assert "in the document's order" in warning
    assert "validator refuses" in warning


@pytest.mark.parametrize("version", [1, 3, "2", 2.0, True, None])
def test_other_schemas_are_refused(version: Any) -> None:
    with pytest.raises(InputError, match="schema_version"):
        compiled({**SOURCE, "schema_version": version})


@pytest.mark.parametrize("timestamp", ["", "yesterday", "1767323045"])
def test_timestamps_are_iso_8601(timestamp: str) -> None:
    with pytest.raises(InputError, match="ISO 8601"):
        compiled(facts=replace(FACTS, timestamp=timestamp))


def test_a_bad_tiling_is_refused() -> None:
    with pytest.raises(InputError, match=r"would not be readable: tiling has version 1\.0; only the integer 1"):
        compiled({**SOURCE, "tiling": {"version": 1.0, "mode": "tiled"}})


def test_a_document_that_no_reader_could_use_is_refused() -> None:
    head = replace(HEAD)
    split = replace(head.split, endpoints=tuple(e for e in head.split.endpoints if e.name != "scores_2"))
    tensors = tuple(t for t in tensors_of(head) if "/head/scores.2/Conv" not in t.original_names)
    with pytest.raises(InputError, match=r"scores have strides 8, 16, boxes 8, 16, 32"):
        compile_document(TrainerDocument(SOURCE), split, tensors, FACTS, {"scores_0", "scores_1"})
