"""What every reporter of ours does, whatever it prints: the workspace's lock, the state of the run, its exit code.

Exit codes: 0 done, 1 a task failed, 2 a task could not be run, 3 wrong input, 130 interrupted.

A reporter is called by doit (from the main thread, `execute_task` from the thread of the step), by the output of steps
and by `messages` (from any thread). `guard` protects the state; nothing is written while it is held.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from doit.exceptions import InvalidCommand, TaskFailed
from doit.globals import Globals

from build_rules.engine import interrupt, messages
from build_rules.engine.cache.of_step import close_cache
from build_rules.engine.freshness.current_run import current_run
from build_rules.engine.lock import LOCK, UnwritableError, check_writable, lock_workspace
from build_rules.engine.places import RECORDS
from build_rules.engine.report.run_state import RunState
from build_rules.engine.report.telling import Telling
from build_rules.engine.running.failure import WrongInput
from build_rules.engine.running.publish import clear_drafts
from build_rules.engine.standard_streams import say
from build_rules.errors import printable

if TYPE_CHECKING:
    from build_rules.engine.memory.durations import History
    from build_rules.engine.report.capture import Capture

__all__ = ["WRONG_INPUT", "Expected", "RunReporter"]

FAILED = 1
WRONG_INPUT = 3

Expected = Callable[[str], "float | None"]
"""The seconds that a task is expected to take, by its name; None when nobody knows."""

PROGRESS_SECONDS = 10.0
"""Where progress becomes lines, a step has one so often."""
_WARNING = re.compile(r"\s*warning:\s*(.*\S)", re.IGNORECASE)


class RunReporter(Telling):
    """doit's reporter interface (doit 0.36 and 0.37). What is printed is in the methods of `Telling`."""

    desc = ""

    def __init__(self, outstream: TextIO, options: Mapping[str, Any]) -> None:
        # doit's was taken before ours was made; it is None when it had been closed.
        self.outstream = sys.stdout if outstream in (None, sys.__stdout__) else outstream
        self.state = RunState(time.monotonic())
        self.guard = threading.RLock()
        self.expected: Expected | None = None
        self.tasks: Mapping[str, Any] = {}
        self.selected: list[str] = []
        self.begun = self.aborted = self.wrong_input = self._error = self._unmet = False
        self._faults: dict[str, str] = {}
        self._among_others = False
        self._threads: dict[int, str] = {}
        self._restored: set[str] = set()
        self._history: History | None = None
        self._capture: Capture | None = None
        self._unwritable: UnwritableError | None = None
        self._refused = False

    # What doit calls.

    def initialize(self, tasks: Mapping[str, Any], selected_tasks: list[str]) -> None:
        """Begin a run: from here to the end this process alone builds in the workspace."""
        interrupt.end_on_interrupt()
        if not selected_tasks:
            raise InvalidCommand("no task has a name like that; `doit list --all` shows them all.")
        try:
            self.lock = lock_workspace(LOCK)
            check_writable(Path(RECORDS))
        except UnwritableError as error:
            self._unwritable = error  # when nothing is to be done it does not matter
        else:
            clear_drafts()
            current_run.building = True
        self.tasks, self.selected = tasks, selected_tasks
        self.begun = True
        interrupt.before_end.append(self._interrupted)
        messages.listen(self)
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
        if self._unwritable is not None:
            self.aborted = self._refused = True
            raise self._unwritable
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
            self._unmet = True
            if task.actions:
                with self.guard:
                    self.state.not_reached(task.name)
                self.tell_not_reached(task.name)
            return
        self._error |= not isinstance(fail, TaskFailed)
        if task.name in self._faults:
            self._settle_fault(task.name)
            return
        self.wrong_input |= isinstance(fail, WrongInput)
        text = str(fail.get_msg()).rstrip()
        self._leave(task.name)
        with self.guard:
            seconds = self.state.failure(task.name, text, time.monotonic())
        self.tell_failure(task.name, text, seconds)

    def _tell_faults(self) -> None:
        """Tell what this run cannot do because of what is declared, before it does the rest."""
        from build_rules.engine.report.estimate import make_plan

        steps = make_plan(self.tasks, self.selected).targets
        is_ignored = Globals.dep_manager.status_is_ignore
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
            self.wrong_input |= not self._among_others
            self.state.failure(name, self._faults[name], time.monotonic(), told=True)

    def cleanup_error(self, exception: Any) -> None:
        """A teardown failed."""
        say(sys.stderr, exception.get_msg())

    def runtime_error(self, msg: str) -> None:
        """The run itself cannot go on."""
        self.aborted = True
        self.tell_abort(msg)

    def teardown_task(self, task: Any) -> None:
        """A teardown is about to run."""

    def complete_run(self) -> None:
        """End a run. Exits here where doit itself knows no exit code."""
        if not self.begun:
            return
        self._close()
        for name in self._faults:
            self._settle_fault(name)
        if told := close_cache():
            self.tell_note(told)
        if not self.aborted:
            current_run.finish()
            failed = {task: text.strip() for task, text in self.state.failures}
            if failed or self.state.good:
                from build_rules.engine.memory.failures import note_failures

                note_failures(failed, self.state.good)
        self.tell_end(self.exit_code)
        # To doit a step that was not reached is an error of its own, and wrong input is none.
        refused = self.exit_code == WRONG_INPUT and not self._refused
        if refused or (self.exit_code == FAILED and self._unmet):
            raise SystemExit(self.exit_code)

    @property
    def exit_code(self) -> int:
        """The exit code of the run as far as it has come."""
        if self.aborted and not self._refused:
            return 2
        if self.wrong_input or self._refused:
            return WRONG_INPUT
        return 2 if self._error else FAILED if self.state.failed else 0

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

    def report_began(self, task_name: str) -> None:
        """Count the time of a task from now on, not the time that it waited for cores or licences."""
        with self.guard:
            if task_name in self.state.running:
                self.state.running[task_name] = time.monotonic()

    def report_progress(self, text: str) -> None:
        """Take how far a step is."""
        with self.guard:
            owner = self.state.owner(self._threads.get(threading.get_ident()))
            now, begun = time.monotonic(), self.state.running.get(owner)
            if begun is None:
                return
            due = now - self.state.told_progress.get(owner, begun) >= PROGRESS_SECONDS
            self.state.notes[owner] = text
            if due:
                self.state.told_progress[owner] = now
        self.tell_progress(owner, text, due)

    def _take_line(self, name: str | None, line: str, shown: bool) -> None:
        """Take a line that a step printed; `shown` when it stands on the screen already."""
        found = _WARNING.match(line)
        with self.guard:
            owner = self.state.owner(name)
            if found:
                self.state.warn(owner, found[1])
        self.tell_line(owner, line, found[1] if found else None, shown)

    # Inside.

    def capture(self) -> Capture:
        """Let what steps print come by here; begun before the first one: a run without any pays for none of this."""
        if self._capture is None:
            from build_rules.engine.memory.durations import History
            from build_rules.engine.report.capture import Capture

            self._history = History()
            self.expected = self.expected or self._history.expected
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
        """Give back everything that was taken for the run."""
        messages.unlisten(self)
        with suppress(ValueError):
            interrupt.before_end.remove(self._interrupted)
        if self._capture is not None:
            self._capture.restore()
        self.end_steps()
        if self._history is not None and self.state.took:
            self._history.save(self.state.took)

    def _interrupted(self) -> None:
        self._close()
        self.tell_end(interrupt.INTERRUPTED)


def _last_target(task: Any) -> str:
    return str(task.targets[-1]) if task.targets else "-"
