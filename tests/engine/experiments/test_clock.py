"""Times that lie: clocks that jump, and edits closer together than the file system can tell."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from build_rules.engine.freshness.fingerprint import fingerprint, is_unchanged
from build_rules.engine.running.failure import InputChangedError
from build_rules.engine.running.publish import produce
from tests.engine.experiments.workspace import Workspace
from tests.profiles import EXPERIMENTS

TIMES = {"1970": 0, "past": 10**18, "future": int(4e18), "next second": 0}


@pytest.mark.parametrize("when", TIMES)
def test_times_alone_run_nothing_and_hide_nothing(ws: Workspace, when: str) -> None:
    """A clock that jumps: every file, the records and the lock as well, has a time far off; then an input changes."""
    ws.run()
    at = time.time_ns() + 10**9 if when == "next second" else TIMES[when]
    files = [path for path in ws.folder.rglob("*") if path.is_file()]
    for path in files:
        os.utime(path, ns=(at, at))
    assert ws.run().executed == []
    ws.source("b").write_text("text of B\n")
    os.utime(ws.source("b"), ns=(at, at))
    assert ws.run().executed == ["upper:b"]  # the output of which is the same
    ws.source("b").write_text("text of x\n")
    os.utime(ws.source("b"), ns=(at, at))
    assert ws.check_sound().executed == ["upper:b", "mixed:b", "final:b", "total:all"]


@pytest.mark.parametrize("jump", [-10_000, 10_000])
def test_an_input_older_or_newer_than_its_output(ws: Workspace, jump: int) -> None:
    """A clock that jumps between an edit and the build, either way."""
    ws.run()
    ws.source("b").write_text("text of x\n")
    at = time.time() + jump
    os.utime(ws.source("b"), (at, at))
    assert ws.check_sound().executed == ["upper:b", "mixed:b", "final:b", "total:all"]


def test_edits_right_after_a_build(ws: Workspace) -> None:
    """Written, built, rewritten at once with a text of equal size: each one is noticed, of fifty in a full run."""
    for round_number in range(50 if EXPERIMENTS else 8):
        ws.source("b").write_text(f"text {round_number:04}\n")
        assert ws.run("upper:b").executed == ["upper:b"], round_number
        ws.source("b").write_text(f"rewritten {round_number:04}\n"[-10:])
        run = ws.run("upper:b")
        assert run.executed == ["upper:b"], round_number
        assert (ws.build / "b/upper").read_text() == ws.source("b").read_text().upper(), round_number


@pytest.fixture(params=["here", "coarse"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder on this file system, and one where times move with the kernel's tick (1 to 10 ms)."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "here":
        yield folder
        return
    # Since Linux 6.13 the usual file systems tell times apart that have been looked at; ramfs does as all did before.
    if subprocess.run(["mount", "-t", "ramfs", "ramfs", folder], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_an_edit_within_one_tick_of_the_fingerprint(disk: Path) -> None:
    """The file is written, its fingerprint is read, the file is rewritten with equal size, all within a tick."""
    path = disk / "input"
    for number in range(200):
        path.write_text(f"{number:04}")
        known = fingerprint(path)
        path.write_text(f"{number + 5000:04}")
        assert not is_unchanged(path, known), number


def test_an_edit_within_one_tick_while_the_step_runs(disk: Path) -> None:
    """E11 within a tick: the text that the step has read is either the recorded one, or the step fails."""
    source, output = disk / "input", disk / "output"

    def step(*, source: Path, output: Path) -> None:
        source.write_text(source.read_text()[::-1])
        output.write_text(source.read_text())

    for number in range(100):
        source.write_text(f"{number:04}x")
        with pytest.raises(InputChangedError):
            produce("step", step, {"source": source}, {"output": output}, {})
