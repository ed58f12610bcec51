"""Outputs that are inputs as they are: one file under two names, and the engine is not deceived by that."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from build_rules.engine.freshness import fingerprint as fingerprints
from build_rules.engine.freshness.fingerprint import fingerprint, is_unchanged, renaming
from build_rules.engine.running import publish
from build_rules.engine.running.failure import InputChangedError
from build_rules.engine.running.hand_on import hand_on
from build_rules.engine.running.publish import Produced, produce
from tests.doit_runs import doit

SETTLED = 0.05

STEPS = """
from pathlib import Path

def take(*, source, taken, told, kept):
    if kept:
        source = Path(kept) / "large"
    text = source.read_text()
    if "upper" in text:
        taken.write_text(text.upper())
    else:
        taken.symlink_to(source.resolve())
    told.write_text(str(len(text)))
    return [source] if kept else []

def read(*, taken, read):
    read.write_text(taken.read_text()[:4])
"""

DODO = """
import os
from pathlib import Path
from build_rules.engine.doit_config import DOIT_CONFIG
from build_rules.engine.running.rule import Rule

DOIT_CONFIG = {**DOIT_CONFIG, "default_tasks": ["read"]}
TAKE = Rule("take", "steps:take", ("errors.py",))
READ = Rule("read", "steps:read", ("errors.py",))
BUILD = Path("build")
NAMES = os.environ.get("NAMES", "a").split()
KEPT = os.environ.get("KEPT", "")

def task_take():
    for name in NAMES:
        yield TAKE.task(name, inputs={"source": () if KEPT else Path("in/large")}, owner=name, settings={"kept": KEPT},
                        outputs={"taken": BUILD / name / "taken", "told": BUILD / name / "told"})

def task_read():
    for name in NAMES:
        yield READ.task(name, inputs={"taken": BUILD / name / "taken"}, owner=name, settings={},
                        outputs={"read": BUILD / name / "read"})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "dodo.py").write_text(DODO)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/large").write_text("some content")
    time.sleep(SETTLED)
    return tmp_path


def built(folder: Path, *arguments: str, **environment: str) -> list[str]:
    run = doit(folder, *arguments, **environment)
    assert run.code == 0, run.err
    assert not list(folder.rglob("*.partial"))
    return sorted(run.executed)


def same(folder: Path, name: str = "a", source: str = "in/large") -> bool:
    return (folder / source).samefile(folder / f"build/{name}/taken") and not (
        folder / f"build/{name}/taken"
    ).is_symlink()


def test_the_file_is_used_where_it_lies_and_nothing_runs_again(folder: Path) -> None:
    assert built(folder) == ["read:a", "take:a"]
    assert same(folder)
    assert (folder / "in/large").stat().st_nlink == 2
    for _ in range(2):
        assert built(folder) == []
    assert built(folder, "take:a") == []


def test_an_input_that_is_itself_a_link(folder: Path) -> None:
    (folder / "in/large").rename(folder / "elsewhere")
    (folder / "in/large").symlink_to("../elsewhere")
    assert built(folder) == ["read:a", "take:a"]
    assert same(folder, source="elsewhere")
    assert built(folder) == []


def test_the_build_keeps_what_is_removed(folder: Path) -> None:
    built(folder)
    (folder / "in/large").unlink()
    assert (folder / "build/a/taken").read_text() == "some content"
    assert doit(folder).code != 0
    assert (folder / "build/a/taken").read_text() == "some content"
    (folder / "in/large").write_text("some content")
    assert built(folder) == [], "the same content under the same name"


def test_written_in_place_both_change_and_the_steps_run(folder: Path) -> None:
    built(folder)
    (folder / "in/large").write_text("other content")
    assert built(folder) == ["read:a", "take:a"]
    assert same(folder)
    assert (folder / "build/a/read").read_text() == "othe"
    assert built(folder) == []


def test_replaced_the_new_file_is_taken_and_the_old_one_left_alone(folder: Path) -> None:
    built(folder)
    (folder / "in/large").rename(folder / "in/old")
    (folder / "in/large").write_text("other content")
    assert built(folder) == ["read:a", "take:a"]
    assert same(folder)
    assert (folder / "in/old").read_text() == "some content"
    assert built(folder) == []


def test_what_is_made_later_is_not_written_into_the_given_file(folder: Path) -> None:
    built(folder)
    (folder / "in/large").rename(folder / "in/old")
    (folder / "in/large").write_text("upper case")
    assert built(folder) == ["read:a", "take:a"]
    assert (folder / "in/old").read_text() == "some content"
    assert (folder / "build/a/taken").read_text() == "UPPER CASE"
    assert not same(folder)


def test_clean_removes_one_name(folder: Path) -> None:
    built(folder)
    assert doit(folder, "clean").code == 0
    assert not (folder / "build/a/taken").exists()
    assert (folder / "in/large").read_text() == "some content"
    assert built(folder) == ["read:a", "take:a"]


@pytest.mark.parametrize("jobs", [(), ("-n", "3")], ids=["n1", "n3"])
@pytest.mark.parametrize("kept", ["", "in"], ids=["declared", "discovered"])
def test_several_may_take_one_file(folder: Path, jobs: tuple[str, ...], kept: str) -> None:
    """Each link changes the ctime of what the others read; none of them may take that for an edit."""
    names = "a b c d e f"
    assert len(built(folder, *jobs, NAMES=names, KEPT=kept)) == 12
    assert all(same(folder, name) for name in names.split())
    assert built(folder, NAMES=names, KEPT=kept) == []
    assert built(folder, "take", "read", NAMES=names, KEPT=kept) == []
    (folder / "in/large").write_text("other content")
    assert len(built(folder, *jobs, NAMES=names, KEPT=kept)) == 12


def test_a_discovered_file_that_is_gone_or_changed_is_noticed(folder: Path) -> None:
    assert built(folder, KEPT="in") == ["read:a", "take:a"]
    (folder / "in/large").rename(folder / "in/old")
    assert doit(folder, KEPT="in").code != 0
    (folder / "in/old").rename(folder / "in/large")
    assert built(folder, KEPT="in") == []
    (folder / "in/large").write_text("other content")
    assert built(folder, KEPT="in") == ["read:a", "take:a"]


def test_what_is_handed_on_is_neither_uploaded_nor_written_through(folder: Path, tmp_path: Path) -> None:
    cache = f"configure_cache({str(tmp_path / 'c')!r}, 'read-write', None)"
    (folder / "dodo.py").write_text(f"{DODO}\nfrom build_rules.engine.cache.of_step import configure_cache\n{cache}\n")
    built(folder)
    blobs = {path.name for path in (tmp_path / "c/cas").rglob("*") if path.is_file()}
    assert hashlib.sha256(b"some content").hexdigest() not in blobs
    # What comes from the cache takes the place of the link, and leaves the file that it was a name of.
    (folder / "in/large").write_text("upper case")
    built(folder)
    (folder / "in/large").write_text("some content")
    built(folder)
    assert same(folder)
    (folder / "in/large").rename(folder / "in/old")
    (folder / "in/large").write_text("upper case")
    run = doit(folder)
    assert "from the cache" in run.out
    assert (folder / "build/a/taken").read_text() == "UPPER CASE"
    assert (folder / "in/old").read_text() == "some content"


# The pieces, without doit.


def call(folder: Path, function: Callable[..., Sequence[Path] | None], *sources: Path) -> Produced:
    return produce("take", function, {"sources": sources}, {"taken": folder / "out/taken"}, {})


def link(*, sources: Sequence[Path], taken: Path) -> None:
    taken.symlink_to(sources[0].resolve())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "large").write_text("some content")
    time.sleep(SETTLED)
    return tmp_path


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    reads: list[str] = []
    read = fingerprints._read_digest

    def counted(path: Any) -> str:
        reads.append(Path(path).name)
        return read(path)

    monkeypatch.setattr(fingerprints, "_read_digest", counted)
    return reads


def test_it_is_hashed_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = count_reads(monkeypatch)
    made = call(here, link, here / "large")
    before, after = made.inputs[here / "large"], made.outputs[here / "out/taken"]
    assert before == after == fingerprint(here / "large")
    assert before.settled
    assert is_unchanged(here / "out/taken", after)
    again = call(here, link, here / "large")
    assert again.outputs[here / "out/taken"].sha256 == after.sha256
    assert is_unchanged(here / "large", again.inputs[here / "large"])
    assert reads == ["large"]


def test_where_there_can_be_no_link_it_is_copied(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    made = call(here, link, here / "large")
    assert (here / "out/taken").read_text() == "some content"
    assert not (here / "large").samefile(here / "out/taken")
    assert made.outputs[here / "out/taken"].sha256 == made.inputs[here / "large"].sha256


def test_a_link_to_what_is_no_input_is_refused(here: Path) -> None:
    (here / "other").write_text("nobody watches this")

    def stray(*, sources: Sequence[Path], taken: Path) -> None:
        taken.symlink_to(here / "other")

    with pytest.raises(ValueError, match="none of its inputs"):
        call(here, stray, here / "large")
    assert not (here / "out/taken").exists()


@pytest.mark.parametrize("keep_times", [False, True])
def test_an_edit_just_before_the_link_is_noticed(here: Path, monkeypatch: pytest.MonkeyPatch, keep_times: bool) -> None:
    source = here / "large"

    def edit_first(*arguments: Any) -> bool:
        found = source.stat()
        source.write_text("SOME CONTENT")
        if keep_times:
            os.utime(source, ns=(found.st_atime_ns, found.st_mtime_ns))
        return hand_on(*arguments)

    monkeypatch.setattr(publish, "hand_on", edit_first)
    with pytest.raises(InputChangedError):
        call(here, link, source)
    assert not (here / "out/taken").exists()


def test_names_come_and_go_without_a_trace_in_what_is_known(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = fingerprint(here / "large")
    reads = count_reads(monkeypatch)
    for number in range(3):
        with renaming(here / "large"):
            os.link(here / "large", here / f"name{number}")
    with renaming(here / "large"):
        (here / "name0").unlink()
    found = fingerprints.marks_of((here / "name2").stat())
    assert found != known[:4]
    assert fingerprints.still_has(found, known)
    assert fingerprints.first_marks(found) == known[:4]
    assert is_unchanged(here / "name1", known)
    assert reads == []


def test_a_write_among_the_names_is_a_change(here: Path) -> None:
    known = fingerprint(here / "large")
    with renaming(here / "large"):
        os.link(here / "large", here / "name")
        (here / "large").write_text("SOME CONTENT")
    assert not fingerprints.still_has(fingerprints.marks_of((here / "name").stat()), known)
    assert not is_unchanged(here / "name", known)


def test_another_file_system_gets_a_copy(here: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == here.stat().st_dev:
        pytest.skip("there is no second file system here")
    source = other / f"hand-on-{os.getpid()}"
    try:
        source.write_text("far away")
        time.sleep(SETTLED)
        call(here, link, source)
        assert (here / "out/taken").read_text() == "far away"
    finally:
        source.unlink(missing_ok=True)
    shutil.rmtree(here / "out")
