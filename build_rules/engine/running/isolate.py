"""A step in a process of its own, so that several run at once, and one that dies takes nothing with it.

Used where steps run side by side (`doit -n N`). The process leads a group, which is killed when the run is interrupted,
with all that any of it has started, in whatever session; when doit itself is killed, the end of its pipe tells the
process to do the same. What a step leaves behind when it ends as it should, in a session of its own, stays: it may be a
server for the next one. What a step prints comes through
that pipe's counterpart, line by line, because whoever reports may be drawing on the terminal.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from build_rules.engine import messages
from build_rules.engine.interrupt import on_interrupt
from build_rules.engine.running.failure import StepDiedError
from build_rules.engine.running.worker import PROGRESS
from build_rules.engine.standard_streams import say

__all__ = ["call_isolated"]

CHUNK = 1 << 16
PATIENCE = 1.0
"""Seconds between two looks at a process that says nothing, and for its last words."""
WORKER = (sys.executable, "-m", "build_rules.engine.running.worker")


def call_isolated(function: str, arguments: Mapping[str, Any], task: str = "") -> Any:
    """Call `module:name` with keyword arguments in a process of its own; return or raise what it does.

    Arguments, result and exceptions are pickled; what it prints comes from `task`. Raises `StepDiedError` when the
    process was killed.
    """
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*WORKER, str(writing)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(writing,),
        start_new_session=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            # What it prints is read here, and printed in the encoding of the terminal.
            "PYTHONIOENCODING": "utf-8:surrogateescape",
        },
    )
    os.close(writing)
    on_interrupt.groups.add(process.pid)
    ended = threading.Event()
    try:
        printer = threading.Thread(target=_print_lines, args=(process, task, ended), daemon=True)
        printer.start()
        _send(process, pickle.dumps((function, dict(arguments))))
        answer = _receive(reading, process)
        code = process.wait()
    finally:
        os.close(reading)
        _kill(process)  # and what it started, which may hold what it printed to
    ended.set()  # something that left the group may hold the pipe still
    printer.join()
    _close(process)
    if not answer:
        raise StepDiedError(_words(code))
    succeeded, value = pickle.loads(answer)
    if succeeded:
        return value
    raise value


def _send(process: subprocess.Popen[bytes], request: bytes) -> None:
    """Send the request; the pipe stays open, because its end tells the process that nobody waits any more."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(len(request).to_bytes(8, "big") + request)
        process.stdin.flush()


def _receive(reading: int, process: subprocess.Popen[bytes]) -> bytes:
    """Return the answer; nothing when the process ended without one, whoever else may hold its end of the pipe."""
    received = bytearray()
    while len(received) < 8 or len(received) - 8 < int.from_bytes(received[:8], "big"):
        ended = process.poll() is not None
        ready, _, _ = select.select([reading], [], [], 0 if ended else PATIENCE)
        piece = os.read(reading, CHUNK) if ready else b""
        if not piece and (ready or ended):
            return b""
        received += piece
    return bytes(received[8:])


def _print_lines(process: subprocess.Popen[bytes], task: str, ended: threading.Event) -> None:
    """Print what a process says, line by line; after its end only what has been said already."""
    assert process.stdout is not None
    messages.speak_for(task)
    pipe, begun = process.stdout.fileno(), b""
    while True:
        ready, _, _ = select.select([pipe], [], [], 0 if ended.is_set() else PATIENCE)
        piece = os.read(pipe, CHUNK) if ready else b""
        if not piece and (ready or ended.is_set()):
            break
        *lines, begun = (begun + piece).split(b"\n")
        _print(lines)
    _print([begun] if begun else [])


def _print(lines: Sequence[bytes]) -> None:
    for line in lines:
        text = line.decode("utf-8", "replace")
        if text.startswith(PROGRESS):
            messages.progress(text[len(PROGRESS) :])
        else:
            say(sys.stdout, f"{text}\n")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of the group behind, whatever the step started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    on_interrupt.groups.discard(process.pid)


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()


def _words(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the step was killed (signal 9); the machine may have run out of memory: run fewer at once (doit -n)."
    if code == -signal.SIGBUS:
        return (
            "the step's process ended with signal 7: a file that it was reading was cut short, or the disk that it "
            "lies on failed; when all files are whole again, run doit again."
        )
    return f"the step's process ended with {'signal' if code < 0 else 'code'} {abs(code)} before the step did."
