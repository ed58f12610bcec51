"""Nothing below `build/` is followed out of it, whoever has made the workspace."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from build_rules.engine import places
from build_rules.engine.freshness.index import Snapshot, read_snapshot, write_snapshot
from build_rules.engine.lock import lock_workspace
from build_rules.engine.memory.durations import History
from build_rules.engine.memory.failures import note_failures, read_failures
from build_rules.engine.memory.texts import keep_texts, read_text_of
from build_rules.engine.running.publish import clear_drafts, further_files, produce
from build_rules.errors import InputError
from tests.doit_runs import doit

PRECIOUS = "precious"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace, and beside it `victim/`, with files that are none of its business."""
    for folder in ("work/build", "victim/deep", "victim/.x.partial"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("file", "deep/file", ".x.partial/file"):
        (tmp_path / "victim" / name).write_text(PRECIOUS)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture(autouse=True)
def untouched(here: Path) -> object:
    """Whatever happens, the victim has what it had."""
    victim = here.parent / "victim"

    def content() -> dict[str, str]:
        files = (path for path in victim.rglob("*") if path.is_file() and not path.is_symlink())
        return {str(path): path.read_text() for path in files}

    before = content()
    yield
    assert content() == before


def text(*, out: Path) -> None:
    out.write_text("made")


def make(folder: str) -> None:
    produce("step", text, {}, {"out": Path(folder) / "out"}, {})


def link_build(victim: Path) -> None:
    Path("build").rmdir()
    Path("build").symlink_to(victim)


def link_deeper(victim: Path) -> None:
    Path("build/m").mkdir()
    Path("build/m/arch").symlink_to(victim / "deep")


WAYS_OUT: dict[str, Callable[[Path], None]] = {
    "build": link_build,
    "build/m": lambda victim: Path("build/m").symlink_to(victim),
    "build/m/arch": link_deeper,
    "build/m as a file": lambda victim: os.mkfifo("build/m"),
    "a link back in": lambda victim: Path("build/m").symlink_to("../build"),
    "a link to nowhere": lambda victim: Path("build/m").symlink_to("nowhere"),
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_folder_that_leads_out_is_refused(here: Path, way: str) -> None:
    WAYS_OUT[way](here.parent / "victim")
    with pytest.raises(InputError, match=r"build\S*: is (a link to|no folder)"):
        make("build/m/arch")
    assert places.leads_out("build/m/arch")
    assert further_files({"out": Path("build/m/arch/out")}) == []
    places.remove_tree(Path("build/m/arch/.x.partial"))
    assert not (here / "build/nowhere").exists()


@pytest.mark.parametrize("allowed", ["true", "false"])
def test_the_settings_allow_a_linked_build_and_nothing_below(here: Path, allowed: str) -> None:
    (here / "pyproject.toml").write_text(f"[tool.build_rules]\nlinked_build = {allowed}\n")
    (here.parent / "scratch").mkdir()
    (here / "build").rmdir()
    (here / "build").symlink_to(here.parent / "scratch")
    places._is_allowed.cache_clear()
    if allowed == "false":
        with pytest.raises(InputError, match=r"linked_build = true below \[tool\.build_rules\]"):
            make("build/m")
        return
    make("build/m")
    assert (here.parent / "scratch/m/out").read_text() == "made"
    (here.parent / "scratch/n").symlink_to(here.parent / "victim")
    with pytest.raises(InputError, match="build/n: is a link"):
        make("build/n")


def victim_of(here: Path, kind: str) -> Callable[[str], None]:
    """What puts something into the place of a file of ours."""

    def put(place: str) -> None:
        if kind == "link":
            Path(place).symlink_to(here.parent / "victim/file")
        elif kind == "pipe":
            os.mkfifo(place)
        elif kind == "link to a pipe":
            os.mkfifo(here / "pipe")
            Path(place).symlink_to(here / "pipe")
        else:
            Path(place).mkdir()
            (Path(place) / "file").touch()

    return put


KINDS = ("link", "pipe", "link to a pipe", "folder")


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_is_replaced_and_never_written_through(here: Path, kind: str) -> None:
    (here / "build/m").mkdir()
    put = victim_of(here, kind)
    put("build/m/out")
    if kind == "folder":
        with pytest.raises(InputError, match="build/m/out: is a folder where an output belongs"):
            make("build/m")
        return
    make("build/m")
    assert (here / "build/m/out").read_text() == "made"
    assert not (here / "build/m/out").is_symlink()


@pytest.mark.parametrize("kind", KINDS)
def test_a_draft_that_is_something_else(here: Path, kind: str) -> None:
    (here / "build/m").mkdir()
    victim_of(here, kind)("build/m/.step.partial")
    make("build/m")
    assert (here / "build/m/out").read_text() == "made"


def test_a_draft_with_links_in_it_is_removed_and_they_are_not_followed(here: Path) -> None:
    draft = here / "build/m/.step.partial"
    draft.mkdir(parents=True)
    (draft / "deep").symlink_to(here.parent / "victim/deep")
    places.remove_tree(draft)
    assert not draft.exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", ["", ".new"])
def test_small_files_of_ours(here: Path, kind: str, suffix: str) -> None:
    put = victim_of(here, kind)
    put(f"build/.fresh{suffix}")
    snapshot = Snapshot({}, {"m": 1}, {}, {"m": ["step:m"]})
    if kind != "folder":
        assert read_snapshot("build/.fresh") is None
        write_snapshot("build/.fresh", snapshot)
        assert read_snapshot("build/.fresh") == snapshot


@pytest.mark.parametrize("suffix", places.BESIDE)
@pytest.mark.parametrize("kind", KINDS)
def test_databases(here: Path, kind: str, suffix: str) -> None:
    (here / "a.txt").write_text("text")
    digest = "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
    victim_of(here, kind)(f"{places.RECORDS}{suffix}")
    assert read_failures() == {}
    keep_texts({"a.txt": digest})
    note_failures({"step:m": "boom"}, [])
    History().save({"step:m": 1.0})
    assert (read_text_of(digest) is None) == (kind == "folder")
    assert list(read_failures()) == ([] if kind == "folder" else ["step:m"])
    assert History().expected("step:m") == (None if kind == "folder" else 1.0)


@pytest.mark.parametrize("kind", [*KINDS, "hard link"])
def test_the_lock(here: Path, kind: str) -> None:
    if kind == "hard link":
        os.link(here.parent / "victim/file", "build/.lock")
    else:
        victim_of(here, kind)("build/.lock")
    if kind == "folder":
        with pytest.raises(Exception, match="is a folder, remove it"):
            lock_workspace(Path("build/.lock"))
        return
    os.close(lock_workspace(Path("build/.lock")))


def running(name: str, content: str) -> None:
    Path("build/.running").mkdir(exist_ok=True)
    (Path("build/.running") / name).write_text(content)


def test_only_drafts_of_ours_are_cleared(here: Path) -> None:
    victim = here.parent / "victim"
    (here / "build/out").symlink_to(victim)
    strangers = [
        str(victim / ".x.partial"),
        "../victim/.x.partial",
        "build/../../victim/.x.partial",
        "build/out/.x.partial",
        "build/out/../../../victim/.x.partial",
        str(here / "build/out/.x.partial"),
        "build/out",
        "build",
        ".",
        "",
        "build/m\0/.x.partial",
    ]
    for number, content in enumerate(strangers):
        running(str(number), content)
    (here / "build/.running/link").symlink_to(victim / "file")
    os.mkfifo(here / "build/.running/pipe")
    for name in ("m/.x.partial", "n/.x.partial"):
        (here / "build" / name).mkdir(parents=True)
    (here / "build/m/out").write_text("made")
    running("ours", "build/m/.x.partial")
    running("ours too", str(here / "build/n/.x.partial"))
    running("an output", "build/m/out")
    clear_drafts()
    assert not list((here / "build").glob("[mn]/.x.partial"))
    assert (here / "build/m/out").exists()


@pytest.mark.parametrize("kind", ["link to a folder", *KINDS[:-1]])
def test_the_place_of_the_marks_is_something_else(here: Path, kind: str) -> None:
    if kind == "link to a folder":
        (here / "build/.running").symlink_to(here.parent / "victim")
    else:
        victim_of(here, kind)("build/.running")
    clear_drafts()
    make("build/m")
    assert list((here / places.RUNNING).iterdir()) == []


DODO = """
from pathlib import Path
from build_rules.engine.doit_config import DOIT_CONFIG
from build_rules.engine.running.rule import Rule

DOIT_CONFIG = {**DOIT_CONFIG, "default_tasks": ["copy"]}
COPY = Rule("copy", "steps:copy", ("errors.py",))

def task_copy():
    for name in "mn":
        yield COPY.task(name, inputs={}, outputs={"out": Path(f"build/{name}/out")}, settings={})
"""


def test_build_and_clean(here: Path) -> None:
    """By the real doit: a build folder that leads out, a model's folder that does, then one that the settings allow."""
    (here / "dodo.py").write_text(DODO)
    (here / "steps.py").write_text("def copy(*, out):\n    out.write_text('made')\n")
    victim = here.parent / "victim"
    (victim / "out").write_text(PRECIOUS)
    (here / "build/m").symlink_to(victim)
    make("build/n")
    (here / "build/n/out").write_text("made")
    for command, code in (("run", 3), ("clean", 1)):
        run = doit(here, command)
        assert (run.code, "Traceback" in run.err, "build/m: is a link" in run.err) == (code, False, True), run.err
    assert not (here / "build/n/out").exists(), "what does not lie behind the link is removed"
    assert "nothing was removed" not in run.err
    (here / "build").rename(here / "old")
    (victim / "m").mkdir()
    (victim / "m/out").write_text(PRECIOUS)
    (here / "build").symlink_to(victim)
    for arguments in (["run"], ["clean"], ["forget", "copy:m"]):
        run = doit(here, *arguments)
        assert "Traceback" not in run.err, run.err
    assert doit(here).code == 3
    assert (victim / "out").read_text() == (victim / "m/out").read_text() == PRECIOUS
    assert not (victim / ".records.db").exists()
    (here / "build").unlink()
    (here.parent / "scratch").mkdir()
    (here / "build").symlink_to(here.parent / "scratch")
    (here / "pyproject.toml").write_text("[tool.build_rules]\nlinked_build = true\n")
    assert doit(here).executed == ["copy:m", "copy:n"]
    assert doit(here).executed == []
    assert doit(here, "clean").code == 0
    assert not (here.parent / "scratch/m/out").exists()
    for name in ("out", "m/out"):
        (victim / name).unlink()
