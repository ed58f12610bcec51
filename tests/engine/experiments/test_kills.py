"""E1, E3, E4, E6, E12, E12c: whatever ends doit, whenever it does, the next run makes good."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.doit_runs import wait_until
from tests.engine.experiments.workspace import Workspace
from tests.profiles import EXPERIMENTS, sampled

KILL, TERM, INT, HUP = signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP
# Ctrl-C and SIGTERM are answered, the others end the process where it stands.
CODES = {KILL: -KILL, TERM: 130, INT: 130, HUP: -HUP}
PROMPT = 5.0
JOBS = pytest.mark.parametrize("jobs", [(), ("-n", "2")], ids=["n1", "n2"])
TOOL = """
import pathlib, subprocess
tool = subprocess.Popen(["sleep", "50"])
pathlib.Path("control/tool").write_text(str(tool.pid))
tool.wait()
raise RuntimeError(f"the tool ended with {tool.returncode}")
"""


@JOBS
@pytest.mark.parametrize("point", ["begin", "half", "end"])
@pytest.mark.parametrize("kind", CODES)
def test_what_was_finished_before_a_kill_is_not_done_again(
    ws: Workspace, kind: signal.Signals, point: str, jobs: tuple[str, ...]
) -> None:
    """E1, E6: any signal in the middle of a first build costs the step that ran, and nothing else."""
    process = ws.hold_alone("mixed:b", point, *jobs)
    finished = ws.recorded()
    start = time.monotonic()
    process.send_signal(kind)
    run = ws.finish(process)
    assert time.monotonic() - start < PROMPT
    assert run.code == CODES[kind]
    assert "Traceback" not in run.err
    wait_until(lambda: ws.processes() == [], PROMPT)
    assert not (ws.build / "b/mixed").exists()
    assert (ws.partials() == []) == (CODES[kind] == 130)
    ws.release("mixed:b", point)
    again = ws.check_sound(*jobs)
    assert sorted(again.executed) == sorted(set(ws.steps()) - finished)


@JOBS
def test_two_kills_cost_two_steps(ws: Workspace, jobs: tuple[str, ...]) -> None:
    """E1: killed, resumed, killed again later, resumed."""
    first = ws.hold_alone("upper:a", "half", *jobs)
    first.kill()
    first.wait()
    ws.release("upper:a", "half")
    second = ws.start_until("total:all", "half", *jobs)
    second.kill()
    second.wait()
    ws.release("total:all", "half")
    finished = ws.recorded()
    assert sorted(ws.check_sound(*jobs).executed) == sorted(set(ws.steps()) - finished)
    assert max(ws.log("end").values()) == 1


@pytest.mark.parametrize("kind", [KILL, TERM])
@pytest.mark.parametrize("point", ["half", "end"])
def test_an_input_restored_after_a_kill_finds_the_old_output(ws: Workspace, point: str, kind: signal.Signals) -> None:
    """E3: built, input changed, killed in a step, input restored: the half-written file is never used."""
    ws.run()
    before = ws.outputs()
    mark, text = ws.source("b").stat(), ws.source("b").read_text()
    ws.source("b").write_text("other text\n")
    assert ws.kill_at("upper:b", point, kind=kind).code == CODES[kind]
    ws.source("b").write_text(text)
    os.utime(ws.source("b"), ns=(mark.st_atime_ns, mark.st_mtime_ns))
    again = ws.run()
    assert (again.code, again.executed) == (0, [])
    assert ws.outputs() == before


def test_an_input_restored_behind_a_finished_step_runs_it_again(ws: Workspace) -> None:
    """E3: the kill comes one step later, so that a whole file of the other input stands there."""
    ws.run()
    before, text = ws.outputs(), ws.source("b").read_text()
    ws.source("b").write_text("other text\n")
    ws.kill_at("mixed:b", "half")
    ws.source("b").write_text(text)
    # What `upper:b` makes again is what the rest was built from before.
    assert ws.run().executed == ["upper:b"]
    assert ws.outputs() == before
    assert ws.run().executed == []


@pytest.mark.parametrize("output", ["b/mixed", "b/index", "b/mixed.data", "total"])
@pytest.mark.parametrize("point", ["half", "end"])
def test_a_deleted_target_killed_while_rebuilt_is_made_whole(ws: Workspace, output: str, point: str) -> None:
    """E4: built, target deleted, killed while it is rebuilt: the partial file is not accepted."""
    task = "total:all" if output == "total" else "mixed:b"
    ws.run()
    (ws.build / output).unlink()
    ws.kill_at(task, point)
    assert not (ws.build / output).exists()
    assert ws.check_sound().executed == [task]


def changes_of_a_rebuild(ws: Workspace) -> int:
    """Build, then count what the engine changes on the disk when one input is another."""
    ws.run()
    ws.source("a").write_text("other text of a\n")
    ws.run(CRASH_AT="0")
    return len((ws.control / "changes").read_text().split())


@pytest.mark.parametrize("restored", [False, True])
def test_a_kill_between_any_two_changes_of_the_engine(tmp_path: Path, restored: bool) -> None:
    """E1, E3, E4: killed before each rename, flush, removal and record of a rebuild (a third of them in a
    plain run), with and without a way back."""
    model = Workspace(tmp_path / "model", models=("a",))
    count = changes_of_a_rebuild(model)
    assert count > 20
    other = model.outputs()
    model.source("a").write_text("text of a\n")
    model.run()
    first = model.outputs()
    for moment in sampled(range(1, count + 1), 9, EXPERIMENTS):
        ws = Workspace(tmp_path / f"{moment}", models=("a",))
        # Copies have other marks, but the recorded content.
        shutil.copytree(model.build, ws.build)
        ws.source("a").write_text("other text of a\n")
        assert ws.run(CRASH_AT=str(moment)).code == -KILL, moment
        if restored:
            ws.source("a").write_text("text of a\n")
        assert ws.run().code == 0, moment
        assert ws.outputs() == (first if restored else other), moment
        assert ws.run().executed == [], moment
        assert ws.partials() == [], moment


@pytest.mark.parametrize("way", ["restored", "removed"])
def test_a_draft_of_a_step_that_never_runs_again_is_cleared_away(ws: Workspace, way: str) -> None:
    """E3: no temporary file is left behind by the next run that succeeds, whether or not that step runs in it."""
    ws.run()
    text = ws.source("b").read_text()
    ws.source("b").write_text("other text\n")
    ws.kill_at("upper:b", "half")
    if way == "removed":
        ws.source("b").unlink()
    else:
        ws.source("b").write_text(text)
    assert ws.run().code == 0
    assert ws.partials() == []


@JOBS
def test_a_step_that_crashes_the_process(ws: Workspace, jobs: tuple[str, ...]) -> None:
    """E12: a segmentation fault in a library is like a kill, and in a parallel run only that step's failure."""
    ws.plan("mixed:b", "half", "import os; os.kill(os.getpid(), 11)")
    run = ws.run("--continue", *jobs)
    assert run.code == (2 if jobs else -signal.SIGSEGV)
    assert ("ended with signal 11 before the step did" in run.err) == bool(jobs)
    finished = ws.recorded()
    assert not jobs or finished >= ws.steps_outside("mixed:b")
    ws.release("mixed:b", "half")
    assert sorted(ws.check_sound(*jobs).executed) == sorted(set(ws.steps()) - finished)


def test_a_killed_worker_fails_its_step_alone(ws: Workspace) -> None:
    """E12: the process of one step is killed (out of memory); nothing hangs, the other steps go on."""
    ws.plan("mixed:b", "half", "import os; open('control/pid', 'w').write(str(os.getpid())); hold()")
    process = ws.start("--continue", "-n", "2")
    worker = ws.control / "pid"
    wait_until(lambda: worker.exists() and worker.read_text() != "")
    assert int(worker.read_text()) != process.pid
    os.kill(int(worker.read_text()), KILL)
    run = ws.finish(process)
    assert run.code == 2
    assert "the step was killed" in run.err
    assert ws.processes() == []
    assert ws.partials() == []
    assert ws.recorded() >= ws.steps_outside("mixed:b")
    ws.release("mixed:b", "half")
    assert sorted(ws.check_sound("-n", "2").executed) == ["final:b", "mixed:b", "total:all"]


def test_a_killed_doit_leaves_no_orphan(ws: Workspace) -> None:
    """E12c: workers end with the doit that they work for, even in the middle of a step."""
    process = ws.hold_alone("mixed:b", "half", "-n", "2")
    assert len(ws.processes()) == 2
    process.kill()
    ws.finish(process)
    wait_until(lambda: ws.processes() == [], PROMPT)
    # Nothing goes on behind the back of the next run.
    ws.release("mixed:b", "half")
    ws.check_sound("-n", "2")
    assert ws.log("end")[next(key for key in ws.log("end") if key[0] == "mixed:b")] == 1


@JOBS
def test_a_killed_tool_fails_its_step_alone(ws: Workspace, jobs: tuple[str, ...]) -> None:
    """E12: the tool that a step waits for is killed (out of memory); the run goes on and says so."""
    ws.plan("mixed:b", "half", TOOL)
    process = ws.start("--continue", *jobs)
    tool = ws.control / "tool"
    wait_until(lambda: tool.exists() and tool.read_text() != "")
    os.kill(int(tool.read_text()), KILL)
    run = ws.finish(process)
    assert run.code == 2
    assert "ERROR in mixed:b: unexpected RuntimeError: the tool ended with -9" in run.err
    assert ws.recorded() >= ws.steps_outside("mixed:b")
    ws.release("mixed:b", "half")
    assert sorted(ws.check_sound(*jobs).executed) == ["final:b", "mixed:b", "total:all"]


@JOBS
@pytest.mark.parametrize("kind", [INT, KILL, TERM])
def test_tools_end_with_doit(ws: Workspace, kind: signal.Signals, jobs: tuple[str, ...]) -> None:
    """E12c: a tool that a step has started does not outlive doit, once the step is declared to start programs."""
    ws.plan("mixed:b", "half", TOOL)
    process = ws.start(*jobs, STARTS="mixed")
    wait_until((ws.control / "tool").exists)
    process.send_signal(kind)
    process.wait(PROMPT)
    wait_until(lambda: ws.processes() == [], PROMPT)


@JOBS
@pytest.mark.parametrize("kind", [INT, TERM])
def test_an_interrupt_does_not_wait_for_native_code(ws: Workspace, kind: signal.Signals, jobs: tuple[str, ...]) -> None:
    """E6: Ctrl-C ends a step that is inside one long call of a library, where no line of Python is reached."""
    ws.plan("mixed:b", "half", "import hashlib; hashlib.pbkdf2_hmac('sha256', b'x', b'y', 40_000_000)")
    process = ws.start(*jobs)
    ws.wait_for(process, "mixed:b", "half")
    start = time.monotonic()
    process.send_signal(kind)
    run = ws.finish(process)
    assert time.monotonic() - start < PROMPT
    assert run.code == 130
    assert ws.partials() == []


FILL_STDOUT = """
import os
os.set_blocking(1, False)
try:
    while True:
        os.write(1, b"x" * 4096)
except BlockingIOError:
    os.set_blocking(1, True)
"""


@JOBS
@pytest.mark.parametrize("kind", [INT, TERM])
def test_an_interrupt_does_not_wait_for_a_reader(ws: Workspace, kind: signal.Signals, jobs: tuple[str, ...]) -> None:
    """E6: `doit | less`, the pipe is full and nobody reads; the run ends all the same."""
    ws.plan("mixed:b", "half", FILL_STDOUT)
    process = ws.start(*jobs)
    wait_until(lambda: is_writing(process.pid))
    start = time.monotonic()
    process.send_signal(kind)
    assert process.wait(timeout=PROMPT) == 130
    assert time.monotonic() - start < PROMPT
    ws.finish(process)
    ws.release("mixed:b", "half")
    ws.check_sound(*jobs)


def is_writing(pid: int) -> bool:
    """Say whether a thread of a process is stuck in writing to a pipe: what steps side by side print has its own."""
    with suppress(OSError):
        waits = [(thread / "wchan").read_text() for thread in Path(f"/proc/{pid}/task").iterdir()]
        return any("pipe" in wait and "write" in wait for wait in waits)
    return False


@JOBS
def test_a_reader_that_goes_away_spoils_nothing(ws: Workspace, jobs: tuple[str, ...]) -> None:
    """E6: `doit | head -1`: nobody reads any more, and the build is made all the same."""
    process = ws.hold_alone("mixed:b", "half", *jobs)
    assert process.stdout is not None
    process.stdout.close()
    ws.release("mixed:b", "half")
    assert process.stderr is not None
    told = process.stderr.read()
    assert process.wait(timeout=30) == 0, told
    assert ws.check_sound(*jobs).executed == []
