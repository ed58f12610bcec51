"""The step that cuts: what it reads besides the export, what it writes, returns and refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from build_rules.errors import InputError
from build_rules.records.choices import InputChoice, SplitChoice
from build_rules.records.split_json import Split, load_split
from build_rules.steps import split
from tests.calibration.snapshot.test_given import write as write_given
from tests.graph.graphs import CLASSES, DETECTION, SIZE, detection, save
from tests.graph.heads import Head, head_model, hinted

NAMES = "".join(f"{number}\n" for number in range(CLASSES))


@pytest.fixture
def cut(tmp_path: Path) -> Any:
    """Run the step on a model; what is named replaces what a plain build hands to it."""

    def run(model: onnx.ModelProto | None = None, labels: str | None = NAMES, **changes: Any) -> Split:
        if model is not None or not (tmp_path / "model.onnx").exists():
            save(model or detection(), tmp_path)
        if labels is not None:
            (tmp_path / "labels.txt").write_text(labels)
        arguments: dict[str, Any] = {
            "onnx": tmp_path / "model.onnx",
            "split_onnx": tmp_path / "split.onnx",
            "split_json": tmp_path / "split.json",
            "network_name": "net",
            "choice": None,
            "labels_file": None if labels is None else str(tmp_path / "labels.txt"),
            "calibration": None,
        }
        assert split.run(**arguments | changes) == ()
        return load_split(tmp_path / "split.json")

    return run


def test_what_it_writes(cut: Any, tmp_path: Path) -> None:
    found = cut()
    assert (found.model, found.input.shape) == (tmp_path.name, (1, 3, SIZE, SIZE)), "named by its folder"
    assert [endpoint.name for endpoint in found.endpoints] == ["boxes_0", "boxes_1", "scores_0", "scores_1"]
    assert found.proof is not None
    assert found.proof.inputs == 1
    outputs = [value.name for value in onnx.load(tmp_path / "split.onnx").graph.output]
    assert outputs == [endpoint.tensor for endpoint in found.endpoints]


def test_descriptions_change_nothing(cut: Any, tmp_path: Path) -> None:
    cut()
    before = [(tmp_path / name).read_bytes() for name in ("split.onnx", "split.json")]
    model = detection(metadata={**DETECTION, "description": "another", "session_id": "7"})
    model.doc_string = "further words"
    model.metadata_props.add(key="date", value="today")
    cut(model)
    assert [(tmp_path / name).read_bytes() for name in ("split.onnx", "split.json")] == before


def test_what_the_outputs_hold_is_told_apart_from_how_that_was_found(cut: Any, tmp_path: Path) -> None:
    place = tmp_path / "endpoints.json"
    by_hint, told = cut(endpoints=place), place.read_bytes()
    model = detection()
    del model.metadata_props[:]
    by_structure = cut(model, endpoints=place)
    assert by_hint.found_by != by_structure.found_by
    assert place.read_bytes() == told
    assert load_split(place).endpoints == by_hint.endpoints
    assert load_split(place).folded == by_hint.folded


def test_anchors_are_told_with_the_outputs_in_pixels(cut: Any, tmp_path: Path) -> None:
    head = Head(anchors=3, bins=1, classes=3, roles=("boxes", "objectness", "scores"))
    whole = cut(head_model(head, hinted(head)), "a\nb\nc\n", endpoints=tmp_path / "endpoints.json")
    told = load_split(tmp_path / "endpoints.json").anchors
    assert np.asarray(told) == pytest.approx(np.asarray(whole.anchors), rel=1e-4)


def test_files_with_weights_are_returned(tmp_path: Path) -> None:
    onnx.save(detection(), tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "labels.txt").write_text(NAMES)
    found = split.run(
        tmp_path / "m.onnx", tmp_path / "s.onnx", tmp_path / "s.json", "m", None, str(tmp_path / "labels.txt"), None
    )
    assert found == (tmp_path / "weights.bin",)


def test_the_cut_is_not_proven_where_nobody_wants_it(cut: Any) -> None:
    assert cut(choice=SplitChoice(prove=False)).proof is None


@pytest.mark.parametrize(("count", "fits"), [(CLASSES - 1, False), (CLASSES, True), (CLASSES + 1, False)])
def test_as_many_labels_as_classes(cut: Any, tmp_path: Path, count: int, fits: bool) -> None:
    labels = "".join(f"{number}\n" for number in range(count))
    model = detection()
    model.metadata_props.add(key="labels", value=json.dumps(labels.split()))
    for given, place in ((labels, "labels.txt"), (None, "model.onnx")):
        if fits:
            cut(model, labels=given)
        else:
            with pytest.raises(InputError, match=rf"{place}: .*{count}.*{CLASSES}"):
                cut(model, labels=given)
            assert not (tmp_path / "split.json").exists()


def test_no_labels_at_all(cut: Any) -> None:
    with pytest.raises(InputError, match=r"model\.onnx: its metadata holds no labels"):
        cut(labels=None)


def test_labels_that_no_file_can_hold(cut: Any) -> None:
    model = detection()
    model.metadata_props.add(key="labels", value=json.dumps(["a\nb", *"cdef"]))
    with pytest.raises(InputError, match=r"model\.onnx: .*a\\nb"):
        cut(model, labels=None)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_labels_of_a_head_with_anchors(cut: Any, classes: int) -> None:
    head = Head(anchors=3, bins=1, classes=3, roles=("boxes", "objectness", "scores"))
    labels = "".join(f"{number}\n" for number in range(classes))
    model = head_model(head, hinted(head))
    if classes == 3:
        assert len(cut(model, labels).anchors or ()) == len(head.strides)
    else:
        with pytest.raises(InputError, match=rf"labels\.txt: The labels name {classes} classes.*3 anchors.*hold 3;"):
            cut(model, labels)


# The sample that helps to prove the cut.


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(2).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_a_sample_of_the_calibration_images_helps_to_prove(cut: Any, tmp_path: Path) -> None:
    proof = cut(calibration=str(picture(tmp_path / "pool/1.png").parent)).proof
    assert proof is not None
    assert (proof.max_abs_error, proof.inputs) == (0.0, 2)


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_where_there_is_no_sample_the_cut_is_proven_without(cut: Any, tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    assert cut(calibration=str(tmp_path / place)).proof.inputs == 1


@pytest.mark.parametrize(
    ("named", "inputs"), [("given.safetensors", 2), ("other.safetensors", 1), ("../given.safetensors", 1), (3, 1)]
)
def test_a_sample_of_the_snapshot_that_the_metadata_name(cut: Any, tmp_path: Path, named: Any, inputs: int) -> None:
    """A name that leads nowhere is told by the step that calibrates."""
    (tmp_path / "snapshots").mkdir()
    write_given(tmp_path / "snapshots/given.safetensors", None)
    head = Head(image=(64, 48), strides=(8, 16))
    model = head_model(head, {**hinted(head), "calibration": named})
    model.graph.input[0].name = "images"  # as the snapshot calls it
    for node in model.graph.node:
        node.input[:] = ["images" if name == "image" else name for name in node.input]
    labels = "".join(f"{number}\n" for number in range(head.classes))
    assert cut(model, labels, named_in=str(tmp_path / "snapshots")).proof.inputs == inputs
    assert cut(model, labels).proof.inputs == 1


# What is said of the input.


def test_what_the_user_says_of_the_pixels_is_recorded(cut: Any) -> None:
    plain = cut().preprocessing
    said = cut(pixels=InputChoice(color="bgr", mean=(1, 2, 3), std=(4, 5, 6))).preprocessing
    assert (plain.color, said.color) == ("rgb", "bgr")
    assert replace(said, color="rgb") != plain


def test_metadata_of_the_repository_are_merged_over_those_of_the_export(cut: Any) -> None:
    assert cut().preprocessing.resize == "letterbox"
    assert cut(metadata=json.dumps({"validation": {"normalization": "signed"}})).preprocessing != cut().preprocessing


def test_warnings_are_told(cut: Any, capsys: pytest.CaptureFixture[str]) -> None:
    cut(detection(metadata={**DETECTION, "split_hints": [{"type": "of tomorrow"}]}))
    assert "   warning: " in capsys.readouterr().out


def test_what_is_wrong_with_the_metadata_is_told_with_the_model(cut: Any) -> None:
    with pytest.raises(InputError, match=r"model\.onnx: .*normalization"):
        cut(metadata=json.dumps({"validation": {"normalization": "odd"}}))


def test_anchors_that_the_graph_contradicts_are_told_before_anything_is_compiled(cut: Any) -> None:
    head = Head(anchors=3, bins=1, classes=3, roles=("boxes", "objectness", "scores"))
    model = head_model(head, hinted(head))
    contradicting = json.dumps({"model": {"anchors": [[[1, 2], [3, 4], [5, 6]]] * len(head.strides)}})
    with pytest.raises(InputError, match=r"model\.onnx: the metadata says the anchors .*but the graph decodes with"):
        cut(model, "a\nb\nc\n", metadata=contradicting)
