"""The container agrees with the `safetensors` package, and damaged headers are refused before anything is allocated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from build_rules.calibration.snapshot.safetensors_file import MAX_HEADER_BYTES, encode_header, read_header
from build_rules.errors import InputError


def write(path: Path, header: Any, data: bytes = bytes(12)) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def tensor(begin: int = 0, end: int = 12, shape: Any = (1, 3, 2, 2), dtype: Any = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_reads_what_the_package_writes(tmp_path: Path) -> None:
    stored: dict[str, NDArray[Any]] = {
        "a": np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2),
        "b": np.ones((2, 2), np.float32),
    }
    save_file(stored, tmp_path / "x", {"k": "v"})
    header = read_header(tmp_path / "x")
    assert dict(header.metadata) == {"k": "v"}
    content = (tmp_path / "x").read_bytes()
    for entry in header.entries:
        assert content[entry.begin : entry.end] == stored[entry.name].tobytes()
        assert entry.shape == stored[entry.name].shape


def test_the_package_reads_what_we_write(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2)
    header = encode_header("images", "U8", pixels.shape, {"b": "ü", "a": '{"x":1}'})
    assert len(header) % 8 == 0
    assert header == encode_header("images", "U8", pixels.shape, {"a": '{"x":1}', "b": "ü"})
    (tmp_path / "x").write_bytes(header + pixels.tobytes())
    np.testing.assert_array_equal(load_file(tmp_path / "x")["images"], pixels)
    assert read_header(tmp_path / "x").metadata["b"] == "ü"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ([], "not a JSON object"),
        (b"{nonsense", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": 1, "a": 2}', "twice"),
        ({"__metadata__": {"k": 1}}, "string to string"),
        ({"__metadata__": []}, "string to string"),
        ({"a": 1}, "lacks"),
        ({"a": {"dtype": "U8", "shape": [12]}}, "lacks"),
        ({"a": tensor(dtype="I64")}, "dtype"),
        ({"a": tensor(dtype=["U8"])}, "dtype"),
        ({"a": tensor(shape=[-1, 12])}, "shape"),
        ({"a": tensor(shape=[True, 12])}, "shape"),
        ({"a": tensor(shape=[12.0])}, "shape"),
        ({"a": tensor(shape=[1, 3, 2, 3])}, "cannot take"),
        ({"a": tensor(end=13)}, "cannot take"),
        ({"a": tensor(1, 13)}, "starts at"),
        ({"a": tensor(), "b": tensor()}, "starts at"),
        ({"a": tensor(), "b": tensor(6, 18)}, "starts at"),
        ({"a": tensor(shape=[1] * 33 + [12])}, "shape"),
        ({"a": tensor(end=10**30, shape=[10**30])}, "shape"),
        ({"a": tensor(end=6, shape=[6])}, "end at"),
        ({"a": tensor(end=24, shape=[24])}, "end at"),
        ({}, "end at"),
    ],
)
def test_malformed_headers(tmp_path: Path, header: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read_header(write(tmp_path / "x.safetensors", header))
    assert "x.safetensors" in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"1234567", (1 << 40).to_bytes(8, "little"), (9).to_bytes(8, "little") + b"{}"]
)
def test_short_files_and_giant_headers(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match="header"):
        read_header(tmp_path / "x")


def test_a_missing_file_is_wrong_input(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "absent", "cannot be read"), (tmp_path, "is a folder and not a regular file")):
        with pytest.raises(InputError, match=message):
            read_header(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=60), st.integers(0, 60))
def test_arbitrary_bytes_are_never_anything_worse_than_wrong_input(tmp_path: Path, content: bytes, length: int) -> None:
    (tmp_path / "x").write_bytes(length.to_bytes(8, "little") + content)
    try:
        read_header(tmp_path / "x")
    except InputError:
        return
    assert content[:1] in b"{ \n\t\r"


def test_an_empty_tensor_may_lie_anywhere(tmp_path: Path) -> None:
    header = {"a": tensor(), "b": tensor(0, 0, shape=[0, 3]), "c": tensor(12, 12, shape=[0])}
    read = read_header(write(tmp_path / "x", header))
    assert {entry.name: entry.end - entry.begin for entry in read.entries} == {"a": 12, "b": 0, "c": 0}


def test_what_a_file_says_of_itself_is_not_repeated_at_length(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_header(write(tmp_path / "x", {"a": tensor(dtype="U8" * 100_000)}))
    assert len(str(caught.value)) < 1000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_whole_file_that_was_cut_or_grew_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    shapes = data.draw(st.lists(st.lists(st.integers(0, 3), max_size=3), min_size=1, max_size=3))
    stored: dict[str, NDArray[Any]] = {str(i): np.zeros(shape, np.uint8) for i, shape in enumerate(shapes)}
    save_file(stored, tmp_path / "x")
    whole = (tmp_path / "x").read_bytes()
    read_header(tmp_path / "x")
    change = data.draw(st.integers(-len(whole), 20).filter(bool))
    (tmp_path / "x").write_bytes(whole[:change] if change < 0 else whole + bytes(change))
    with pytest.raises(InputError):
        read_header(tmp_path / "x")


begin_or_end = st.integers(-1, 14)
entry = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["U8", "U8", "F32", "I8"]),
        "shape": st.lists(st.integers(-1, 12), max_size=4),
        "data_offsets": st.lists(begin_or_end, min_size=1, max_size=3),
    }
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), entry, max_size=3))
def test_whatever_is_accepted_covers_the_file_exactly_once(tmp_path: Path, header: dict[str, Any]) -> None:
    path = write(tmp_path / "x", header)
    try:
        stored = read_header(path)
    except InputError:
        return
    size, begin = path.stat().st_size, path.stat().st_size - 12
    covered = [byte for entry in stored.entries for byte in range(entry.begin, entry.end)]
    assert sorted(covered) == list(range(begin, size))
    assert load_file(path).keys() == header.keys(), "the reference implementation accepts it, too"


@pytest.mark.parametrize("beyond", [0, 1])
def test_a_header_as_long_as_it_may_be(tmp_path: Path, beyond: int) -> None:
    assert MAX_HEADER_BYTES == 16 << 20
    path = write(tmp_path / "x", json.dumps({"a": tensor()}).encode().ljust(MAX_HEADER_BYTES + beyond))
    if beyond:
        with pytest.raises(InputError, match=f"its header would take {MAX_HEADER_BYTES + 1} bytes"):
            read_header(path)
    else:
        assert [entry.name for entry in read_header(path).entries] == ["a"]
