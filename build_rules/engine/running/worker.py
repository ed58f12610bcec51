"""The other side of `isolate.py`: one step, called by `python -m build_rules.engine.running.worker DESCRIPTOR`."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

from build_rules.engine import messages
from build_rules.engine.process_tree import adopt_orphans, kill_tree
from build_rules.engine.standard_streams import never_fail_to_print

__all__ = ["PROGRESS", "main"]

PROGRESS = "\x1e"
"""Begins a line that says how far the step is, and is not printed."""


class _Relay:
    """Passes on what a step tells its reporter, which is in another process."""

    def report_cached(self, task_name: str) -> None:
        """A step cannot say that."""

    def report_speaker(self, task_name: str) -> None:
        """Everything that is printed here comes from the one step."""

    def report_waits(self, task_name: str, reason: str) -> None:
        """Nothing waits here."""

    def report_began(self, task_name: str) -> None:
        """It has begun before this process was started."""

    def report_progress(self, text: str) -> None:
        """Print it as a line that the other side knows."""
        print(f"{PROGRESS}{text}", flush=True)

    def report_warning(self, task_name: str, text: str) -> None:
        """Print it as a step prints a warning."""
        messages.tell_warning(text)


def main() -> None:
    """Read a request from standard input, call it, write the answer to the descriptor that is named."""
    answers = int(sys.argv[1])
    os.set_inheritable(answers, False)
    request = sys.stdin.buffer
    function, arguments = pickle.loads(request.read(int.from_bytes(request.read(8), "big")))
    waiting = os.dup(sys.stdin.fileno())
    # The step has no input: what it starts must not wait for one, nor keep this pipe.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who interrupts doit interrupts it there
    adopt_orphans()
    threading.Thread(target=_leave_with_parent, args=(waiting,), daemon=True).start()
    messages.listen(_Relay())
    never_fail_to_print()
    answer = _outcome(function, arguments)
    with suppress(ValueError, OSError):
        sys.stdout.flush()
    with os.fdopen(answers, "wb") as stream:
        stream.write(len(answer).to_bytes(8, "big") + answer)
    kill_tree(os.getpid())  # nothing of what the step imported or started is waited for
    os._exit(0)


def _outcome(function: str, arguments: dict[str, Any]) -> bytes:
    """Return the pickled outcome of a call: whether it succeeded, and what it returned or raised."""
    try:
        module, name = function.split(":")
        return pickle.dumps((True, getattr(importlib.import_module(module), name)(**arguments)))
    except BaseException as error:
        try:
            answer = pickle.dumps((False, error))
            pickle.loads(answer)
        except Exception:
            return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
        return answer


def _leave_with_parent(waiting: int) -> None:
    """Nothing more is ever written to the pipe: it ends when the process that waits for the answer does."""
    os.read(waiting, 1)
    kill_tree(os.getpid())  # this process leads a group of its own
    os._exit(1)


if __name__ == "__main__":
    main()
