from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import onnx
import pytest

from build_rules.commands.describe_onnx import describe_onnx
from build_rules.errors import InputError
from build_rules.onnx_file.skeleton import read_skeleton
from build_rules.trainer.read_document import parse_document, read_document
from tests.graph.graphs import detection


def test_reads_document_and_labels() -> None:
    source = parse_document([("edgefirst", '{"schema_version": 2, "name": "m"}'), ("labels", '["a", "ü"]')])
    assert source.content == {"schema_version": 2, "name": "m"}
    assert source.labels == ("a", "ü")
    assert source.key == "edgefirst"


def test_names_of_plain_ultralytics_exports_are_labels() -> None:
    assert parse_document([("names", "{0: 'person', 1: \"driver's seat\"}")]).labels == ("person", "driver's seat")
    assert parse_document([("names", "{0: 'x'}"), ("labels", '["a"]')]).labels == ("a",)


@pytest.mark.parametrize("names", ["", "x", "{0: 'a', 2: 'b'}", "{0: 1}", "{0: __import__('os')}", "{" * 10_000])
def test_names_that_cannot_be_read_are_told_only_where_labels_are_needed(names: str) -> None:
    source = parse_document([("names", names)])
    assert source.labels == ()
    assert source.names_fault is not None
    assert source.lack_of_labels.startswith(f"`names` is there but {source.names_fault}; correct it, or write labels =")
    assert parse_document([("names", names), ("labels", '["a"]')]).names_fault is None


def test_where_nothing_names_the_classes_that_is_told() -> None:
    assert parse_document([]).lack_of_labels.startswith("its metadata holds no labels; write labels =")


@pytest.mark.parametrize(
    ("entries", "ultralytics", "end2end"),
    [
        ([], False, False),
        ([("names", "{0: 'a'}")], True, False),
        ([("names", "{0: 'a'}"), ("author", "Somebody")], False, False),
        ([("author", "Ultralytics"), ("end2end", "True")], True, True),
        ([("author", "ultralytics"), ("end2end", "False")], True, False),
    ],
)
def test_whose_export_it_is(entries: list[tuple[str, str]], ultralytics: bool, end2end: bool) -> None:
    source = parse_document(entries)
    assert (source.ultralytics, source.end2end) == (ultralytics, end2end)


def test_the_table_of_the_model_is_merged_over_the_document() -> None:
    own = {"schema_version": 2, "nms": "class_agnostic", "validation": {"iou": 0.7, "score": 0.1}, "calibration": "c"}
    over = {"nms": "class_aware", "validation": {"score": 0.2}, "calibration": {"a": {"b": 1}}, "list": [1, {"x": 2}]}
    merged = parse_document([("edgefirst", json.dumps(own))], json.dumps(over)).content
    assert merged == {
        "schema_version": 2,
        "nms": "class_aware",
        "validation": {"iou": 0.7, "score": 0.2},
        "calibration": {"a": {"b": 1}},
        "list": [1, {"x": 2}],
    }
    bare = parse_document([], json.dumps(over))
    assert (bare.content, bare.key) == (over, None)


def exported(folder: Path, **properties: str) -> Path:
    model = detection()
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, properties)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


BIG = 1 << 20


@pytest.mark.parametrize(
    "properties",
    [
        {"names": "{" + ", ".join(f"{number}: 'a'" for number in range(BIG // 8)) + "}"},
        {"names": "['" + "\\a" * BIG + "']"},
        {"names": "[" * BIG * 2},
        {"names": "{0:" * (BIG // 4)},
        {"labels": "[" * BIG * 8},
        {"labels": "[" * BIG},
        {"edgefirst": '{"schema_version": 2, "x": ' + "[" * 900 + "]" * 900 + "}"},
        {"edgefirst": json.dumps({"schema_version": 2, "x": ["a"] * 200_000})},
        {"edgefirst": json.dumps({"schema_version": 2, "x": "a" * 30 * BIG})},
        {"edgefirst": '{"schema_version": 2, "x": 1e999}'},
        {"edgefirst": '{"schema_version": 2, "x": "\\ud800"}'},
        {"edgefirst.json": '{"schema_version": ' + "9" * 10_000 + "}"},
    ],
)
def test_bombs_in_the_metadata_are_refused_quickly(tmp_path: Path, properties: dict[str, str]) -> None:
    path = exported(tmp_path, **properties)
    began = time.process_time()
    tracemalloc.start()
    try:
        fault = read_document(path).names_fault
    except InputError as error:
        fault = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fault
    assert len(fault) < 500
    assert time.process_time() - began < 10  # measured: below one second, and ten times of it while memory is traced
    assert peak < 150 << 20


def test_what_nobody_reads_may_be_large(tmp_path: Path) -> None:
    path = exported(tmp_path, **{"args": "[" * 4 * BIG, "k" * 5000: "x" * BIG, "names": "['a']"})
    tracemalloc.start()
    assert read_document(path).labels == ("a",)
    assert tracemalloc.get_traced_memory()[1] < BIG
    tracemalloc.stop()


def test_more_metadata_than_any_export_has_are_refused(tmp_path: Path) -> None:
    path = exported(tmp_path, **{f"k{number}": "x" * BIG for number in range(17)})
    with pytest.raises(InputError, match="more than 16 MiB"):
        read_document(path)


def test_a_skeleton_leaves_out_what_is_told_elsewhere(tmp_path: Path) -> None:
    path = exported(tmp_path, names="['" + "a" * 4 * BIG, stride="32")
    assert [entry.key for entry in read_skeleton(path).metadata_props] == ["stride"]
    assert "more than 1048576 bytes" in describe_onnx(path)["endpoints_not_found"]


def test_more_keys_than_any_export_has_are_refused(tmp_path: Path) -> None:
    path = exported(tmp_path, **{f"k{number}": "" for number in range(5000)})
    with pytest.raises(InputError, match="5000 keys, more than 4096"):
        read_document(path)


def test_older_exports_use_another_key() -> None:
    source = parse_document([("edgefirst.json", '{"schema_version": 2}')])
    assert (source.key, source.content) == ("edgefirst.json", {"schema_version": 2})


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("edgefirst", '{"schema_version": 2, ')], "'edgefirst' is not valid JSON"),
        ([("edgefirst", "[" * 100_000)], "not valid JSON"),
        ([("edgefirst", '{"schema_version": 2, "x": NaN}')], "NaN is not JSON"),
        ([("edgefirst", "[]")], "must be a JSON object, found an array"),
        ([("edgefirst", "{}")], "schema_version missing, which means 1"),
        ([("edgefirst", '{"schema_version": 3}')], "schema_version 3; this program reads version 2"),
        ([("edgefirst", '{"schema_version": "2"}')], "schema_version '2'"),
        ([("edgefirst", '{"schema_version": 2.0}')], "schema_version 2.0"),
        ([("edgefirst", "{}"), ("edgefirst", '{"a": 1}')], "occurs twice"),
        ([("labels", '{"0": "a"}')], "'labels' must be a JSON array of strings"),
        ([("labels", "[1]")], "'labels' must be"),
        ([("labels", "a,b")], "'labels' is not valid JSON"),
    ],
)
def test_refuses(entries: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_document(entries)
    assert message in str(caught.value)


def test_skips_the_weights(tmp_path: Path) -> None:
    entry = onnx.StringStringEntryProto(key="edgefirst", value='{"schema_version": 2}').SerializeToString()
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:  # a graph of 8 GiB, all hole: reading it would take more memory than we have
        file.write(b"\x08\x08\x3a" + b"\x80\x80\x80\x80\x20")
        file.seek(8 << 30, 1)
        file.write(bytes([14 << 3 | 2, len(entry)]) + entry)
    assert read_document(path).content == {"schema_version": 2}


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html><html>not found</html>", b"\x08\x08\x3a\xff\xff\xff\x7f", b"PK\3\4"]
)
def test_refuses_what_is_no_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.onnx: this is not a complete ONNX file"):
        read_document(path)


def test_refuses_every_truncation_it_can_see(tmp_path: Path) -> None:
    whole = detection().SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(1, len(whole), 499):
        path.write_bytes(whole[:length])
        try:
            read_document(path)
        except InputError:
            continue
        onnx.load_model_from_string(whole[:length])  # cut between two fields: still a message


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_document(tmp_path / "none.onnx")
