"""E10, E11, E13, E15: inputs, targets, settings and code that change, before a run and in the middle of one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import build_rules
from tests.doit_runs import wait_until
from tests.engine.experiments.workspace import Workspace


def overwrite(path: Path) -> None:
    text = path.read_bytes()
    path.write_bytes(text[::-1] if text != text[::-1] else text + b"x")


def flip_one_bit(path: Path) -> None:
    with path.open("r+b") as stream:
        first = stream.read(1)[0]
        stream.seek(0)
        stream.write(bytes([first ^ 1]))


def replace(path: Path) -> None:
    """As editors do: a new file under the old name."""
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    other.replace(path)


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more\n")


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def link_elsewhere(path: Path) -> None:
    repository = next(place for place in path.parents if (place / "dodo.py").exists())
    elsewhere = repository / f"elsewhere-{path.name}"
    elsewhere.write_bytes(path.read_bytes()[::-1])
    path.unlink()
    path.symlink_to(elsewhere)


EDITS: dict[str, Callable[[Path], None]] = {
    "overwritten": overwrite,
    "one-bit": flip_one_bit,
    "appended": append,
    "cut-off": cut_off,
    "emptied": lambda path: os.truncate(path, 0),
    "replaced": replace,
    "linked": link_elsewhere,
    "deleted": Path.unlink,
}


def edit(path: Path, how: str, keep_times: bool) -> None:
    mark = path.stat()
    EDITS[how](path)
    if keep_times and path.exists():
        os.utime(path, ns=(mark.st_atime_ns, mark.st_mtime_ns))


@pytest.mark.parametrize("keep_times", [False, True], ids=["", "times-kept"])
@pytest.mark.parametrize("how", EDITS)
def test_a_target_edited_by_hand_is_made_again(ws: Workspace, how: str, keep_times: bool) -> None:
    """E10: in the middle, beside and at the end of the chain."""
    ws.run()
    for output, task in (("b/index", "mixed:b"), ("b/mixed.data", "mixed:b"), ("total", "total:all")):
        edit(ws.build / output, how, keep_times)
        assert ws.run().executed == [task], output
    ws.check_sound()


@pytest.mark.parametrize("how", EDITS)
def test_a_target_edited_while_others_are_built(ws: Workspace, how: str) -> None:
    """E10: in the very run that made it, before and after the steps that read it."""
    process = ws.start_until("final:b", "begin")
    edit(ws.build / "b/mixed", how, keep_times=True)
    edit(ws.build / "b/upper", how, keep_times=True)
    ws.release("final:b", "begin")
    ws.finish(process)
    ws.run()
    ws.check_sound()


def test_a_target_edited_the_moment_it_appears(ws: Workspace) -> None:
    """E10: the edit comes between the rename of an output and the reading of its fingerprint."""
    # The first output takes long to hash; meanwhile the second one stands there already.
    ws.plan("mixed:b", "end", "path.write_bytes(bytes(300_000_000))")
    process = ws.start("mixed:b")
    index = ws.build / "b/index"
    wait_until(index.exists)
    index.write_text("edited")
    ws.finish(process)
    assert index.read_text() == "edited"
    ws.release("mixed:b", "end")
    assert ws.run("mixed:b").executed == ["mixed:b"]


@pytest.mark.parametrize("keep_times", [False, True], ids=["", "times-kept"])
@pytest.mark.parametrize("point", ["begin", "read", "half", "end"])
@pytest.mark.parametrize("how", [how for how in EDITS if how != "deleted"])
def test_an_input_edited_while_its_step_runs(ws: Workspace, how: str, point: str, keep_times: bool) -> None:
    """E11: no output of the old text is taken for one of the new."""
    process = ws.start_until("upper:b", point)
    edit(ws.source("b"), how, keep_times)
    ws.release("upper:b", point)
    run = ws.finish(process)
    assert run.code == 1
    assert "in/b.txt changed while upper:b read it" in run.err
    assert not (ws.build / "b/upper").exists()
    ws.check_sound()


@pytest.mark.parametrize("point", ["begin", "read", "end"])
def test_an_input_deleted_while_its_step_runs(ws: Workspace, point: str) -> None:
    """E11: the step fails, whether or not it has read the file; with the file back, all is well."""
    process = ws.start_until("upper:b", point)
    text = ws.source("b").read_text()
    ws.source("b").unlink()
    ws.release("upper:b", point)
    assert ws.finish(process).code in (1, 2)
    assert not (ws.build / "b/upper").exists()
    ws.source("b").write_text(text)
    ws.check_sound()


def test_an_input_edited_and_restored_while_its_step_runs(ws: Workspace) -> None:
    """E11: the step has read the text in between, although it is the old one before and after."""
    process = ws.start_until("upper:b", "begin")
    text, mark = ws.source("b").read_text(), ws.source("b").stat()
    ws.source("b").write_text("in between")
    ws.plan("upper:b", "half")
    (ws.control / "upper:b.begin").unlink()
    ws.wait_for(process, "upper:b", "half")
    ws.source("b").write_text(text)
    os.utime(ws.source("b"), ns=(mark.st_atime_ns, mark.st_mtime_ns))
    ws.release("upper:b", "half")
    assert ws.finish(process).code == 1
    ws.check_sound()


@pytest.mark.parametrize("jobs", [(), ("-n", "2")], ids=["n1", "n2"])
def test_a_shared_input_edited_between_two_of_its_steps(ws: Workspace, jobs: tuple[str, ...]) -> None:
    """E11: one model is built from the old text, the others from the new one; the next run tells them apart."""
    process = ws.start_until("total:all", "begin", *jobs)
    ws.shared.write_text("for all, but later\n")
    ws.release("total:all", "begin")
    assert ws.finish(process).code == 1
    again = ws.check_sound(*jobs)
    assert set(again.executed) == {s for s in ws.steps() if not s.startswith("upper")}


@pytest.mark.parametrize("keep_size", [False, True])
def test_an_input_changed_behind_a_restored_time(ws: Workspace, keep_size: bool) -> None:
    """E13: also with a time of before, and with the time of another file."""
    ws.run()
    for number, text in enumerate(("text of B\n", "text of x\n", "Text of b\n")):
        mark = (ws.source("a") if number == 1 else ws.source("b")).stat()
        ws.source("b").write_text(text if keep_size else text * 2)
        os.utime(ws.source("b"), ns=(mark.st_atime_ns, mark.st_mtime_ns))
        assert ws.run().executed[0] == "upper:b"
    ws.check_sound()


# What the environment changes in the small chain's `dodo.py`, and the first step that has to run.
CHANGES = {
    "a setting": ({"WORD": "!"}, "upper"),
    "the version of a rule": ({"VERSION": "2"}, "upper"),
    "the version of a tool": ({"TOOL": "2"}, "mixed"),
    "the function of a rule": ({"FUNCTION": "whisper"}, "upper"),
    "the order of the inputs": ({"REVERSE": "1"}, "total"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_command_runs_again(ws: Workspace, change: str) -> None:
    """E15: there and back; nothing else runs than what depends on it."""
    environment, first = CHANGES[change]
    ws.run()
    assert not ws.run("plan", **environment).out.startswith("0 would run")
    assert ws.run(**environment).executed[0].startswith(first)
    assert ws.run("plan", **environment).out.startswith("0 would run")
    assert ws.run(**environment).executed == []
    assert ws.run().executed[0].startswith(first)
    ws.check_sound()


@pytest.mark.parametrize("how", ["edited", "edited-times-kept", "touched"])
def test_changed_code_runs_its_rules_again(ws: Workspace, how: str) -> None:
    """E15: a module of ours that a rule is made of; `final` alone is made of that one."""
    package = Path(build_rules.__file__).parent
    shutil.copytree(package, ws.folder / "library/build_rules", ignore=shutil.ignore_patterns("__pycache__"))
    library = {"PYTHONPATH": str(ws.folder / "library")}
    module = ws.folder / "library/build_rules/varint.py"
    assert ws.run(**library).code == 0
    mark = module.stat()
    if how != "touched":
        module.write_text(module.read_text() + "\n# another line\n")
    os.utime(module, None if how != "edited-times-kept" else (mark.st_atime, mark.st_mtime))
    expected = [] if how == "touched" else ["final:a", "final:b", "final:c"]
    assert sorted(ws.run(**library).executed) == expected
    assert ws.run(**library).executed == []


def test_an_input_that_is_left_out_or_added_runs_the_step(ws: Workspace) -> None:
    """E15: the fan-in loses a model and gets it back."""
    ws.run()
    text = ws.source("b").read_text()
    ws.source("b").unlink()
    assert ws.run().executed == ["total:all"]
    ws.source("b").write_text(text)
    assert ws.check_sound().executed == ["total:all"]
