"""A step in a process of its own, so that several run at once, and one that dies takes nothing with it.

Used where steps run side by side (`doit -n N`). The process leads a group, which is killed as a whole when the run is
interrupted; when doit itself is killed, the end of its pipe tells the process to go. What a step prints comes through
that pipe's counterpart, line by line, because whoever reports may be drawing on the terminal.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from build_rules.engine.failure import StepDiedError
from build_rules.engine.interrupt import groups

__all__ = ["call_isolated"]

WORKER = (sys.executable, "-m", "build_rules.engine.worker")


def call_isolated(function: str, arguments: Mapping[str, Any]) -> Any:
    """Call `module:name` with keyword arguments in a process of its own; return or raise what it does.

    Arguments, result and exceptions are pickled. Raises `StepDiedError` when the process was killed.
    """
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*WORKER, str(writing)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(writing,),
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    os.close(writing)
    groups.add(process.pid)
    try:
        printer = threading.Thread(target=_print_lines, args=(process,), daemon=True)
        printer.start()
        _send(process, pickle.dumps((function, dict(arguments))))
        with os.fdopen(reading, "rb") as stream:
            answer = stream.read()
        code = process.wait()
    finally:
        _kill(process)  # and what it started, which may hold what it printed to
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


def _print_lines(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        sys.stdout.write(line.decode(errors="replace"))
        sys.stdout.flush()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of the group behind, whatever the step started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    groups.discard(process.pid)


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()


def _words(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the step was killed (signal 9); the machine may have run out of memory: run fewer at once (doit -n)."
    return f"the step's process ended with {'signal' if code < 0 else 'code'} {abs(code)} before the step did."
