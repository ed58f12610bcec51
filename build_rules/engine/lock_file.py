"""A lock that is a file: whoever makes it has the lock. For file systems on which files cannot be locked.

It does not end by itself with the process that has it. So the file says which process that is, and one that is gone
has no lock any more. Of a process on another machine that cannot be known; it is waited for, and the person at the
terminal is told which file to remove.

The file holds one line of JSON: `{"machine": "...", "process": 4711, "started": "1234567"}`; `machine` is the name of
the machine, its boot and the namespace of its process numbers, `started` the time since its boot in ticks.
"""

from __future__ import annotations

import atexit
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from build_rules.engine.interrupt import on_interrupt
from build_rules.engine.places import clear_place, read_regular

__all__ = ["LockFile"]

PATIENCE = 0.5
"""Seconds between two looks at a lock that somebody else has."""
MAX_BYTES = 4096
OTHER_MACHINE = "{process} on another machine; if it is no longer there, remove {path}"


class LockFile:
    """The lock at `path`. Methods raise `OSError` when nothing can be made there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = b""

    def take(self) -> str | None:
        """Take the lock until this process ends; return who has it when somebody else does."""
        while not self._make():
            try:
                content = read_regular(self.path, MAX_BYTES)
            except FileNotFoundError:
                continue
            owner = _living(content, self.path)
            if owner is not None:
                return owner
            self._remove(content)
        atexit.register(self._release)
        on_interrupt.calls.append(self._release)
        return None

    def wait(self) -> None:
        """Wait until the lock can be taken."""
        while True:
            try:
                content = read_regular(self.path, MAX_BYTES)
            except FileNotFoundError:
                return
            if _living(content, self.path) is None:
                return
            time.sleep(PATIENCE)

    def _make(self) -> bool:
        clear_place(self.path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._content = json.dumps(_identity(os.getpid())).encode() + b"\n"
        try:
            descriptor = os.open(self.path, flags, 0o644)
        except FileExistsError:
            return False
        with open(descriptor, "wb", buffering=0) as stream:
            stream.write(self._content)
        return True

    def _remove(self, content: bytes) -> None:
        """Remove what a process has left that is gone; not what another one that waited has made meanwhile."""
        aside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        with suppress(FileNotFoundError):
            if read_regular(self.path, MAX_BYTES) != content:
                return
            os.rename(self.path, aside)
            if read_regular(aside, MAX_BYTES) != content and not self.path.exists():
                os.rename(aside, self.path)
            else:
                os.unlink(aside)

    def _release(self) -> None:
        with suppress(OSError):
            if read_regular(self.path, MAX_BYTES) == self._content:
                os.unlink(self.path)


def _identity(process: int) -> dict[str, object]:
    return {"machine": _machine(), "process": process, "started": _started(process)}


def _machine() -> str:
    boot, space = "", ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{os.uname().nodename} {boot} {space}"


def _started(process: int) -> str:
    """Return when a process began, in ticks since the boot; nothing when there is none."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]  # field 22 of proc(5); the second one may hold blanks


def _living(content: bytes, path: Path) -> str | None:
    """Say who has the lock; None when that process is known to be gone."""
    try:
        held = json.loads(content)
        machine, process, started = held["machine"], int(held["process"]), held["started"]
    except (ValueError, KeyError, TypeError):
        # Being written just now, or by a process that was killed in the middle of its one line.
        return _young(path)
    if machine != _machine():
        return OTHER_MACHINE.format(process=process, path=path)
    return str(process) if started and _started(process) == started else None


def _young(path: Path) -> str | None:
    with suppress(OSError):
        before = os.stat(path).st_mtime_ns
        time.sleep(PATIENCE)
        if os.stat(path).st_mtime_ns != before or read_regular(path, MAX_BYTES).endswith(b"\n"):
            return "unknown"
    return None
