"""The other side of `isolate.py`: one step, called by `python -m build_rules.engine.worker DESCRIPTOR`."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

__all__ = ["main"]


def main() -> None:
    """Read a request from standard input, call it, write the answer to the descriptor that is named."""
    answers = int(sys.argv[1])
    request = sys.stdin.buffer
    function, arguments = pickle.loads(request.read(int.from_bytes(request.read(8), "big")))
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    answer = pickle.dumps(_outcome(function, arguments))
    sys.stdout.flush()
    with os.fdopen(answers, "wb") as stream:
        stream.write(answer)
    os._exit(0)  # nothing of what the step imported or started is waited for


def _outcome(function: str, arguments: dict[str, Any]) -> tuple[bool, Any]:
    try:
        module, name = function.split(":")
        return True, getattr(importlib.import_module(module), name)(**arguments)
    except (Exception, SystemExit) as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return False, RuntimeError(f"{type(error).__name__}: {error}")
        return False, error


def _leave_with_parent() -> None:
    """Nothing more is ever written to the pipe: it ends when the process that waits for the answer does."""
    os.read(sys.stdin.fileno(), 1)
    with suppress(ProcessLookupError):  # this process leads a group of its own, with whatever the step has started
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
