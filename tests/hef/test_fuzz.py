"""Damaged HEFs, by the hundred: see `fuzz.py`, which tries as many as one likes."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path
from typing import Literal

import pytest

from build_rules.errors import InputError
from build_rules.hef import build_container, embed_zip, read_hef, strip, write_hef
from build_rules.hef.parsable import NOT_LOOKED_AT
from build_rules.protobuf import MAX_DEPTH, MAX_FIELDS, write_bytes, write_string, write_uint
from tests.hef import fuzz
from tests.hef.samples import REAL, spec
from tests.profiles import sampled
from tests.shared import needs_shared

MUTATIONS = 150
REAL_MUTATIONS = 40
SECONDS = 20.0


def check(original: bytes, count: int, seed: int, folder: Path) -> None:
    outcome = fuzz.run(original, count, seed, folder)
    assert outcome.broken == []
    assert outcome.tried == count
    assert outcome.slowest < SECONDS
    assert outcome.refused > 0


@pytest.mark.parametrize("embedding", [None, "append", "sealed"])
@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_mutations_are_read_or_refused(
    tmp_path: Path, version: int, embedding: Literal["append", "sealed"] | None
) -> None:
    path = tmp_path / "a.hef"
    path.write_bytes(write_hef(spec("hailo8l"), b"payload" if version else b"", version))
    if embedding is not None:
        embed_zip(path, fuzz.MEMBERS, path, embedding)
    folder = tmp_path / "work"
    folder.mkdir()
    check(path.read_bytes(), MUTATIONS, version, folder)


@needs_shared
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_mutations_of_real_files(path: Path, tmp_path: Path) -> None:
    check(path.read_bytes(), REAL_MUTATIONS, 7, tmp_path)


@pytest.mark.parametrize("embedding", [None, "append", "sealed"])
@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_cut_off_at_every_byte(tmp_path: Path, version: int, embedding: Literal["append", "sealed"] | None) -> None:
    path, cut = tmp_path / "a.hef", tmp_path / "b.hef"
    path.write_bytes(write_hef(spec(), b"payload" if version else b"", version))
    original = path.stat().st_size
    if embedding is not None:
        embed_zip(path, fuzz.MEMBERS, path, embedding)
    data = path.read_bytes()
    end = original if embedding != "sealed" else len(data)
    edges = {*range(64), *range(end - 64, end + 64), *range(len(data) - 64, len(data))}
    for length in sorted({*sampled(range(len(data)), 100), *edges & {*range(len(data))}}):
        cut.write_bytes(data[:length])
        if length < end:
            with pytest.raises(InputError):
                read_hef(cut)
        else:
            strip(cut, cut)
            assert cut.read_bytes() == data[:original]


def test_a_message_that_nests_without_end(tmp_path: Path) -> None:
    path, message = tmp_path / "a.hef", b""
    for _ in range(5000):
        message = write_bytes(7, write_bytes(1, message)) if len(message) < 1 << 16 else message
    group = write_bytes(1, b"\x08\x03")  # for this chip, partial layouts are looked into
    path.write_bytes(build_container(group + write_bytes(2, message)))
    assert read_hef(path).network_groups[0].outputs == ()  # as deep as a real file goes, and no deeper
    assert MAX_DEPTH < 100


def test_a_message_of_more_fields_than_any(tmp_path: Path) -> None:
    path = tmp_path / "a.hef"
    path.write_bytes(build_container(b"\x22\x00" * (MAX_FIELDS + 1)))
    with pytest.raises(InputError, match="more than"):
        read_hef(path)


def group(*fields: bytes) -> bytes:
    return write_bytes(2, write_bytes(1, write_string(1, "net")) + b"".join(fields))


def output(info: bytes) -> bytes:
    """A group with one output, of which `info` says more than its name."""
    layer = write_uint(1, 1) + write_bytes(3, write_string(1, "net/out") + info)
    return group(write_bytes(3, write_bytes(3, write_bytes(2, layer))))


MANY = 60_000
LARGE: dict[str, tuple[bytes, str]] = {
    "groups": (b"\x12\x00" * MANY, "fields"),
    "extensions": (b"\x2a\x00" * MANY, "fields"),
    "contexts": (group(b"\x1a\x00" * MANY), "fields"),
    "layers": (group(write_bytes(3, write_bytes(3, b"\x12\x00" * MANY))), "fields"),
    "operations": (group(b"\x42\x00" * MANY), "fields"),
    "names": (output(write_string(5, "n" * 999) * (MANY // 3)), "bytes in strings"),
    "one name": (output(write_string(5, "n" * (17 << 20))), "bytes in strings"),
    "scales": (output(write_bytes(3, write_bytes(6, bytes(8 << 16)))) * 9, "doubles"),
}


@pytest.mark.parametrize("name", LARGE)
def test_what_no_real_file_has_is_refused_soon(tmp_path: Path, name: str) -> None:
    message, told = LARGE[name]
    path = tmp_path / "a.hef"
    path.write_bytes(build_container(message, b"", 1))
    if told != "fields":  # whose number bounds the memory; to trace it takes long
        tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(InputError, match=f"more than [0-9]+ {told}"):
            read_hef(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100 << 20
    assert time.process_time() - started < SECONDS


def test_more_than_is_looked_at_of_what_only_the_runtime_reads(tmp_path: Path) -> None:
    """Three hundred thousand actions: the streams are shown, and that not everything was looked at."""
    actions = group(write_bytes(3, write_bytes(2, b"\x12\x00" * 310_000)))
    path = tmp_path / "a.hef"
    path.write_bytes(build_container(actions, b"", 1))
    found = read_hef(path)
    assert found.network_groups[0].contexts == 1
    assert found.unknown == (NOT_LOOKED_AT,)
