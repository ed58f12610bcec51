"""Building where files cannot be locked, flushed, linked or renamed: in a slower way, or told in one paragraph."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from build_rules.calibration.snapshot import given
from build_rules.engine import lock_file, slower
from build_rules.engine.cache.folder import FolderStore
from build_rules.engine.lock_file import LockFile
from build_rules.engine.running.publish import produce
from build_rules.errors import InputError
from tests.doit_runs import doit, start_doit, wait_until

DODO = """
import errno, fcntl, os
from pathlib import Path
from build_rules.engine.doit_config import DOIT_CONFIG
from build_rules.engine.running.rule import Rule

def refuse(*arguments, **options):
    raise OSError(int(os.environ["REFUSE"]), "refused")

for name in os.environ.get("LACKS", "").split():
    setattr(fcntl if name == "flock" else os, name, refuse)
DOIT_CONFIG = {**DOIT_CONFIG, "default_tasks": ["copy"]}
COPY = Rule("copy", "steps:copy", ("errors.py",))

def task_copy():
    yield COPY.task("m", inputs={"source": Path("in.txt")}, outputs={"out": Path("build/m/out")}, settings={})
"""
STEPS = """
import time
from pathlib import Path

def copy(*, source, out):
    out.write_text(source.read_text())
    if source.read_text() == "slow":
        Path("begun").touch()
        time.sleep(60)
    if source.read_text() == "link":
        out.unlink()
        out.symlink_to(source.resolve())
"""
ALL = "flock fsync link symlink"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    slower.tell_slower.cache_clear()
    (tmp_path / "dodo.py").write_text(DODO)
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "in.txt").write_text("text")
    return tmp_path


def numbers(*names: str) -> list[str]:
    return [str(getattr(errno, name)) for name in names]


@pytest.mark.parametrize("number", [*numbers("ENOSYS", "ENOLCK", "EOPNOTSUPP", "EINVAL"), "524"])
def test_everything_is_refused(here: Path, number: str) -> None:
    run = doit(here, LACKS=ALL, REFUSE=number)
    assert (run.code, run.executed, "Traceback" in run.err) == (0, ["copy:m"], False), run.err
    assert sorted(run.err.splitlines()) == [
        "the file system of build/ lacks locks (flock); a slower way is taken",
        "the file system of build/ lacks the flushing of files (fsync); a slower way is taken",
    ]
    assert not (here / "build/.lock.held").exists()


def test_a_second_doit_waits_for_the_first(here: Path) -> None:
    (here / "in.txt").write_text("slow")
    first = start_doit(here, LACKS="flock", REFUSE="38")
    wait_until(lambda: (here / "begun").exists())
    second = start_doit(here, LACKS="flock", REFUSE="38")
    assert second.stderr is not None
    assert "lacks locks" in second.stderr.readline()
    assert f"process {first.pid}" in second.stderr.readline()
    (here / "in.txt").write_text("text")
    first.send_signal(signal.SIGINT)
    first.communicate()
    assert not (here / "build/m/.copy.partial").exists()
    out, err = second.communicate(timeout=60)
    assert (second.returncode, "1 run" in out) == (0, True), err


def test_a_killed_doit_is_not_waited_for(here: Path) -> None:
    (here / "in.txt").write_text("slow")
    first = start_doit(here, LACKS="flock", REFUSE="38")
    wait_until(lambda: (here / "begun").exists())
    first.kill()
    first.communicate()
    assert (here / "build/.lock.held").exists()
    (here / "in.txt").write_text("text")
    assert doit(here, LACKS="flock", REFUSE="38").executed == ["copy:m"]
    assert not (here / "build/.lock.held").exists()


def held(**changed: object) -> bytes:
    """What the process that has started this one would write."""
    return json.dumps({**lock_file._identity(os.getppid()), **changed}).encode() + b"\n"


LEFT: dict[str, tuple[bytes, str | None]] = {
    "a living process": (held(), str(os.getppid())),
    "another with its number": (held(started="1"), None),
    "one that is gone": (held(process=2**22 + 1), None),
    "one on another machine": (held(machine="there"), "if it is no longer there, remove lock"),
    "nothing": (b"", None),
    "half a line": (held()[:10], None),
    "another form": (b"[1]\n", "unknown"),
}


@pytest.mark.parametrize("what", LEFT)
def test_who_has_a_lock(here: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(lock_file, "PATIENCE", 0.01)
    content, owner = LEFT[what]
    Path("lock").write_bytes(content)
    lock = LockFile(Path("lock"))
    found = lock.take()
    assert (found is None) == (owner is None)
    assert (owner or "") in (found or "")
    lock._release()
    assert Path("lock").exists() == (owner is not None)


def test_one_of_many_gets_the_lock(here: Path) -> None:
    """Eight processes find what a killed one has left."""
    Path("lock").write_bytes(held(process=2**22 + 1))
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom build_rules.engine.lock_file import LockFile\n"
        "got = LockFile(Path('lock')).take() is None\nsys.stdout.write(str(int(got)))\nsys.stdout.flush()\n"
        "sys.stdin.read()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        for _ in range(8)
    ]
    got = [process.stdout.read(1) for process in started if process.stdout is not None]
    for process in started:
        process.communicate()
    assert sorted(got) == [b"0"] * 7 + [b"1"]


def text(*, out: Path) -> None:
    out.write_text("made")


@pytest.mark.parametrize("call", ["fsync", "replace", "makedirs", "mkdir"])
@pytest.mark.parametrize(
    "name", ["EIO", "EPERM", "EOPNOTSUPP", "EXDEV", "EMLINK", "EROFS", "ENOSPC", "EDQUOT", "ESTALE"]
)
def test_what_fails_is_told_or_done_otherwise(
    here: Path, monkeypatch: pytest.MonkeyPatch, call: str, name: str
) -> None:
    """No output is lost or half-written, and it is the disk that is named."""
    Path("build/m").mkdir(parents=True)
    Path("build/m/out").write_text("before")

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse)
        with suppress(InputError):
            produce("step", text, {}, {"out": Path("build/m/out")}, {})
    assert Path("build/m/out").read_text() in ("before", "made")
    assert list(Path("build/m").iterdir()) == [Path("build/m/out")]


def test_the_disk_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match=r"build/m: the outputs of step cannot be written \(Input/output error\)"):
        produce("step", text, {}, {"out": Path("build/m/out")}, {})


@pytest.mark.parametrize("kind", ["refused", "leads nowhere", "works"])
def test_a_given_file_where_no_link_can_be_made(here: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """FAT and SMB refuse; sshfs makes links that it then does not follow."""
    if kind == "refused":
        monkeypatch.setattr(os, "symlink", lambda *arguments, **options: _raise(errno.EPERM))
    elif kind == "leads nowhere":
        real = os.symlink
        monkeypatch.setattr(os, "symlink", lambda source, target, *more: real(f"{source}.not", target))
    given._lead_to(here / "in.txt", here / "draft")
    assert (here / "draft").read_text() == "text"
    assert (here / "draft").is_symlink() == (kind == "works")


def _raise(number: int) -> None:
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("name", ["EINVAL", "ENOSYS", "EOPNOTSUPP"])
def test_a_cache_folder_that_cannot_flush(here: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: _raise(getattr(errno, name)))
    store, found = FolderStore(here / "cache"), bytearray()
    store.put("cas", "0" * 64, 4, lambda: iter([b"text"]))
    assert store.get("cas", "0" * 64, 4, found.extend)
    assert found == b"text"
