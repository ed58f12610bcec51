"""What a run prints: a line per step that runs, a paragraph per error, one line at the end; and its exit code.

Exit codes: 0 done, 1 a task failed, 2 a task could not be run, 3 wrong input, 130 interrupted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from doit.exceptions import InvalidCommand

from build_rules.engine.failure import WrongInput
from build_rules.engine.failures import note_failures
from build_rules.engine.fresh import current_run
from build_rules.engine.interrupt import end_on_interrupt
from build_rules.engine.lock import lock_workspace

__all__ = ["LOCK", "BuildReporter"]

LOCK = Path("build/.lock")
WRONG_INPUT = 3


def _seconds(duration: float) -> str:
    return f"{duration:.1f} s" if duration < 100 else f"{duration / 60:.1f} min"


class BuildReporter:
    """doit's reporter interface (doit 0.36 and 0.37)."""

    desc = "a line per step that runs, a paragraph per error, a summary"

    def __init__(self, outstream: TextIO, options: Mapping[str, Any]) -> None:
        self.outstream = outstream
        self.started = time.monotonic()
        self.step_started: dict[str, float] = {}
        self.ran = self.current = self.failed = self.skipped = 0
        self.wrong_input = self.aborted = False
        self.failures: dict[str, str] = {}
        self.succeeded: list[str] = []

    def write(self, text: str) -> None:
        """Print at once, since a step may take hours."""
        self.outstream.write(text)
        self.outstream.flush()

    def initialize(self, tasks: Mapping[str, Any], selected_tasks: list[str]) -> None:
        """Begin a run: from here to the end this process alone builds in the workspace."""
        end_on_interrupt()
        if not selected_tasks:
            self.aborted = True
            raise InvalidCommand("no task has a name like that; `doit list --all` shows them all.")
        self.lock = lock_workspace(LOCK)

    def get_status(self, task: Any) -> None:
        """A task is about to be checked."""

    def execute_task(self, task: Any) -> None:
        """A task is about to run."""
        if task.actions:
            self.step_started[task.name] = time.monotonic()
            self.write(f".  {task.name}\n")

    def add_success(self, task: Any) -> None:
        """A task succeeded."""
        self.succeeded.append(task.name)
        if task.actions:
            self.ran += 1
            took = _seconds(time.monotonic() - self.step_started[task.name])
            self.write(f"   {task.name} done in {took}: {task.targets[-1] if task.targets else '-'}\n")

    def skip_uptodate(self, task: Any) -> None:
        """A task has nothing to do."""
        self.current += bool(task.actions)

    def skip_ignore(self, task: Any) -> None:
        """A task is skipped because the user said `doit ignore`."""
        self.write(f"!! {task.name} is ignored (doit forget {task.name} ends that)\n")

    def add_failure(self, task: Any, fail: Any) -> None:
        """A task failed, or could not run because another one failed."""
        if fail.get_name() == "UnmetDependency":
            self.skipped += bool(task.actions)
            return
        self.failed += 1
        self.failures[task.name] = str(fail.get_msg()).strip()
        self.wrong_input |= isinstance(fail, WrongInput)
        sys.stderr.write(f"ERROR in {task.name}: {str(fail.get_msg()).rstrip()}\n")

    def cleanup_error(self, exception: Any) -> None:
        """A teardown failed."""
        sys.stderr.write(exception.get_msg())

    def runtime_error(self, msg: str) -> None:
        """The run itself cannot go on."""
        self.aborted = True
        sys.stderr.write(f"ERROR: {msg}\n")

    def teardown_task(self, task: Any) -> None:
        """A teardown is about to run."""

    def complete_run(self) -> None:
        """End a run. Exits here where doit itself knows no exit code."""
        if self.aborted:
            return
        current_run.finish()
        if self.failures or self.succeeded:
            note_failures(self.failures, self.succeeded)
        counts = [
            (self.ran, "run"),
            (self.current + sum(current_run.fresh.values()), "up to date"),
            (self.failed, "failed"),
            (self.skipped, "not reached"),
        ]
        told = ", ".join(f"{count} {what}" for count, what in counts if count) or "nothing to do"
        self.write(f"{told} in {_seconds(time.monotonic() - self.started)}\n")
        if self.wrong_input:
            raise SystemExit(WRONG_INPUT)
