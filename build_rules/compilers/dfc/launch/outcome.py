"""What it means that a worker ended as it did: which kind of failure, in words. Decides only."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from typing import Any

from build_rules.compilers.dfc.dfc_worker import DISK, GONE
from build_rules.compilers.dfc.launch.child import Ended
from build_rules.compilers.dfc.launch.image import why_not
from build_rules.compilers.dfc.launch.start import Start
from build_rules.compilers.dfc.launch.work import WorkerFailure

__all__ = ["failure_of", "start_failure"]

KINDS = ("environment", "raised", "died", "disk")
"""What a worker itself can say."""
RUNNER_FAILED, NOT_EXECUTABLE, NOT_FOUND, SSH_FAILED = 125, 126, 127, 255
_REFUSED = re.compile(
    r"permission denied \(|password:|host key verification failed|too many authentication failures|"
    r"a password is required",
    re.IGNORECASE,
)
OLD = ("SyntaxError", "has no attribute 'buffer'", "cannot import name 'metadata'")
"""What Pythons before 3.8 say of the worker."""
_SHOWN, _LAST = 300, 2


def start_failure(start: Start, error: OSError) -> WorkerFailure:
    """Return what it means that the command could not be started."""
    program = start.program
    inside = f"{program.rstrip('/')}/bin/python"
    words = {
        FileNotFoundError: f"{program} is not there",
        PermissionError: f"{program} is not executable",
        NotADirectoryError: f"{program} is not there",
        IsADirectoryError: f"{program} is a folder; the Python in it is wanted, such as {inside}",
    }.get(type(error), f"{program} cannot be started ({error.strerror})")
    return WorkerFailure("start", words)


def failure_of(
    start: Start, ended: Ended, result: Mapping[str, Any] | None, *, has_begun: bool, printed: str, limit: float
) -> WorkerFailure | None:
    """Return why a run failed, None when it did not. `printed` is the end of what it printed."""
    if ended.cut == "timeout":
        return WorkerFailure("timeout", f"it was ended after {_duration(limit)}, the limit in `time_limit`")
    if ended.cut == "returned":
        return WorkerFailure("garbage", "it sent more bytes than any result has")
    if result is not None and not ended.cut:
        if "kind" not in result:
            return None
        kind = result["kind"] if result["kind"] in KINDS else "raised"
        return WorkerFailure(kind, result.get("message", ""), result.get("type", ""), result.get("traceback", ""))
    if not has_begun:
        return _never_begun(start, ended, printed)
    if ended.code == DISK:
        return WorkerFailure("disk", "no space left for the result")
    if ended.code == GONE:
        return WorkerFailure("died", "a signal asked it to end, or what started it ended first")
    if ended.code == 0:
        return WorkerFailure("garbage", "it ended as if it had succeeded, without a valid result")
    return WorkerFailure("died", f"it {_manner(ended.code)}, without a result")


def _never_begun(start: Start, ended: Ended, printed: str) -> WorkerFailure:
    last = [*dict.fromkeys(line.strip()[:_SHOWN] for line in printed.splitlines() if line.strip())][-_LAST:]
    said = f"; it said: {' / '.join(last)}" if last else ""
    program = start.program
    if ended.cut == "password" or (start.place == "command" and _REFUSED.search(printed)):
        return WorkerFailure("password", f"{program} asks for a password or a key, which nobody here can give{said}")
    if ended.cut == "start":
        return WorkerFailure("start", f"{program} did not start Python within {_duration(start.patience or 0)}{said}")
    if start.place == "image" and ended.code in (RUNNER_FAILED, NOT_EXECUTABLE, NOT_FOUND):
        kind = why_not(printed, "start") if ended.code == RUNNER_FAILED else "start"
        return WorkerFailure(kind, f"{program} could not run the image{said}")
    if any(words in printed for words in OLD):
        return WorkerFailure("start", f"{program} is a Python older than 3.8{said}")
    if start.place == "command" and ended.code == SSH_FAILED:
        return WorkerFailure("start", f"{program} could not connect{said}")
    if start.place == "command" and ended.code == NOT_FOUND:
        return WorkerFailure("start", f"what {program} was to start is not there{said}")
    where = program if start.place == "python" else f"what {program} started"
    return WorkerFailure("start", f"{where} is no Python that works: it {_manner(ended.code)}{said}")


def _manner(code: int) -> str:
    number = -code if code < 0 else code - 128
    if code < 0 or number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM, signal.SIGBUS):
        return f"was ended by signal {number} ({signal.strsignal(number) or 'unknown'})"
    return f"ended with code {code}"


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.4g} hours" if seconds >= 3600 else f"{seconds:.4g} seconds"
