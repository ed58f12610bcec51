"""E7, E7b: steps that fail, full disks, folders that cannot be written: nothing partial stays, nothing is lost."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.doit_runs import Run
from tests.engine.experiments.workspace import MARK, Workspace

FAILURES = {
    "error": ("raise RuntimeError('boom')", 2, "unexpected RuntimeError: boom"),
    "input": ("from build_rules.errors import InputError; raise InputError('it is wrong')", 3, "it is wrong"),
    "memory": ("raise MemoryError('too large')", 2, "MemoryError"),
    "os": ("open('/nowhere/at/all')", 2, "FileNotFoundError"),
}
JOBS = pytest.mark.parametrize("jobs", [(), ("-n", "2")], ids=["n1", "n2"])


@JOBS
@pytest.mark.parametrize("point", ["begin", "half", "end"])
@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_leaves_nothing_partial(ws: Workspace, kind: str, point: str, jobs: tuple[str, ...]) -> None:
    """E7: the first build fails in one step; the others go on, and that one is tried again."""
    code, exit_code, told = FAILURES[kind]
    ws.plan("mixed:b", point, code)
    run = ws.run("--continue", *jobs)
    assert run.code == exit_code
    assert told in run.err
    assert "Traceback" not in run.err
    assert not any((ws.build / "b" / name).exists() for name in ("mixed", "mixed.data", "index"))
    assert ws.partials() == []
    again = ws.run("--continue", *jobs)
    assert (again.code, again.executed) == (exit_code, ["mixed:b"])
    ws.release("mixed:b", point)
    assert sorted(ws.check_sound(*jobs).executed) == ["final:b", "mixed:b", "total:all"]


def test_a_failed_rebuild_keeps_the_old_file_and_does_not_trust_it(ws: Workspace) -> None:
    """E7: built, input changed, the step fails: the old output stands, and counts as stale."""
    ws.run()
    before = ws.outputs()
    ws.source("b").write_text("other text\n")
    ws.plan("upper:b", "half", "raise RuntimeError('boom')")
    assert ws.run().code == 2
    assert ws.outputs() == before
    assert ws.run().executed == ["upper:b"]
    ws.release("upper:b", "half")
    assert ws.check_sound().executed == ["upper:b", "mixed:b", "final:b", "total:all"]


@JOBS
def test_a_step_that_leaves_the_program_is_a_failure(ws: Workspace, jobs: tuple[str, ...]) -> None:
    """E7: a library calls `sys.exit`; the run does not hang, and does not pass for a success."""
    ws.plan("mixed:b", "half", "import sys; sys.exit(0)")
    run = ws.run("--continue", *jobs)
    assert run.code == 2
    assert "ERROR in mixed:b: " in run.err
    assert ws.recorded() >= ws.steps_outside("mixed:b")
    assert ws.partials() == []
    assert not (ws.build / "b/mixed").exists()
    ws.release("mixed:b", "half")
    ws.check_sound(*jobs)


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("output", ["mixed", "index"])
def test_a_target_that_is_not_written_is_a_failure(ws: Workspace, output: str, built: bool) -> None:
    """E7b: a step ends well without one of its outputs, in a first build and in a rebuild."""
    if built:
        ws.run()
        ws.source("b").write_text("other text\n")
    ws.plan("mixed:b", "end", f"path.with_name({output!r}).unlink()")
    for _ in range(2):
        run = ws.run()
        assert run.code == 2
        assert f"without writing build/b/{output}" in run.err
        assert "mixed:b" in run.executed
        assert "final:b" not in run.executed
    ws.release("mixed:b", "end")
    ws.check_sound()


def limit_files(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def run_limited(ws: Workspace, prepare: Callable[[], None], *arguments: str) -> Run:
    """Run doit with something taken away from its process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "doit", *arguments],
        cwd=ws.folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", MARK: str(ws.folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
    )
    ws.started.append(process)
    return ws.finish(process)


@JOBS
@pytest.mark.parametrize("limit", [0, 1, 4_000, 30_000, 200_000])
def test_files_that_cannot_grow_spoil_nothing(ws: Workspace, limit: int, jobs: tuple[str, ...]) -> None:
    """A full disk, for the outputs, for the records or for both: it is told, and the next run makes good."""
    ws.plan("mixed:b", "half", "path.with_name('large').write_bytes(bytes(300_000))")
    run = run_limited(ws, limit_files(limit), "--continue", *jobs)
    assert run.code in (2, 3)
    assert "Traceback" not in run.err
    assert ("no space left" in run.err) or ("recorded" in run.err) or ("read" in run.err), run.err
    ws.release("mixed:b", "half")
    ws.check_sound(*jobs)


@pytest.fixture
def small_disk(ws: Workspace) -> Iterator[Path]:
    """A disk of one megabyte at `build/`."""
    ws.build.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", ws.build], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield ws.build
    ws.close()
    subprocess.run(["umount", "-l", ws.build], check=True)


FILL = """
def fill(at):
    with open(at, "wb", buffering=0) as stream:
        try:
            while stream.write(bytes({block})):
                pass
        except OSError:
            pass
fill("build/filler")
"""


@JOBS
@pytest.mark.parametrize("point", ["begin", "half", "end"])
def test_a_disk_that_fills_up_in_a_step(ws: Workspace, small_disk: Path, point: str, jobs: tuple[str, ...]) -> None:
    """A full disk, for real: filled to the last page while a step runs; at the end of it, only the record fails."""
    ws.plan("mixed:b", point, FILL.format(block=4096))
    run = ws.run("--continue", *jobs)
    assert run.code in (2, 3)
    assert "Traceback" not in run.err
    ws.release("mixed:b", point)
    (small_disk / "filler").unlink()
    finished = ws.recorded()
    assert sorted(ws.check_sound(*jobs).executed) == sorted(set(ws.steps()) - finished)


def without_privileges() -> None:
    """Let the permissions of files hold for root as well: out of the bounding set, gone with the next exec."""
    drop, override, ignore_search = 24, 1, 2
    if os.geteuid() == 0:
        library = ctypes.CDLL(None)
        for capability in (override, ignore_search):
            if library.prctl(drop, capability, 0, 0, 0):
                raise OSError("prctl")


@pytest.mark.parametrize("built", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("place", ["build", "build/b", "build/.records.db", "build/.lock"])
def test_what_cannot_be_written_is_told(ws: Workspace, place: str, built: bool) -> None:
    """`build/`, or something in it, is read-only: an error that names it, no traceback, and no harm."""
    if built:
        ws.run()
        ws.source("b").write_text("other text\n")
    path = ws.folder / place
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.touch() if path.name.startswith(".") else path.mkdir()
    mode = path.stat().st_mode
    path.chmod(0o444 if path.is_file() else 0o555)
    before = ws.outputs()
    try:
        run = run_limited(ws, without_privileges)
    finally:
        path.chmod(mode)
    assert run.code in (2, 3)
    assert place.removeprefix("build/") in run.err
    assert "Traceback" not in run.err
    if built and place != "build/.records.db":
        assert ws.outputs() == before
    ws.check_sound()


def test_nothing_to_do_in_a_folder_that_cannot_be_written(ws: Workspace) -> None:
    """A build on a read-only medium is either up to date, or that is told."""
    ws.run()
    ws.build.chmod(0o555)
    try:
        run = run_limited(ws, without_privileges)
    finally:
        ws.build.chmod(0o755)
    assert run.code == 0 or "build/" in run.err
    assert "Traceback" not in run.err
    assert ws.run().executed == []
