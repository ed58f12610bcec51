"""Fields are found where protobuf's own parser finds them, and what is no protobuf is refused, whatever its bytes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build_rules.errors import InputError
from build_rules.onnx_file import field_reader
from build_rules.onnx_file.field_reader import LENGTH, Field, FieldReader, encode_field
from build_rules.onnx_file.onnx_files import OnnxFiles
from build_rules.varint import encode_varint
from tests.graph.graphs import detection

VARINT, FIXED64, FIXED32 = 0, 1, 5
VARINT_BYTES = 10
WINDOWS = st.sampled_from([VARINT_BYTES, 37, 1 << 16])
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
per_example = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

tensors = st.builds(
    onnx.TensorProto,
    name=st.text(max_size=8),
    dims=st.lists(INT64, max_size=4),
    data_type=st.integers(-(1 << 31), (1 << 31) - 1),
    raw_data=st.binary(max_size=40),
    float_data=st.lists(st.floats(width=32, allow_nan=False), max_size=4),
    double_data=st.lists(st.floats(allow_nan=False), max_size=4),
    int64_data=st.lists(INT64, max_size=4),
    external_data=st.lists(st.builds(onnx.StringStringEntryProto, key=st.text(), value=st.text()), max_size=2),
)
attributes = st.builds(
    onnx.AttributeProto, name=st.text(max_size=8), f=st.floats(width=32, allow_nan=False), i=INT64, t=tensors
)
nodes = st.builds(
    onnx.NodeProto,
    input=st.lists(st.text(max_size=8), max_size=3),
    op_type=st.text(max_size=300),
    attribute=st.lists(attributes, max_size=2),
)
graphs = st.builds(onnx.GraphProto, node=st.lists(nodes, max_size=3), initializer=st.lists(tensors, max_size=3))
models = st.builds(onnx.ModelProto, ir_version=INT64, producer_name=st.text(), graph=graphs)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def walk(path: Path, content: bytes) -> list[Field]:
    path.write_bytes(content)
    with OnnxFiles(path) as files:
        reader = FieldReader(files)
        return list(reader.fields())


def check_walk(reader: FieldReader, message: Message, start: int, end: int) -> None:
    """Compare the walk over [start, end) with the parsed message, messages inside included."""
    fields = list(reader.fields(start, end))
    assert [start, *(field.end for field in fields)] == [*(field.start for field in fields), end]
    merged = type(message)()
    seen: Counter[int] = Counter()
    for field in fields:
        merged.MergeFromString(reader.read(field.start, field.end))
        told = message.DESCRIPTOR.fields_by_number[field.number]
        value: Any = getattr(message, told.name)
        if hasattr(value, "append"):
            value = value[seen[field.number]]
            seen[field.number] += 1
        if isinstance(value, Message):
            check_walk(reader, value, field.value, field.end)
        elif field.wire == VARINT:
            assert reader.varint(field) == value % (1 << 64)
        elif isinstance(value, (str, bytes)):
            assert reader.read(field.value, field.end) == (value.encode() if isinstance(value, str) else value)
    assert merged == message


@per_example
@given(message=st.one_of(models, tensors, nodes).filter(lambda message: message.ByteSize()), window=WINDOWS)
def test_the_walk_agrees_with_the_parsed_message(path: Path, message: Message, window: int) -> None:
    path.write_bytes(message.SerializeToString())
    with pytest.MonkeyPatch.context() as patch, OnnxFiles(path) as files:
        reader = FieldReader(files)
        patch.setattr(field_reader, "_WINDOW", window)
        check_walk(reader, message, 0, reader.size)


def test_the_walk_agrees_with_a_detector(path: Path) -> None:
    model = detection()
    path.write_bytes(model.SerializeToString())
    with OnnxFiles(path) as files:
        reader = FieldReader(files)
        check_walk(reader, model, 0, reader.size)


@per_example
@given(message=models.filter(lambda message: message.ByteSize()), data=st.data())
def test_a_cut_off_message_ends_at_a_field_or_is_refused(path: Path, message: Message, data: st.DataObject) -> None:
    content = message.SerializeToString()
    whole = walk(path, content)
    kept = data.draw(st.integers(1, len(content)))
    if kept in [field.end for field in whole]:
        assert walk(path, content[:kept]) == [field for field in whole if field.end <= kept]
    else:
        with pytest.raises(InputError, match="not a complete ONNX file"):
            walk(path, content[:kept])


@per_example
@given(content=st.binary(min_size=1, max_size=60))
def test_any_bytes_are_fields_or_are_refused(path: Path, content: bytes) -> None:
    """What protobuf reads, apart from groups, which ONNX does not have, is walked; nothing else escapes."""
    try:
        fields = walk(path, content)
    except InputError:
        return
    assert [0, *(field.end for field in fields)] == [*(field.start for field in fields), len(content)]
    assert all(field.start < field.value <= field.end for field in fields)


@per_example
@given(fields=st.lists(st.tuples(st.integers(1, (1 << 29) - 1), st.binary(max_size=300)), min_size=1), window=WINDOWS)
def test_what_is_encoded_is_read_back(path: Path, fields: list[tuple[int, bytes]], window: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(field_reader, "_WINDOW", window)
        found = walk(path, b"".join(encode_field(number, len(value)) + value for number, value in fields))
    with OnnxFiles(path) as files:
        reader = FieldReader(files)
        assert [(f.number, f.wire, reader.read(f.value, f.end)) for f in found] == [(n, LENGTH, v) for n, v in fields]


@given(st.integers(0, (1 << 64) - 1))
def test_varints_are_protobufs(value: int) -> None:
    parsed = onnx.ModelProto.FromString(b"\x08" + encode_varint(value))  # ir_version, a signed integer
    assert parsed.ir_version % (1 << 64) == value


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (b"\x08", "ends in the middle of a field"),
        (b"\x08\x80", "ends in the middle of a field"),
        (b"\x0a", "ends in the middle of a field"),
        (b"\x0a\x05abcd", "it ends at byte 6, 7 are announced"),
        (b"\x0a" + encode_varint((1 << 64) - 1), "it ends at byte 11"),
        (b"\x0d\0\0\0", "it ends at byte 4, 5 are announced"),
        (b"\x09\0\0\0\0", "it ends at byte 5, 9 are announced"),
        (b"\x02\x00", "unexpected data at byte 0"),
        (b"\x08\x01\x0b\x00", "unexpected data at byte 2"),
        (b"\x0c", "unexpected data at byte 0"),
        (b"\x0e\x00", "unexpected data at byte 0"),
        (b"\x08" + b"\xff" * 10, "too long"),
        (b"\xff" * 10, "too long"),
    ],
)
def test_what_is_no_protobuf_is_told(path: Path, content: bytes, told: str) -> None:
    with pytest.raises(InputError, match=told):
        walk(path, content)
    if content:
        with pytest.raises(DecodeError):
            onnx.ModelProto.FromString(content)


def test_an_inner_message_ends_where_the_outer_one_says(path: Path) -> None:
    """The length of a field inside must not lead out of the message that holds it."""
    path.write_bytes(b"\x0a\x03\x0a\x05a" + b"\x12\x02bc")
    with OnnxFiles(path) as files:
        reader = FieldReader(files)
        outer = next(reader.fields())
        with pytest.raises(InputError, match="it ends at byte 5, 9 are announced"):
            list(reader.fields(outer.value, outer.end))


def test_a_file_of_too_many_fields_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_reader, "MAX_FIELDS", 100)
    assert len(walk(path, b"\x08\x01" * 100)) == 100
    with pytest.raises(InputError, match="more than 100 fields"):
        walk(path, b"\x08\x01" * 101)


def test_fields_are_counted_over_all_messages_of_a_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_reader, "MAX_FIELDS", 100)
    path.write_bytes(b"\x08\x01" * 60)
    with OnnxFiles(path) as files:
        reader = FieldReader(files)
        list(reader.fields())
        with pytest.raises(InputError, match="more than 100 fields"):
            list(reader.fields())


def test_what_nobody_reads_costs_nothing(path: Path) -> None:
    """Six gigabytes of zeros that take no room on the disk, in three fields."""
    length = 2 << 30
    with path.open("wb") as file:
        for number in (1, 2, 3):
            file.write(encode_field(number, length))
            file.seek(length, 1)
        file.write(b"\x20\x07")
    with OnnxFiles(path) as files:
        reader = FieldReader(files)
        fields = list(reader.fields())
        assert [(f.number, f.end - f.value) for f in fields[:3]] == [(1, length), (2, length), (3, length)]
        assert reader.varint(fields[3]) == 7


def shorten(path: Path) -> None:
    path.write_bytes(b"\x0a\x20")


def test_a_file_that_became_shorter_is_told(path: Path) -> None:
    path.write_bytes(b"\x0a\x20" + b"x" * 32)
    with OnnxFiles(path) as files:
        reader = FieldReader(files)
        (field,) = reader.fields()
        shorten(path)
        with pytest.raises(InputError, match="it ends at byte 2, 34 are announced"):
            reader.read(field.value, field.end)


def test_what_is_not_there_is_an_error_of_the_system(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FieldReader(OnnxFiles(path))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Path.mkdir, "this is a folder and not a regular file"),
        (os.mkfifo, "this is a pipe and not a regular file"),
        (lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\nsize 1\n"), "git lfs pull"),
    ],
)
def test_what_is_no_file_with_content_is_told(path: Path, make: Callable[[Path], object], message: str) -> None:
    make(path)
    with pytest.raises(InputError, match=message):
        FieldReader(OnnxFiles(path))
