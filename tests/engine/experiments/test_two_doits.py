"""E8: two doits at once, other commands beside a build, and `build/` somewhere else."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.doit_runs import wait_until
from tests.engine.experiments.workspace import Workspace

JOBS = pytest.mark.parametrize("jobs", [(), ("-n", "2")], ids=["n1", "n2"])


@JOBS
def test_five_doits_at_once_build_everything_once(ws: Workspace, jobs: tuple[str, ...]) -> None:
    """E8: all succeed, no step runs twice, the records are those of one."""
    started = [ws.start(*jobs) for _ in range(5)]
    runs = [ws.finish(process) for process in started]
    assert [run.code for run in runs] == [0] * 5
    assert sorted(step for run in runs for step in run.executed) == ws.steps()
    assert set(ws.log("end").values()) == {1}
    ws.check_sound()


def test_two_doits_with_models_of_their_own(ws: Workspace) -> None:
    """E8: the second one waits, says for whom, and both are done right."""
    first = ws.start_until("mixed:a", "half", "final:a")
    second = ws.start("final:b")
    assert second.stderr is not None
    assert second.stderr.readline() == f"waiting for the doit that is building here (process {first.pid})\n"
    ws.release("mixed:a", "half")
    assert ws.finish(first).executed == ["upper:a", "mixed:a", "final:a"]
    assert ws.finish(second).executed == ["upper:b", "mixed:b", "final:b"]
    assert sorted(ws.check_sound().executed) == ["final:c", "mixed:c", "total:all", "upper:c"]


def test_clean_waits_for_a_build(ws: Workspace) -> None:
    """E8: nothing is removed under a build that is going on; a dry run removes nothing and waits for nobody."""
    assert ws.run().code == 0
    ws.source("b").write_text("other text of b\n")
    first = ws.start_until("mixed:b", "half")
    assert ws.run("clean", "-n", "-a").code == 0
    second = ws.start("clean", "-a")
    assert second.stderr is not None
    assert second.stderr.readline() == f"waiting for the doit that is building here (process {first.pid})\n"
    assert (ws.build / "a" / "final").exists()
    ws.release("mixed:b", "half")
    assert ws.finish(first).code == 0
    assert ws.finish(second).code == 0
    assert not (ws.build / "a" / "final").exists()
    assert not (ws.build / "total").exists()


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_the_second_goes_on_when_the_first_is_killed(ws: Workspace, kind: signal.Signals) -> None:
    """E8: nobody waits for the dead; what the first had finished is not done again."""
    first = ws.start_until("mixed:b", "half")
    second = ws.start()
    assert second.stderr is not None
    second.stderr.readline()
    finished = ws.recorded()
    ws.release("mixed:b", "half") if kind == signal.SIGKILL else None
    first.send_signal(kind)
    ws.finish(first)
    (ws.control / "mixed:b.half").unlink(missing_ok=True)
    run = ws.finish(second)
    assert run.code == 0
    assert not finished & set(run.executed)
    ws.check_sound()


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_doit_that_waits_can_be_interrupted(ws: Workspace, kind: signal.Signals) -> None:
    """E6, E8: Ctrl-C while waiting for another doit ends the one that waits, and disturbs nobody."""
    first = ws.start_until("mixed:b", "half")
    second = ws.start()
    assert second.stderr is not None
    second.stderr.readline()
    second.send_signal(kind)
    assert second.wait(10) == 130
    ws.release("mixed:b", "half")
    assert ws.finish(first).code == 0
    ws.check_sound()


def test_the_one_that_waited_sees_what_changed_meanwhile(ws: Workspace) -> None:
    """E8: a model is added and an input is edited while the second one waits."""
    first = ws.start_until("total:all", "half")
    second = ws.start()
    assert second.stderr is not None
    second.stderr.readline()
    ws.source("d").write_text("text of d\n")
    ws.source("a").write_text("other text of a\n")
    ws.models = (*ws.models, "d")
    ws.release("total:all", "half")
    assert ws.finish(first).code == 0
    again = {f"{kind}:{model}" for kind in ("upper", "mixed", "final") for model in "ad"}
    assert set(ws.finish(second).executed) == again | {"total:all"}
    ws.check_sound()


@JOBS
@pytest.mark.parametrize(
    "command",
    [("forget", "--all"), ("forget", "upper:a"), ("list", "--all", "--status"), ("info", "total:all")],
)
def test_another_command_beside_a_build(ws: Workspace, command: tuple[str, ...], jobs: tuple[str, ...]) -> None:
    """E8: forgetting in the middle of a build may cost work, never a wrong file."""
    process = ws.start_until("final:b", "half", *jobs)
    ws.run(*command)
    ws.release("final:b", "half")
    assert ws.finish(process).code in (0, 1, 2)
    assert ws.run(*jobs).code == 0
    ws.check_sound(*jobs)


@JOBS
@pytest.mark.parametrize("point", ["begin", "half", "end"])
def test_the_build_folder_goes_away_meanwhile(ws: Workspace, point: str, jobs: tuple[str, ...]) -> None:
    """E8: `rm -rf build` in the middle of a build, even with a second doit that starts right then."""
    first = ws.hold_alone("mixed:b", point, *jobs)
    shutil.rmtree(ws.build)
    second = ws.start("upper:a")
    wait_until(lambda: (ws.build / "a/upper").exists() or second.poll() is not None)
    ws.release("mixed:b", point)
    ws.finish(second)
    run = ws.finish(first)
    assert "Traceback" not in run.err
    assert ws.run(*jobs).code == 0
    ws.check_sound(*jobs)


@JOBS
def test_a_symlinked_build_folder(ws: Workspace, tmp_path: Path, jobs: tuple[str, ...]) -> None:
    """`build/` is a link to another place: kills, the lock and the records work there as here."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ws.allow_linked_build()
    ws.build.symlink_to(elsewhere)
    first = ws.start_until("mixed:b", "half", *jobs)
    other = Workspace(tmp_path / "other")
    other.allow_linked_build()
    other.build.symlink_to(elsewhere)
    second = other.start("upper:a")
    assert second.stderr is not None
    assert f"process {first.pid}" in second.stderr.readline()
    first.kill()
    ws.finish(first)
    assert other.finish(second).code == 0
    other.close()
    ws.release("mixed:b", "half")
    ws.check_sound(*jobs)
    assert ws.build.is_symlink()


def test_a_build_folder_that_is_moved(ws: Workspace, tmp_path: Path) -> None:
    """Moved to another place and linked back, nothing is built again."""
    ws.allow_linked_build()
    ws.run()
    ws.build.rename(tmp_path / "moved")
    ws.build.symlink_to(tmp_path / "moved")
    assert ws.check_sound().executed == []


def test_a_link_to_nowhere(ws: Workspace, tmp_path: Path) -> None:
    """`build/` links to a disk that is not there: that is told, and nothing is made in its place."""
    ws.allow_linked_build()
    ws.build.symlink_to(tmp_path / "nowhere")
    run = ws.run()
    assert run.code == 3
    assert "build" in run.err
    assert "Traceback" not in run.err
    assert not (tmp_path / "nowhere").exists()
