"""Workspaces that cannot be written, or that several users write in turn.

To root no permissions hold, so tests that run as root take the capabilities that make it so from the doit they start.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.doit_runs import Run
from tests.engine.test_runs import DODO, STEPS

CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, SETGID = 0, 1, 2, 3, 6
PR_CAPBSET_DROP = 24
GROUP = 54321


def bound_by_permissions() -> None:
    """Called between fork and exec: from the latter on permissions hold for this process."""
    if os.geteuid() == 0:
        for capability in (CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER):
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def doit(folder: Path, *arguments: str, environment: dict[str, str] | None = None, **options: Any) -> Run:
    done = subprocess.run(
        [sys.executable, "-m", "doit", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
        capture_output=True,
        encoding="utf-8",
        preexec_fn=bound_by_permissions,
        timeout=120,
        check=False,
        **options,
    )
    return Run(done.returncode, done.stdout, done.stderr)


def set_writable(folder: Path, writable: bool) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod((0o755 if writable else 0o555) if path.is_dir() else (0o644 if writable else 0o444))


def lay_out(folder: Path) -> None:
    (folder / "steps.py").write_text(STEPS)
    (folder / "dodo.py").write_text(DODO)
    (folder / "in").mkdir()
    for name in "ab":
        (folder / f"in/{name}.txt").write_text(f"text {name}")


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    lay_out(tmp_path)
    yield tmp_path
    set_writable(tmp_path, True)


@pytest.fixture(scope="module")
def built() -> Any:
    """What one run makes of it, for all tests that begin there."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        lay_out(place)
        assert doit(place).code == 0
        yield place / "build"


@pytest.fixture
def locked(folder: Path, built: Path) -> Path:
    """A workspace that is built, and cannot be written."""
    shutil.copytree(built, folder / "build")
    set_writable(folder, False)
    probe = "import os, sys; sys.exit(os.access('.', os.W_OK))"
    if subprocess.run(
        [sys.executable, "-c", probe], cwd=folder, preexec_fn=bound_by_permissions, check=False
    ).returncode:
        pytest.skip("this user can write everywhere, and nothing can be done about that")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_step_runs_without_the_workspace_whatever_reporter_tells_of_it(locked: Path) -> None:
    before = contents(locked)
    run = doit(locked, "-r", "console", environment={"WORD": "!"})
    assert run.code != 0
    assert "cannot be written (Permission denied)" in run.out
    assert doit(locked, "-r", "zero").code == 0  # there is nothing to do
    assert contents(locked) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "4 up to date"),
        (("-n", "2"), "4 up to date"),
        (("-r", "events"), '"exit": 0'),
        (("join:a",), "2 up to date"),
        (("status",), "2 fresh"),
        (("plan",), "0 would run"),
        (("why", "join:a"), "join:a is up to date"),
        (("info", "join:a"), "status     : up-to-date"),
        (("list", "-s", "--all"), "U join:a"),
    ],
    ids=" ".join,
)
def test_what_only_asks_works(locked: Path, arguments: tuple[str, ...], told: str) -> None:
    before = contents(locked)
    run = doit(locked, *arguments)
    assert (run.code, run.err) == (0, "")
    assert told in run.out
    assert contents(locked) == before


@pytest.mark.parametrize("jobs", [("--continue",), ("-n", "2")], ids=" ".join)
def test_what_has_to_be_built_is_refused_in_one_paragraph(locked: Path, jobs: tuple[str, ...]) -> None:
    before = contents(locked)
    run = doit(locked, *jobs, environment={"WORD": "changed"})
    assert run.code == 3
    assert re.fullmatch(
        r"ERROR: nothing can be built here: build/\.lock cannot be written \(Permission denied\): build/\.lock belongs "
        r"to \S+ \(mode 0444, group \S+\), and this is \S+; build as that user, or .*\n",
        run.err,
    )
    assert contents(locked) == before


def test_a_workspace_that_was_never_built(folder: Path, locked: Path) -> None:
    set_writable(folder, True)
    shutil.rmtree(folder / "build")
    set_writable(folder, False)
    assert "2 never built" in doit(folder, "status").out
    run = doit(folder)
    assert run.code == 3
    assert "ERROR: nothing can be built here: build" in run.err
    assert ": . belongs to" in run.err


def test_what_somebody_else_is_writing_is_seen(folder: Path, locked: Path) -> None:
    set_writable(folder, True)
    connection = sqlite3.connect(folder / "build/.records.db", isolation_level=None)
    connection.execute("pragma journal_mode=wal")
    connection.execute("delete from records where task = 'join:a'")
    set_writable(folder, False)
    run = doit(folder, "plan")
    assert (run.code, run.err) == (0, "")
    assert "join:a" in run.out
    assert "never been built" in run.out
    (folder / "build").chmod(0o755)
    (folder / "build/.records.db-shm").unlink()  # now it can be read only as it was before
    (folder / "build").chmod(0o555)
    assert doit(folder, "plan").err == ""
    connection.close()


@pytest.mark.parametrize("damage", [b"", b"no database" * 500], ids=["empty", "damaged"])
def test_records_that_cannot_be_read_are_left_alone(folder: Path, locked: Path, damage: bytes) -> None:
    records = folder / "build/.records.db"
    records.chmod(0o644)
    records.write_bytes(damage)
    records.chmod(0o444)
    run = doit(folder, "why", "join:a")
    assert "Traceback" not in run.err
    assert ("never been built" in run.out) if not damage else ("what was built before cannot be read" in run.err)
    assert records.read_bytes() == damage
    assert not records.with_name(".records.db.damaged").exists()


@pytest.mark.parametrize("closed", ["build", "build/.records.db"])
def test_records_that_this_user_may_not_read(folder: Path, locked: Path, closed: str) -> None:
    (folder / closed).chmod(0)
    run = doit(folder, "status")
    assert run.code == 3
    told = (
        rf"ERROR: what was built before is not known: build/\.records\.db cannot be read: {closed} belongs to \S+ .*\n"
    )
    assert re.fullmatch(told, run.err)


def test_clean_of_a_folder_that_this_user_may_not_read(folder: Path, locked: Path) -> None:
    set_writable(folder, True)
    (folder / "build/a").chmod(0)
    run = doit(folder, "clean")
    (folder / "build/a").chmod(0o755)
    assert (run.code, run.err.count("\n"), run.err.count("Traceback")) == (1, 1, 0)
    told = "ERROR: build/a cannot be removed: build/a cannot be changed (Permission denied): build/a belongs to "
    assert run.err.startswith(told)


def test_a_single_folder_that_belongs_to_somebody_else(folder: Path, locked: Path) -> None:
    set_writable(folder, True)
    (folder / "build/a").chmod(0o555)
    run = doit(folder, "--continue", environment={"WORD": "changed"})
    assert run.code == 3
    assert "ERROR in copy:a: build/a cannot be written (Permission denied): build/a belongs to" in run.err
    assert "fault" not in run.err
    assert "copy:b" in run.executed


def test_records_of_somebody_else_are_told_before_anything_is_built(folder: Path, locked: Path) -> None:
    set_writable(folder, True)
    (folder / "build/.records.db").chmod(0o444)
    run = doit(folder, environment={"WORD": "changed"})
    assert (run.code, run.executed) == (3, [])
    assert "build/.records.db cannot be written (Permission denied)" in run.err


def test_clean_says_what_it_could_not_remove(folder: Path, locked: Path) -> None:
    run = doit(folder, "clean")
    assert run.code == 1
    assert re.search(r"^ERROR: nothing was removed: build/\.lock cannot be written \(Permission denied\)", run.err)
    assert run.err.count("\n") == 1
    assert (folder / "build/a/upper").exists()
    set_writable(folder, True)
    (folder / "build/a").chmod(0o555)
    run = doit(folder, "clean")
    assert run.code == 1
    told = r"ERROR: build/a/\w+ \(and 1 more\) cannot be removed: build/a cannot be changed \(Permission denied\): .*\n"
    assert re.fullmatch(told, run.err)
    assert (folder / "build/a/upper").exists()
    assert not (folder / "build/b/upper").exists()  # what can be removed is
    (folder / "build/a").chmod(0o755)
    assert (doit(folder, "clean").code, doit(folder, "clean").err) == (0, "")


def is_shared(path: Path) -> bool:
    mode = path.stat().st_mode
    return (mode >> 6 & 6) == (mode >> 3 & 6)


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_everything_is_made_as_the_umask_says(folder: Path, umask: int) -> None:
    (folder / "in/a.txt").write_text("refers other.txt")  # which keeps a text
    (folder / "other.txt").write_text("other")
    assert doit(folder, umask=umask).code == 0
    made = [folder / "build", *(folder / "build").rglob("*")]
    assert {".lock", ".records.db"} <= {path.name for path in made}
    for path in made:
        wanted = (0o777 if path.is_dir() else 0o666) & ~umask
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can play two users of one group")
def test_two_users_of_a_group_build_in_turn(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 65534, GROUP)
        path.chmod(0o2775 if path.is_dir() else 0o664)
    # Without capabilities root is a user as any other, here once the owner of all and once a member of the group.
    member: dict[str, Any] = {"umask": 0o002, "extra_groups": [GROUP]}
    assert doit(folder, **member).code == 0
    for path in (folder / "build").rglob("*"):
        os.chown(path, 65534, -1)
    (folder / "in/a.txt").write_text("new")
    run = doit(folder, **member)
    assert (run.code, run.err, run.executed) == (0, "", ["copy:a", "join:a"])
    assert all(path.stat().st_gid == GROUP and is_shared(path) for path in (folder / "build").rglob("*"))
    assert doit(folder, "clean", **member).code == 0
