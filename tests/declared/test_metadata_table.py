"""`[metadata]` of `model.toml`: what is merged over the document, and what is decided elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tomli

from build_rules.declared.metadata_table import DESCRIPTIVE, MAX_DEPTH, MetadataTable, metadata_beside, read_metadata
from build_rules.declared.model import load_models
from build_rules.declared.settings import Settings
from build_rules.errors import InputError
from build_rules.graph import split_model
from build_rules.records.choices import AUTOMATIC
from build_rules.toml_table import Table
from build_rules.trainer.preprocessing import read_preprocessing
from build_rules.trainer.read_document import read_document
from tests.graph.graphs import detection, save


def read(text: str) -> MetadataTable | None:
    table = Table(tomli.loads(text), "model.toml")
    found = read_metadata(table)
    table.close()
    return found


def test_without_the_table_there_is_nothing() -> None:
    assert read("") is None
    assert read("[metadata]") == MetadataTable("{}", None)


def test_anything_that_json_holds_may_stand_in_it() -> None:
    found = read(
        """
        [metadata]
        name = "m"
        nms = "class_agnostic"
        nms_multi_label = true
        anything = [1, 2.5, "ü", { deep = [[], {}] }]
        [metadata.validation]
        score = 0.25
        normalization = "signed"
        preprocessing = "stretch"
        [metadata.input]
        cameraadaptor = "bgr"
        [metadata.dataset]
        name = "d"
        """
    )
    assert found is not None
    assert json.loads(found.whole) == {
        "name": "m",
        "nms": "class_agnostic",
        "nms_multi_label": True,
        "anything": [1, 2.5, "ü", {"deep": [[], {}]}],
        "validation": {"score": 0.25, "normalization": "signed", "preprocessing": "stretch"},
        "input": {"cameraadaptor": "bgr"},
        "dataset": {"name": "d"},
    }


def test_what_only_describes_does_not_cut_the_graph_again() -> None:
    describing = (
        'name = "m"\ndescription = "d"\nnms = "class_aware"\ndecoder_version = "yolov8"\ndataset = { name = "d" }'
    )
    found = read(f"[metadata]\n{describing}")
    assert found is not None
    assert found.cut is None
    found = read(f"[metadata]\n{describing}\nunknown = 1\n[metadata.validation]\nscore = 1")
    assert found is not None
    assert json.loads(found.cut or "") == {"unknown": 1, "validation": {"score": 1}}


def test_the_order_of_lines_means_nothing() -> None:
    assert read("[metadata]\na = 1\nb = { c = 1, d = 2 }") == read("[metadata]\nb = { d = 2, c = 1 }\na = 1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metadata = 1", "metadata = 1 is not possible; expected a table, headed [metadata]"),
        ("[[metadata]]", "expected a table, headed [metadata]"),
        ("[metadata]\nschema_version = 2", "schema_version = 2 is not possible; expected no schema_version here"),
        ("[metadata]\noutputs = []", "the compiled file decides them"),
        ("[metadata]\nsplit_hints = []", "where to cut is decided by [[split.hint]]"),
        ("[metadata]\nname = 'x'\nembed = 'sealed'", "expected no embed here: it stands above the first table"),
        ("[metadata]\ncalibration_count = 3", "expected no calibration_count here"),
        ("[metadata.hailo]\nx = 1", "the build writes what it did"),
        ("[metadata]\nlabels = ['a']", 'labels = "labels.txt", above every table, names the file that decides them'),
        ("[metadata.input]\nshape = [1, 3, 4, 4]", "the network's input decides it"),
        ("[metadata.input]\ndshape = []", "the network's input decides it"),
        (
            "[metadata]\nnms = 'auto'",
            'nms = \'auto\' is not possible; expected one of: "class_agnostic", "class_aware"',
        ),
        ("[metadata]\nnms = []", "nms = [] is not possible; expected one of"),
        ("[metadata]\nnms = { a = 1 }", "expected one of"),
        ("[metadata]\ndecoder_version = 'yolo12'", 'expected one of: "yolov5", "yolov8"'),
        ("[metadata]\nnms_multi_label = 'yes'", "expected true or false"),
        (
            "[metadata]\nvalidation = 1",
            "validation = 1 is not possible; expected a table, headed [metadata.validation]",
        ),
        ("[metadata.validation]\nnormalization = 'caffe'", "[metadata], [validation]: normalization = 'caffe'"),
        ("[metadata.validation]\npreprocessing = 'crop'", 'expected one of: "letterbox", "stretch"'),
        ("[metadata.input]\ncameraadaptor = 'cmyk'", 'expected one of: "rgb", "bgr"'),
        ("[metadata]\nmade = 2026-01-02", "expected text in quotes: the document is JSON, which has no dates"),
        ("[metadata]\nmade = [[2026-01-02T03:04:05Z]]", "which has no dates and times"),
        ("[metadata]\nmade = [{ at = 03:04:05 }]", "which has no dates and times"),
        (
            "[metadata.validation]\nscore = nan",
            "[validation]: score = nan is not possible; expected a number that JSON",
        ),
        ("[metadata]\nx = [-inf]", "neither nan nor inf"),
        ("[metadata]\nx = 99999999999999999999", "a number of at most 64 bits"),
        (f"[metadata]\nx = {'[' * 40}{']' * 40}", "no deeper than 24"),
        (f"[metadata.{'.'.join('x' * 30)}]\ny = 1", "no deeper than 24"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("model.toml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def nested(kind: str, depth: int) -> str:
    """The table with a value that is `depth` tables, or arrays, inside each other."""
    if kind == "array":
        return f"[metadata]\nx = {'[' * depth}{']' * depth}"
    return f"[metadata.{'.'.join('x' * depth)}]" + ("\ny = 1" if kind == "table" else "")


@pytest.mark.parametrize("kind", ["table", "empty table", "array"])
@pytest.mark.parametrize("beyond", [0, 1])
def test_how_deep_it_may_be(kind: str, beyond: int) -> None:
    text = nested(kind, MAX_DEPTH - (kind == "table") + beyond)
    if not beyond:
        assert read(text) is not None
        return
    with pytest.raises(InputError, match=rf"inside each other no deeper than {MAX_DEPTH}"):
        read(text)


def model_folder(root: Path, text: str) -> Path:
    folder = root / "m"
    (folder / "calibration").mkdir(parents=True)
    (folder / "m.onnx").write_bytes(b"")
    (folder / "model.toml").write_text(text)
    return folder


def test_a_model_has_its_table(tmp_path: Path) -> None:
    model_folder(tmp_path, '[metadata]\nname = "ü"')
    (model,) = load_models(tmp_path, Settings())
    assert model.metadata == MetadataTable('{"name": "ü"}', None)


def test_what_lies_beside_a_file_counts_for_that_file(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, 'onnx = "m.onnx"\n[metadata]\nname = "m"')
    assert metadata_beside(folder / "m.onnx") == '{"name": "m"}'
    assert metadata_beside(folder / "other.onnx") is None
    assert metadata_beside(tmp_path / "m.onnx") is None


def test_nothing_of_a_cut_goes_by_what_only_describes(tmp_path: Path) -> None:
    path = save(detection(), tmp_path)
    own = read_document(path)
    assert own.key is not None
    other = replace(own, content={**own.content, **{name: f"another {name}" for name in DESCRIPTIVE}})
    first, second = (
        split_model(path, "m", tmp_path / f"{n}.onnx", AUTOMATIC, trainer=d) for n, d in ((1, own), (2, other))
    )
    assert first == second
    assert (tmp_path / "1.onnx").read_bytes() == (tmp_path / "2.onnx").read_bytes()
    assert read_preprocessing(own, 3) == read_preprocessing(other, 3)
