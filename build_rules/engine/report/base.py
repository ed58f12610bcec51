"""What every reporter of ours does, whatever it prints: from what doit and steps call to the state of the run.

A reporter is called by doit (from the main thread, `execute_task` from the thread of the step), by the output of steps
and by `messages` (from any thread). `guard` protects the state; nothing is written while it is held.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from doit.exceptions import TaskFailed

from build_rules.engine.doit_names import is_ignored
from build_rules.engine.freshness.current_run import current_run
from build_rules.engine.report.telling import Telling
from build_rules.engine.running.failure import WrongInput
from build_rules.engine.running.session import session
from build_rules.engine.standard_streams import say
from build_rules.errors import printable
from build_rules.exit_codes import INTERRUPTED

if TYPE_CHECKING:
    from build_rules.engine.report.capture import Capture
    from build_rules.engine.running.run_state import RunState

__all__ = ["Expected", "RunReporter"]

Expected = Callable[[str], "float | None"]
"""The seconds that a task is expected to take, by its name; None when nobody knows."""

_WARNING = re.compile(r"\s*warning:\s*(.*\S)", re.IGNORECASE)


class RunReporter(Telling):
    """doit's reporter interface (doit 0.36 and 0.37). What is printed is in the methods of `Telling`."""

    desc = ""

    def __init__(self, outstream: TextIO, options: Mapping[str, Any]) -> None:
        # doit's was taken before ours was made; it is None when it had been closed.
        self.outstream = sys.stdout if outstream in (None, sys.__stdout__) else outstream
        self.guard = threading.RLock()
        self.expected: Expected | None = None
        self.tasks: Mapping[str, Any] = {}
        self.selected: list[str] = []
        self._faults: dict[str, str] = {}
        self._among_others = False
        self._threads: dict[int, str] = {}
        self._restored: set[str] = set()
        self._capture: Capture | None = None

    @property
    def state(self) -> RunState:
        """The state of the run, which is told."""
        return session.state

    # What doit calls.

    def initialize(self, tasks: Mapping[str, Any], selected_tasks: list[str]) -> None:
        """A run begins: nobody else builds here now."""
        self.tasks, self.selected = tasks, selected_tasks
        session.tell(self)
        self.tell_begin()
        if current_run.faults:
            self._tell_faults()
        if current_run.fresh:
            self.add_fresh(sum(current_run.fresh.values()))

    def get_status(self, task: Any) -> None:
        """A task is about to be checked."""

    def execute_task(self, task: Any) -> None:
        """A task is about to run, in this thread."""
        if not task.actions or task.name in self._faults:
            return
        session.check_writable()
        with self.guard:
            capture = self.capture()
            self._threads[threading.get_ident()] = task.name
            self.state.start(task.name, time.monotonic())
        capture.install()
        self.tell_start(task.name)

    def add_success(self, task: Any) -> None:
        """A task succeeded."""
        if task.name in self._restored:
            self.add_cached(task)
        elif task.actions:
            self._leave(task.name)
            with self.guard:
                seconds = self.state.done(task.name, time.monotonic())
            self.tell_done(task.name, seconds, _last_target(task))

    def add_cached(self, task: Any) -> None:
        """A task's outputs came from the cache, whether doit ran it for that or not."""
        self._leave(task.name)
        with self.guard:
            self._restored.discard(task.name)
            seconds = self.state.restored(task.name, time.monotonic())
        self.tell_cached(task.name, seconds, _last_target(task))

    def add_fresh(self, count: int) -> None:
        """Many tasks have nothing to do and were not even loaded."""
        with self.guard:
            self.state.all_fresh(count)
        self.tell_fresh(None, count)

    def skip_uptodate(self, task: Any) -> None:
        """A task has nothing to do."""
        if task.name in self._restored:
            self.add_cached(task)
        elif task.actions:
            with self.guard:
                self.state.fresh(task.name)
            self.tell_fresh(task.name, 1)

    def skip_ignore(self, task: Any) -> None:
        """A task is skipped because the user said `doit ignore`."""
        with self.guard:
            self.state.settled.add(task.name)
        self.tell_ignored(task.name)

    def add_failure(self, task: Any, fail: Any) -> None:
        """A task failed, or could not run because another one failed."""
        if fail.get_name() == "UnmetDependency":
            if task.actions:
                with self.guard:
                    self.state.not_reached(task.name)
                self.tell_not_reached(task.name)
            return
        self.state.unexpected |= not isinstance(fail, TaskFailed)
        if task.name in self._faults:
            self._settle_fault(task.name)
            return
        self.state.wrong_input |= isinstance(fail, WrongInput)
        text = str(fail.get_msg()).rstrip()
        self._leave(task.name)
        with self.guard:
            seconds = self.state.failure(task.name, text, time.monotonic())
        self.tell_failure(task.name, text, seconds)

    def _tell_faults(self) -> None:
        """Tell what this run cannot do because of what is declared, before it does the rest."""
        from build_rules.engine.report.estimate import make_plan

        steps = make_plan(self.tasks, self.selected).targets
        faults = {name: text for name, text in current_run.faults.items() if name in steps}
        self._faults = {name: printable(faults[name]) for name in faults if not is_ignored(self.tasks[name])}
        self._among_others = bool(current_run.fresh) or not current_run.held_up().issuperset(steps)
        for name, text in self._faults.items():
            self.tell_failure(name, text, None)

    def _settle_fault(self, name: str) -> None:
        """Count a step that cannot run as failed, once; it has been told."""
        with self.guard:
            if name in self.state.settled:
                return
            self.state.wrong_input |= not self._among_others
            self.state.failure(name, self._faults[name], time.monotonic(), announced=True)

    def cleanup_error(self, exception: Any) -> None:
        """A teardown failed."""
        say(sys.stderr, exception.get_msg())

    def runtime_error(self, msg: str) -> None:
        """The run itself cannot go on."""
        self.state.aborted = True
        self.tell_abort(msg)

    def teardown_task(self, task: Any) -> None:
        """A teardown is about to run."""

    def complete_run(self) -> None:
        """The run has ended."""
        session.tell_no_more()
        self._close()
        for name in self._faults:
            self._settle_fault(name)
        if note := session.end(is_whole=not self.state.aborted):
            self.tell_note(note)
        self.tell_end(self.state.exit_code)

    # What steps call, through `messages` and by printing.

    def report_cached(self, task_name: str) -> None:
        """Take a task that doit is about to report as run or up to date for restored."""
        with self.guard:
            self._restored.add(task_name)

    def report_speaker(self, task_name: str) -> None:
        """Take what this thread prints for what a task says."""
        with self.guard:
            self._threads[threading.get_ident()] = task_name

    def report_warning(self, task_name: str, text: str) -> None:
        """Show a warning and keep it for the summary."""
        self._take_line(task_name, f"   warning: {' '.join(text.split())}", False)

    def report_waits(self, task_name: str, reason: str) -> None:
        """Show what a task waits for."""
        with self.guard:
            self.state.wait(task_name, reason)
        self.tell_wait(task_name, reason)

    def report_began(self, task_name: str) -> None:
        """Count the time of a task from now on, not the time that it waited for cores or licences."""
        with self.guard:
            self.state.begin(task_name, time.monotonic())

    def report_progress(self, text: str) -> None:
        """Take how far a step is."""
        with self.guard:
            owner = self.state.owner(self._threads.get(threading.get_ident()))
            if owner not in self.state.running:
                return
            due = self.state.progress(owner, text, time.monotonic())
        self.tell_progress(owner, text, due)

    def _take_line(self, name: str | None, line: str, shown: bool) -> None:
        """Take a line that a step printed; `shown` when it stands on the screen already."""
        warning = _WARNING.match(line)
        with self.guard:
            owner = self.state.owner(name)
            if warning:
                self.state.warn(owner, warning[1])
        self.tell_line(owner, line, warning[1] if warning else None, shown)

    # Inside.

    def capture(self) -> Capture:
        """Let what steps print come by here; begun before the first one: a run without any pays for none of this."""
        if self._capture is None:
            from build_rules.engine.report.capture import Capture

            self.expected = self.expected or session.history.expected
            self.begin_steps()
            self._capture = Capture(self._take_line, self._threads, self.withhold())
        return self._capture

    def _leave(self, name: str) -> None:
        """Take what the step printed last; what its thread prints from now on is not the step's."""
        if self._capture is not None:
            self._capture.finish(name)
        with self.guard:
            for thread, task in list(self._threads.items()):
                if task == name:
                    del self._threads[thread]

    def _close(self) -> None:
        """Take nothing more of what steps print, and leave the terminal as it was."""
        if self._capture is not None:
            self._capture.restore()
        self.end_steps()

    def report_interrupt(self) -> None:
        """Say that the run is about to be ended by an interrupt."""
        self._close()
        self.tell_end(INTERRUPTED)


def _last_target(task: Any) -> str:
    return str(task.targets[-1]) if task.targets else "-"
