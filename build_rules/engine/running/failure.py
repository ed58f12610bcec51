"""From an exception in a step to what the person at the terminal reads, and to the exit code."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from doit.exceptions import BaseFail, TaskError, TaskFailed

from build_rules.errors import InputError, printable

__all__ = ["DEBUG", "DeclaredWrongly", "InputChangedError", "StepDiedError", "WrongInput", "failure_of"]

DEBUG = "BUILD_RULES_DEBUG"


class InputChangedError(Exception):
    """An input was edited or removed while the step that reads it ran; `said` is what the step made of that."""

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said

    def printed(self) -> str:
        """Return what is shown: the change, and below it what the step said."""
        return printable(str(self)) + (f"\n   {printable(self.said)}" if self.said else "")


class StepDiedError(Exception):
    """The process of a step ended before the step did."""


class WrongInput(TaskFailed):  # type: ignore[misc]  # doit has no type hints
    """A step refused its input: exit code 3."""


class DeclaredWrongly(TaskFailed):  # type: ignore[misc]  # doit has no type hints
    """A step cannot run because of what is declared: exit code 1 among others, 3 when nothing else was asked for."""


def failure_of(error: BaseException, kept: Path | None = None) -> BaseFail:
    """Return doit's failure for an exception: one paragraph, with the traceback only where `BUILD_RULES_DEBUG=1`.

    `kept` is where the step has left what is to be looked at; it is named unless the exception has named it.
    """
    lines = "".join(traceback.format_exception(error)).splitlines() if os.environ.get(DEBUG) == "1" else []
    trace = "".join(f"\n{printable(line)}" for line in lines)
    kind, text = _told(error)
    where = f"\nWhat the step left is in {kept}/, until it runs again." if kept and str(kept) not in text else ""
    return kind(text + where + trace)


def _told(error: BaseException) -> tuple[type[BaseFail], str]:
    if isinstance(error, InputError):
        return WrongInput, error.printed()
    if isinstance(error, InputChangedError):
        return TaskFailed, error.printed()
    if isinstance(error, StepDiedError):
        return TaskError, printable(str(error))
    text = (
        f"unexpected {type(error).__name__}: {error}. This is not your input's fault; {DEBUG}=1 doit ... shows where."
    )
    return TaskError, printable(text)
