"""What a failed step leaves to be looked at: there when it failed, named, and gone when it runs again."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from build_rules.engine.places import LEFTOVERS, failed_folder, is_below_build
from tests.doit_runs import Run, doit, start_doit, wait_until

STEPS = """
import os, time
from pathlib import Path
from build_rules.errors import InputError

def work(*, source, out, kept=None):
    text = source.read_text()
    if kept is not None:
        Path("asked").write_text(str(kept.exists()))
        if "leave" in text:
            kept.mkdir()
            (kept / "allocator.log").write_text("no luck")
    if "wait" in text:
        Path("waiting").touch()
        time.sleep(60)
    if "say" in text:
        raise InputError(f"it failed; see {kept}/allocator.log.", "a line to paste")
    if "fail" in text:
        raise InputError("it failed.", "a line to paste")
    if "die" in text:
        os._exit(7)
    out.write_text(text)
"""
DODO = """
from pathlib import Path
from build_rules.engine.doit_config import DOIT_CONFIG
from build_rules.engine.running.rule import Rule
DOIT_CONFIG = {**DOIT_CONFIG, "default_tasks": ["work"]}
WORK = Rule("work", "steps:work", ("errors.py",))

def task_work():
    yield WORK.task("team/a:x", inputs={"source": Path("in")}, outputs={"out": Path("build/a/out")}, settings={},
                    keeps=KEEPS, own_process=OWN)
"""
NAME = "work:team/a:x"


@pytest.fixture(params=[True, False], ids=["own process", "in doit"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "dodo.py").write_text(DODO.replace("OWN", str(request.param)).replace("KEEPS", "True"))
    return tmp_path


def build(folder: Path, text: str, *arguments: str) -> Run:
    (folder / "in").write_text(text)
    return doit(folder, *arguments)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / failed_folder(NAME)).glob("*"))


def test_the_place_has_a_name_for_any_file_system() -> None:
    assert re.fullmatch(r"build/\.failed/work-team-a-x-[0-9a-f]{8}", str(failed_folder(NAME)))
    names = ["har:a/b", "har:a:b", "har:A:b", "har:\udcff", "..", "/", "", "x" * 5000, "har:\n\x1b[2J"]
    places = {failed_folder(name) for name in names}
    assert len(places) == len(names)
    for place in places:
        assert (str(place.parent), is_below_build(place), place.name.isprintable()) == (LEFTOVERS, True, True)
        assert len(place.name) < 200
        assert not place.name.startswith(".")


def test_it_is_there_and_named_only_when_the_step_fails(folder: Path) -> None:
    assert build(folder, "leave").code == 0
    assert left(folder) == []
    run = build(folder, "leave fail")
    assert (run.code, left(folder)) == (3, ["allocator.log"])
    place = failed_folder(NAME)
    assert run.err.splitlines()[:3] == [
        f"ERROR in {NAME}: it failed.",
        "a line to paste",
        f"What the step left is in {place}/, until it runs again.",
    ]
    run = build(folder, "fail")
    assert ("What the step left" in run.err, left(folder)) == (False, [])
    assert (folder / "asked").read_text() == "False", "what was there is gone when the step begins"


def test_who_names_it_is_not_repeated(folder: Path) -> None:
    run = build(folder, "leave say")
    assert run.err.count(str(failed_folder(NAME))) == 1


def test_a_step_that_dies_leaves_it_too(folder: Path) -> None:
    if "own_process=True" in (folder / "dodo.py").read_text():
        run = build(folder, "leave die")
        assert (run.code, str(failed_folder(NAME)) in run.err) == (2, True)


def test_it_decides_nothing(folder: Path) -> None:
    assert build(folder, "leave fail").code == 3
    assert build(folder, "fine").code == 0
    assert left(folder) == []
    dodo = (folder / "dodo.py").read_text()
    (folder / "dodo.py").write_text(dodo.replace("keeps=True", "keeps=False"))
    assert doit(folder).executed == []


def test_it_goes_with_the_outputs(folder: Path) -> None:
    assert build(folder, "leave fail").code == 3
    place = failed_folder(NAME)
    run = doit(folder, "clean", "-n")
    assert (f"{NAME} - removing dir '{place}'" in run.out, left(folder)) == (True, ["allocator.log"])
    run = doit(folder, "clean")
    assert (run.code, f"{NAME} - removing dir '{place}'" in run.out) == (0, True)
    assert not (folder / LEFTOVERS).exists()
    assert "removing" not in doit(folder, "clean").out


@pytest.mark.parametrize("place", [LEFTOVERS, str(failed_folder(NAME))])
def test_no_link_is_followed(folder: Path, place: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    victim = tmp_path_factory.mktemp("victim")
    (victim / "mine").touch()
    (victim / failed_folder(NAME).name).mkdir()
    (victim / failed_folder(NAME).name / "mine").touch()
    (folder / place).parent.mkdir(parents=True)
    (folder / place).symlink_to(victim)
    assert doit(folder, "clean").code == 0
    run = build(folder, "leave fail")
    assert run.code == 3
    assert ("is a link to" in run.err) == (place == LEFTOVERS)
    assert sorted(path.name for path in victim.rglob("*")) == ["mine", "mine", failed_folder(NAME).name]


def test_what_a_killed_run_left_is_gone_with_the_next(folder: Path) -> None:
    (folder / "in").write_text("leave wait")
    process = start_doit(folder)
    wait_until(lambda: (folder / "waiting").exists())
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert left(folder) == ["allocator.log"]
    assert build(folder, "fine").code == 0
    assert left(folder) == []
