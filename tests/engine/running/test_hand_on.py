"""Outputs that are inputs as they are: one file and a link to it, and the engine is not deceived by that."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from build_rules.engine.freshness import fingerprint as fingerprints
from build_rules.engine.freshness.fingerprint import fingerprint, is_unchanged
from build_rules.engine.running.changes import Reader
from build_rules.engine.running.failure import InputChangedError
from build_rules.engine.running.publish import Produced, produce
from build_rules.errors import InputError
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
    taken = folder / f"build/{name}/taken"
    return taken.is_symlink() and taken.samefile(folder / source)


def test_the_file_is_used_where_it_lies_and_nothing_runs_again(folder: Path) -> None:
    assert built(folder) == ["read:a", "take:a"]
    assert same(folder)
    assert str((folder / "build/a/taken").readlink()) == "../../in/large"
    for _ in range(2):
        assert built(folder) == []
    assert built(folder, "take:a") == []


def test_an_input_that_is_itself_a_link(folder: Path) -> None:
    (folder / "in/large").rename(folder / "elsewhere")
    (folder / "in/large").symlink_to("../elsewhere")
    assert built(folder) == ["read:a", "take:a"]
    assert same(folder, source="elsewhere")
    assert built(folder) == []


def test_what_is_removed_is_missed_and_its_return_is_noticed(folder: Path) -> None:
    built(folder)
    content = (folder / "in/large").read_text()
    (folder / "in/large").unlink()
    assert doit(folder).code != 0
    assert (folder / "build/a/taken").is_symlink(), "nothing is lost of what can be told of it"
    (folder / "in/large").write_text(content)
    assert built(folder) == [], "the same content under the same name"
    (folder / "in/large").unlink()
    (folder / "in/large").write_text("other content")
    assert built(folder) == ["read:a", "take:a"]


def test_a_workspace_that_is_moved_stays_whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    built(folder)
    moved = tmp_path_factory.mktemp("moved") / "here"
    folder.rename(moved)
    assert same(moved)
    assert built(moved) == []
    moved.rename(folder)


def test_a_build_folder_elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A relative path would count from where the folder really is."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (folder / "build").symlink_to(elsewhere)
    (folder / "pyproject.toml").write_text("[tool.build_rules]\nlinked_build = true\n")
    assert built(folder) == ["read:a", "take:a"]
    assert same(folder)
    assert (elsewhere / "a/taken").readlink() == folder / "in/large"
    assert built(folder) == []


def test_a_hard_link_of_a_former_version(folder: Path) -> None:
    built(folder)
    (folder / "build/a/taken").unlink()
    (folder / "build/a/taken").hardlink_to(folder / "in/large")
    assert built(folder) == [], "it is what was recorded"
    (folder / "in/large").write_text("other content")
    assert built(folder) == ["read:a", "take:a"]
    assert same(folder)
    assert (folder / "in/large").stat().st_nlink == 1
    assert (folder / "in/large").read_text() == "other content"
    assert built(folder) == []


def test_a_link_in_the_place_of_an_output_is_not_written_through(folder: Path) -> None:
    built(folder)
    (folder / "victim").write_text("theirs")
    for name in ("taken", "told"):
        (folder / f"build/a/{name}").unlink()
        (folder / f"build/a/{name}").symlink_to("../../victim")
    assert built(folder) == ["take:a"]
    assert same(folder)
    (folder / "build/a/taken").unlink()
    (folder / "build/a/taken").symlink_to("../../victim")
    (folder / "in/large").write_text("upper case")
    assert built(folder) == ["read:a", "take:a"]
    assert (folder / "build/a/taken").read_text() == "UPPER CASE"
    assert (folder / "victim").read_text() == "theirs"


def test_written_in_place_it_is_another_and_the_steps_run(folder: Path) -> None:
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


@pytest.mark.parametrize("gone", [False, True], ids=["there", "gone"])
def test_clean_removes_the_link_alone(folder: Path, gone: bool) -> None:
    built(folder)
    if gone:
        (folder / "in/large").rename(folder / "in/away")
    assert doit(folder, "clean").code == 0
    assert not (folder / "build/a/taken").is_symlink()
    if gone:
        (folder / "in/away").rename(folder / "in/large")
    assert (folder / "in/large").read_text() == "some content"
    assert built(folder) == ["read:a", "take:a"]


@pytest.mark.parametrize("jobs", [(), ("-n", "3")], ids=["n1", "n3"])
@pytest.mark.parametrize("kept", ["", "in"], ids=["declared", "discovered"])
def test_several_may_take_one_file(folder: Path, jobs: tuple[str, ...], kept: str) -> None:
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
    cache = f"session.cache_settings = parse_settings({str(tmp_path / 'c')!r}, 'read-write', None)"
    modules = (
        "from build_rules.engine.cache.location import parse_settings\n"
        "from build_rules.engine.running.session import session\n"
    )
    (folder / "dodo.py").write_text(f"{DODO}\n{modules}{cache}\n")
    built(folder)
    blobs = {path.name for path in (tmp_path / "c/cas").rglob("*") if path.is_file()}
    assert hashlib.sha256(b"some content").hexdigest() not in blobs
    # What comes from the cache takes the place of the link, and leaves the file that it led to.
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


def test_a_link_to_what_is_no_input_is_refused(here: Path) -> None:
    (here / "other").write_text("nobody watches this")

    def stray(*, sources: Sequence[Path], taken: Path) -> None:
        taken.symlink_to(here / "other")

    with pytest.raises(ValueError, match="none of its inputs"):
        call(here, stray, here / "large")
    assert not (here / "out/taken").exists()


def test_an_input_that_is_the_output_itself_is_not_lost(here: Path) -> None:
    (here / "out").mkdir()
    (here / "large").rename(here / "out/taken")
    (here / "large").symlink_to("out/taken")
    with pytest.raises(InputError, match=r"large: leads to .*, which is made of it"):
        call(here, link, here / "large")
    assert (here / "out/taken").read_text() == "some content"


@pytest.mark.parametrize("keep_times", [False, True])
def test_an_edit_while_the_step_runs_is_noticed(here: Path, keep_times: bool) -> None:
    source = here / "large"

    def edit(*, sources: Sequence[Path], taken: Path) -> None:
        link(sources=sources, taken=taken)
        found = source.stat()
        source.write_text("SOME CONTENT")
        if keep_times:
            os.utime(source, ns=(found.st_atime_ns, found.st_mtime_ns))

    with pytest.raises(InputChangedError):
        call(here, edit, source)
    assert not (here / "out/taken").is_symlink()


def test_an_edit_between_two_steps_of_one_model_is_noticed(here: Path) -> None:
    """The link leads to another content by now, and what came with it was made of the one before."""
    taken, owner = here / "out/taken", f"model {here}"
    produce("take", link, {"sources": [here / "large"]}, {"taken": taken}, {}, None, Reader("take:a", owner))
    (here / "large").write_text("other content")
    with pytest.raises(InputChangedError, match=r"taken changed after take:a made it, before read:a read it; run doit"):
        produce("read", link, {"sources": [taken]}, {"taken": here / "read"}, {}, None, Reader("read:a", owner))


def test_a_file_outside_the_workspace(here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    source = tmp_path_factory.mktemp("far") / "large"
    source.write_text("far away")
    time.sleep(SETTLED)
    made = call(here, link, source)
    assert (here / "out/taken").readlink() == source
    assert made.outputs[here / "out/taken"] == made.inputs[source]
