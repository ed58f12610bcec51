"""An interrupted process ends at once, whatever it is doing, and takes with it what must not outlive it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from build_rules.exit_codes import INTERRUPTED
from tests.doit_runs import wait_until

WAITS = "threading.Event().wait(60)"
IN_A_LIBRARY = "hashlib.pbkdf2_hmac('sha256', b'', b'', 1 << 30)"
"""One call that takes minutes and comes back to Python for no signal."""

PROGRAM = """
import hashlib, subprocess, sys, threading
from pathlib import Path
from build_rules.engine.interrupt import end_on_interrupt, on_interrupt
end_on_interrupt()
draft = Path("draft")
draft.mkdir()
(draft / "half").write_text("x")
on_interrupt.drafts.add(draft)
child = subprocess.Popen(["sleep", "60"], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
on_interrupt.groups.add(child.pid)
on_interrupt.calls += [lambda: 1 / 0, lambda: print("put back", flush=True)]
print(child.pid, flush=True)
"""


def start(folder: Path, doing: str) -> subprocess.Popen[str]:
    command, pipe = [sys.executable, "-c", PROGRAM + doing], subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("doing", [WAITS, IN_A_LIBRARY], ids=["waiting", "in a library"])
def test_it_ends_at_once(tmp_path: Path, number: signal.Signals, doing: str) -> None:
    process = start(tmp_path, doing)
    try:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, out) == (INTERRUPTED, "put back\n")
    assert err == "interrupted; what was finished is kept, run doit again to go on\n"
    assert not (tmp_path / "draft").exists()
    wait_until(lambda: is_dead(child))


def is_dead(child: int) -> bool:
    try:
        return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


REFUSES = """
class Refuses:
    def write(self, text):
        raise RuntimeError("reentrant call")
    flush = write
sys.stdout = Refuses()
threading.Event().wait(60)
"""


def test_it_ends_while_something_is_being_printed(tmp_path: Path) -> None:
    process = start(tmp_path, REFUSES)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        wait_until(lambda: is_asleep(process.pid))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == INTERRUPTED
    assert err == "interrupted; what was finished is kept, run doit again to go on\n"


def is_asleep(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "S"
