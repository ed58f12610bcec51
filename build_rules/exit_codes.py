"""The exit codes of `doit` and of every command here: the one place that says what they mean.

0 to 3 are doit's own (`doit_cmd.py`, `runner.py`); that wrong input is 3, whoever finds it, is ours. 130 is what shells
say of a program that Ctrl-C has ended (128 + SIGINT).
"""

from __future__ import annotations

__all__ = ["DONE", "FAILED", "INTERRUPTED", "MEANINGS", "UNEXPECTED", "WRONG_INPUT"]

DONE = 0
FAILED = 1
UNEXPECTED = 2
WRONG_INPUT = 3
INTERRUPTED = 130

MEANINGS = {
    DONE: "done",
    FAILED: "an input changed while it was read, one model among others is declared wrongly, or a check says no",
    UNEXPECTED: "a step ended with an error that is not its input's, or the run could not go on",
    WRONG_INPUT: (
        "a step refused its input, a command was used wrongly, nothing was asked for but what is declared wrongly, or "
        "nothing can be built here"
    ),
    INTERRUPTED: "interrupted",
}
"""As `docs/building.md` says them."""
