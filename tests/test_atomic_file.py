"""What is written is there whole or not at all, and nothing is written through links."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

import pytest

from build_rules.atomic_file import PARTIAL, replacing


def test_it_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with replacing(path) as stream:
        stream.write(b"after!")
        stream.seek(0)
        stream.write(b"A")
        assert path.read_bytes() == b"before"
        (draft,) = tmp_path.glob(f".*{PARTIAL}")
        assert str(draft) == stream.name
    assert path.read_bytes() == b"After!"
    assert list(tmp_path.iterdir()) == [path]


def fail_after(stream: BinaryIO, kind: type[BaseException]) -> None:
    stream.write(b"half")
    raise kind


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, OSError])
@pytest.mark.parametrize("there", [True, False])
def test_what_fails_leaves_what_was_there(tmp_path: Path, kind: type[BaseException], there: bool) -> None:
    path = tmp_path / "file"
    if there:
        path.write_bytes(b"before")
    with pytest.raises(kind), replacing(path) as stream:
        fail_after(stream, kind)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"before"] * there


def test_a_folder_in_its_place_stays(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError), replacing(tmp_path / "file"):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_links_are_replaced_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"theirs")
    for name in ("file", "file.new"):
        (tmp_path / name).symlink_to("victim")
    with replacing(tmp_path / "file", tmp_path / "file.new") as stream:
        stream.write(b"ours")
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"ours"
    assert (tmp_path / "victim").read_bytes() == b"theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "victim"]


def test_a_draft_that_was_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "file.new").write_bytes(b"left by a kill, and longer")
    with replacing(tmp_path / "file", tmp_path / "file.new") as stream:
        stream.write(b"ours")
    assert (tmp_path / "file").read_bytes() == b"ours"


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_the_umask_decides_who_reads_it(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "file"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask


def test_a_name_of_the_longest_kind(tmp_path: Path) -> None:
    with replacing(tmp_path / ("x" * 255)) as stream:
        stream.write(b"fits")
    assert (tmp_path / ("x" * 255)).read_bytes() == b"fits"
