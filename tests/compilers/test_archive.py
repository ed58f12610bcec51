"""Archives made to hurt: headers that unpack to anything, members without end."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from build_rules.compilers.archive import read_members
from build_rules.compilers.har_file import outline_har, read_har
from build_rules.errors import InputError
from tests.compilers.test_har_file import write_tar

MIB = 1 << 20
END = bytes(1024)
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def header(name: str, size: int, kind: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def sparse(blocks: int) -> bytes:
    """An old GNU sparse member whose map goes on for `blocks` blocks."""
    first = bytearray(header("n.hn", 512, tarfile.GNUTYPE_SPARSE))
    first[482] = 1  # "is extended"
    total = sum(first[:148]) + sum(first[156:512]) + 8 * 32
    first[148:156] = b"%06o\0 " % total
    more = bytearray(512)
    more[504] = 1
    return bytes(first) + bytes(more) * blocks


BOMBS = {
    "long name": (header("x", 2 * MIB, tarfile.GNUTYPE_LONGNAME) + bytes(2 * MIB), "a header in it"),
    "long link": (header("x", 2 * MIB, tarfile.GNUTYPE_LONGLINK) + bytes(2 * MIB), "a header in it"),
    "extended header": (header("x", 2 * MIB, tarfile.XHDTYPE) + bytes(2 * MIB), "a header in it"),
    "global header": (header("x", 2 * MIB, tarfile.XGLTYPE) + bytes(2 * MIB), "a header in it"),
    "headers of headers": (header("x", 0, tarfile.XHDTYPE) * 600, "a header in it"),
    "map of holes": (sparse(600), "a header in it"),
    "folders": (header("d", 0, tarfile.DIRTYPE) * 600, "more than 256 members"),
    "one name": (header("n.hn", 0, tarfile.REGTYPE) * 600, "more than 256 members"),
    "links": (header("l", 0, tarfile.SYMTYPE) * 600, "more than 256 members"),
    "a large member": (header("n.npz", 64 * MIB, tarfile.REGTYPE) + bytes(64 * MIB), "unpacks to more than 3[2-9] MiB"),
    "a large member that is told": (header("n.npz", 1 << 40, tarfile.REGTYPE), "unpacks to more than"),
    "a size below nothing": (
        header("x", 12, tarfile.XHDTYPE) + padded(b"12 size=-99\n") + header("n.hn", 0, tarfile.REGTYPE),
        "not a readable HAR|exactly one|members|cut short",
    ),
}


@pytest.mark.parametrize(
    ("bomb", "packer"), [*((bomb, "bzip2") for bomb in BOMBS), *(("long name", packer) for packer in PACKERS)]
)
def test_bombs(tmp_path: Path, bomb: str, packer: str) -> None:
    content, told = BOMBS[bomb]
    (tmp_path / "a.har").write_bytes(PACKERS[packer](content + END))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=told):
            read_har(tmp_path / "a.har")
        assert tracemalloc.get_traced_memory()[1] < 40 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("packer", PACKERS)
def test_sound_archives_are_read_however_they_are_packed(tmp_path: Path, packer: str) -> None:
    members = {"./net.hn": b"{}", "folder/" + "x" * 300: b"long name", "net.npz": bytes(3 * MIB)}
    path = write_tar(tmp_path / "a.har", members)
    path.write_bytes(PACKERS[packer](path.read_bytes()))
    found, sizes = read_members(path)
    assert found == {name.removeprefix("./"): data for name, data in members.items()}
    assert sizes == {name: len(data) for name, data in found.items()}


def test_what_nobody_asks_for_is_not_kept(tmp_path: Path) -> None:
    with (tmp_path / "a.har").open("wb") as file:  # a file of holes, which costs nobody anything
        file.write(header("net.npz", 1 << 30, tarfile.REGTYPE))
        file.seek(1 << 30, 1)
        file.write(padded(header("net.hn", 42, tarfile.REGTYPE) + b'{"net_params": {"a": 1}, "layers": {}}    ') + END)
    tracemalloc.start()
    try:
        har, sizes = outline_har(tmp_path / "a.har")
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert sizes == {"net.npz": 1 << 30, "net.hn": 42}
    assert set(har.members) == {"net.hn"}
