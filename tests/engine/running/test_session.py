"""A run takes the workspace and lets go of it, whatever reporter tells of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from doit.exceptions import InvalidCommand

from build_rules.engine import messages
from build_rules.engine.freshness.current_run import current_run
from build_rules.engine.interrupt import on_interrupt
from build_rules.engine.lock import UnwritableError
from build_rules.engine.memory.durations import History
from build_rules.engine.memory.failures import read_failures
from build_rules.engine.running import session as room
from build_rules.engine.running.failure import WrongInput
from build_rules.engine.running.rule import Rule
from build_rules.engine.running.run_state import RunState
from build_rules.engine.running.session import Session
from build_rules.exit_codes import DONE, FAILED, UNEXPECTED, WRONG_INPUT
from tests.doit_runs import doit, start_doit, wait_until

STEPS = """
import time
from pathlib import Path

def write(*, source, copy):
    copy.write_text("half")
    Path("writing").touch()
    while "slow" in source.read_text() and not Path("go").exists():
        time.sleep(0.01)
    if "broken" in source.read_text():
        raise RuntimeError("boom")
    copy.write_text(source.read_text())
"""

DODO = """
from pathlib import Path
from build_rules.engine.doit_config import DOIT_CONFIG
from build_rules.engine.running.rule import Rule

DOIT_CONFIG = {**DOIT_CONFIG, "default_tasks": ["write"]}
WRITE = Rule("write", "steps:write", ("errors.py",))

def task_write():
    yield WRITE.task("a", inputs={"source": Path("source")}, outputs={"copy": Path("build/a/copy")}, settings={})
"""

REPORTERS = ("zero", "json", "events")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "dodo.py").write_text(DODO)
    (tmp_path / "source").write_text("text")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("reporter", ["zero", "events"])
def test_another_reporter_waits_for_the_workspace(here: Path, reporter: str) -> None:
    (here / "source").write_text("slow")
    first = start_doit(here, "-r", "json")
    wait_until((here / "writing").exists)
    second = start_doit(here, "-r", reporter)
    assert second.stderr is not None
    assert second.stderr.readline() == f"waiting for the doit that is building here (process {first.pid})\n"
    (here / "go").touch()
    assert [process.communicate(timeout=20)[1] for process in (first, second)] == ["", ""]
    assert (first.returncode, second.returncode) == (0, 0)


@pytest.mark.parametrize("reporter", REPORTERS)
def test_an_interrupt_leaves_nothing_behind(here: Path, reporter: str) -> None:
    (here / "source").write_text("slow")
    run = start_doit(here, "-r", reporter)
    wait_until((here / "writing").exists)
    run.send_signal(signal.SIGTERM)
    assert "Traceback" not in run.communicate(timeout=20)[1]
    assert run.returncode == 130
    assert [path.name for path in (here / "build/a").iterdir()] == []


def test_drafts_are_cleared_and_the_snapshot_is_written(here: Path) -> None:
    (here / "source").write_text("slow")
    run = start_doit(here, "-r", "zero")
    wait_until((here / "writing").exists)
    run.kill()
    run.communicate()
    assert list(here.rglob("*.partial"))
    (here / "source").write_text("other")
    assert doit(here, "-r", "zero").code == 0
    assert not list(here.rglob("*.partial"))
    assert (here / "build/a/copy").read_text() == "other"
    assert doit(here).executed == []


def test_a_reporter_of_ours_has_its_own_exit_code_and_others_that_of_doit(here: Path) -> None:
    (here / "source").write_text("broken")
    assert [doit(here, "-r", reporter).code for reporter in ("zero", "events")] == [2, 2]
    assert list(read_failures()) == ["write:a"]
    assert doit(here, "nothing:*", "-r", "zero").code == 3


@pytest.mark.parametrize("reporter", REPORTERS)
def test_a_failure_is_forgotten_whatever_reporter_tells(here: Path, reporter: str) -> None:
    (here / "source").write_text("broken")
    assert doit(here, "-r", "events").code == 2
    (here / "source").write_text("mended")
    assert doit(here, "-r", reporter).code == 0
    assert read_failures() == {}


def test_no_step_runs_where_this_user_cannot_build(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = Rule("write", "steps:write", ("errors.py",))
    task = rule.task("a", inputs={"source": Path("source")}, outputs={"copy": Path("build/a/copy")}, settings={})
    monkeypatch.setattr(room.session, "unwritable", UnwritableError("nothing can be built here: no."))
    (action,) = task["actions"]
    failure = action()
    assert isinstance(failure, WrongInput)
    assert failure.get_msg().strip() == "nothing can be built here: no."
    assert not Path("build").exists()


class Teller:
    def __init__(self) -> None:
        self.told: list[str] = []

    def report_cached(self, task_name: str) -> None:
        self.told.append(f"{task_name} cached")

    def report_speaker(self, task_name: str) -> None: ...

    def report_waits(self, task_name: str, reason: str) -> None: ...

    def report_began(self, task_name: str) -> None: ...

    def report_progress(self, text: str) -> None: ...

    def report_warning(self, task_name: str, text: str) -> None: ...

    def report_interrupt(self) -> None:
        self.told.append("interrupted")


@pytest.fixture
def session(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setattr(room, "end_on_interrupt", lambda: None)
    monkeypatch.setattr(current_run, "building", False)
    yield Session()
    assert on_interrupt.calls == []


def test_what_became_of_a_run_is_remembered_at_its_end_and_once(session: Session) -> None:
    session.begin()
    assert current_run.building
    session.state.start("write:a", 0.0)
    session.state.done("write:a", 1.5)
    session.state.failure("write:b", "boom", 2.0)
    session.end(is_whole=True)
    assert History().expected("write:a") == 1.5
    assert list(read_failures()) == ["write:b"]
    session.state.failure("write:c", "boom", 2.0)
    session.end(is_whole=True)
    assert list(read_failures()) == ["write:b"]


def test_of_a_run_that_was_broken_off_no_failure_is_noted(session: Session) -> None:
    session.begin()
    session.state.failure("write:b", "boom", 2.0)
    session.end(is_whole=False)
    assert read_failures() == {}


def test_what_never_began_needs_no_end(session: Session) -> None:
    assert session.end(is_whole=True) == ""
    assert not Path("build").exists()


def test_a_reporter_is_told_until_the_end(session: Session) -> None:
    session.begin()
    teller = Teller()
    session.tell(teller)
    session.state.start("write:a", 0.0)
    session.state.done("write:a", 1.5)
    messages.cached("a")
    for call in tuple(on_interrupt.calls):
        call()
    assert teller.told == ["a cached", "interrupted"]
    assert History().expected("write:a") == 1.5
    session.end(is_whole=True)
    messages.cached("b")
    assert teller.told == ["a cached", "interrupted"]


def test_a_workspace_in_which_nobody_can_build_is_refused(session: Session) -> None:
    Path("build").write_text("in the way")
    with pytest.raises(InvalidCommand, match="cannot be written"):
        session.begin()
    assert session.end(is_whole=True) == ""


def state(**facts: bool) -> RunState:
    found = RunState(0.0)
    for name, value in facts.items():
        setattr(found, name, value)
    return found


def test_the_exit_code_of_a_run() -> None:
    assert state().exit_code == DONE
    assert state(failed=True).exit_code == FAILED
    assert state(failed=True, unexpected=True).exit_code == UNEXPECTED
    assert state(failed=True, unexpected=True, wrong_input=True).exit_code == WRONG_INPUT
    assert state(wrong_input=True, aborted=True).exit_code == UNEXPECTED
    assert state(aborted=True, refused=True).exit_code == WRONG_INPUT


def test_what_doit_says_counts_where_no_reporter_of_ours_has_kept_the_state(session: Session) -> None:
    assert session.exit_code(2) == 2
    session.tell(Teller())
    session.tell_no_more()
    assert session.exit_code(2) == DONE
