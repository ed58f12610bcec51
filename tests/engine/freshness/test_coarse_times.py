"""The real doit on a file system that keeps whole seconds, and on image file systems whose times are all the same."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doit_runs import doit
from tests.engine.running.test_hand_on import DODO, STEPS

CLAMPED = 1_700_000_000


def run(*command: str | Path) -> None:
    if shutil.which(str(command[0])) is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"{command[0]} cannot be used here")


@pytest.fixture
def coarse(tmp_path: Path) -> Iterator[Path]:
    """A workspace on ext2 with inodes of 128 bytes, which have no room for parts of seconds."""
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with image.open("wb") as stream:
        stream.truncate(8 << 20)
    run("mkfs.ext2", "-q", "-I", "128", image)
    run("mount", "-o", "loop", image, folder)
    (folder / "steps.py").write_text(STEPS)
    (folder / "dodo.py").write_text(DODO)
    (folder / "in").mkdir()
    (folder / "in/large").write_text("text 0")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_edits_within_a_second(coarse: Path) -> None:
    for number in range(4):
        (coarse / "in/large").unlink(missing_ok=True)
        (coarse / "in/large").write_text(f"{number} text upper")
        found = doit(coarse)
        assert sorted(found.executed) == ["read:a", "take:a"], (number, found.err)
        assert (coarse / "build/a/read").read_text() == f"{number} TE"
    assert doit(coarse).executed == []


def test_a_file_that_several_steps_hand_on(coarse: Path) -> None:
    names = {"NAMES": "a b c"}
    found = doit(coarse, "-n", "3", **names)
    assert (found.code, len(found.executed)) == (0, 6), found.err
    assert all((coarse / f"build/{name}/taken").is_symlink() for name in "abc")
    assert doit(coarse, **names).executed == []
    (coarse / "in/large").write_text("text 1")
    assert sorted(doit(coarse, **names).executed) == [f"{kind}:{name}" for kind in ("read", "take") for name in "abc"]


@pytest.fixture
def images(tmp_path: Path) -> Iterator[tuple[Path, list[Path]]]:
    """A workspace whose inputs come as images; all files have the same time, inode and size."""
    made = []
    for text in ("one upper", "two upper"):
        folder, image = tmp_path / text, tmp_path / f"{text}.image"
        folder.mkdir()
        (folder / "large").write_text(text)
        run(
            "mksquashfs", folder, image, "-all-time", str(CLAMPED), "-mkfs-time", str(CLAMPED), "-quiet", "-no-progress"
        )
        made.append(image)
    work = tmp_path / "work"
    (work / "in").mkdir(parents=True)
    (work / "steps.py").write_text(STEPS)
    (work / "dodo.py").write_text(DODO)
    yield work, made
    subprocess.run(["umount", "-l", work / "in"], capture_output=True, check=False)


def test_an_image_that_is_replaced(images: tuple[Path, list[Path]]) -> None:
    """The other one is seen, by commands that only look as well."""
    work, (one, two) = images
    run("mount", "-o", "loop,ro", one, work / "in")
    first = (work / "in/large").stat()
    assert doit(work).code == 0
    assert doit(work).executed == []
    subprocess.run(["umount", work / "in"], check=True)
    run("mount", "-o", "loop,ro", two, work / "in")
    second = (work / "in/large").stat()
    assert (first.st_ino, first.st_size, first.st_ctime_ns) == (second.st_ino, second.st_size, second.st_ctime_ns)
    assert "changed" in doit(work, "why", "take:a").out
    assert sorted(doit(work).executed) == ["read:a", "take:a"]
    assert (work / "build/a/read").read_text() == "TWO "
