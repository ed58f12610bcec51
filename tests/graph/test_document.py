from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from build_rules.errors import InputError
from build_rules.graph.document import parse_document, read_document
from tests.graph.graphs import detection


def test_reads_document_and_labels() -> None:
    source = parse_document([("edgefirst", '{"schema_version": 2, "name": "m"}'), ("labels", '["a", "ü"]')])
    assert source.document == {"schema_version": 2, "name": "m"}
    assert source.labels == ("a", "ü")
    assert source.key == "edgefirst"


def test_names_of_plain_ultralytics_exports_are_labels() -> None:
    assert parse_document([("names", "{0: 'person', 1: \"driver's seat\"}")]).labels == ("person", "driver's seat")
    assert parse_document([("names", "{0: 'x'}"), ("labels", '["a"]')]).labels == ("a",)


@pytest.mark.parametrize(
    "names", ["", "x", "{1: 'a'}", "{0: 'a', 2: 'b'}", "{0: 1}", "['a']", "{0: __import__('os')}", "{" * 10_000]
)
def test_other_names_are_none(names: str) -> None:
    assert parse_document([("names", names)]).labels == ()


def test_older_exports_use_another_key() -> None:
    source = parse_document([("edgefirst.json", '{"schema_version": 2}')])
    assert (source.key, source.document) == ("edgefirst.json", {"schema_version": 2})


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
    assert read_document(path).document == {"schema_version": 2}


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
