"""One run of doit from its beginning to its end: what it takes from the workspace, and lets go of.

begin: interrupts end the process at once; the workspace is this process's alone (or known not to be writable); what
killed runs have left is gone. Then steps run, and whoever tells of them keeps `state`. end: the durations of steps are
remembered, uploads to the shared cache are waited for, the snapshot of what is fresh is written, failures are noted.

`commands/run.py` begins and ends a run whatever reporter tells of it; a reporter of ours ends it a little earlier, to
have the last word itself.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from build_rules.engine import messages
from build_rules.engine.freshness.current_run import current_run
from build_rules.engine.interrupt import end_on_interrupt, on_interrupt
from build_rules.engine.lock import LOCK, UnwritableError, check_writable, lock_workspace
from build_rules.engine.places import RECORDS
from build_rules.engine.running.publish import clear_drafts
from build_rules.engine.running.resources import Resources, machine_resources
from build_rules.engine.running.run_state import RunState

if TYPE_CHECKING:
    from build_rules.engine.cache.location import CacheSettings
    from build_rules.engine.cache.shared import SharedCache
    from build_rules.engine.memory.durations import History

__all__ = ["Reporter", "Session", "session"]

CLOSE_SECONDS = 20.0
"""How long the end of a run waits for what is still being uploaded."""


class Reporter(messages.Listener, Protocol):
    """Who tells of a run and keeps its state."""

    def report_interrupt(self) -> None:
        """The run is about to be ended by an interrupt."""


class Session:
    """The run of this process. `resources` are what its steps share, `state` is what has become of them so far.

    `unwritable` says why this user cannot build here, which does not matter while nothing has to be built.
    `cache_settings` are where results are shared, if anywhere.
    """

    def __init__(self) -> None:
        self.resources = Resources(machine_resources())
        self.state = RunState(time.monotonic())
        self.unwritable: UnwritableError | None = None
        self.cache_settings: CacheSettings | None = None
        self._cache: SharedCache | None = None
        self._guard = threading.Lock()
        self._reporter: Reporter | None = None
        self._history: History | None = None
        self._is_open = False

    def begin(self) -> None:
        """Take the workspace; from here to the end of the process nobody else builds in it.

        Raises doit's `InvalidCommand` for a workspace in which nobody can build.
        """
        end_on_interrupt()
        try:
            # Not given back before the process ends: threads of a run that fails may still be writing.
            lock_workspace(LOCK)
            check_writable(Path(RECORDS))
        except UnwritableError as error:
            self.unwritable = error
        else:
            clear_drafts()
            current_run.building = True
        self.state = RunState(time.monotonic())
        self._is_open = True

    def check_writable(self) -> None:
        """End the run when a task is about to run where this user cannot build. Raises `UnwritableError`."""
        if self.unwritable is not None:
            self.state.aborted = self.state.refused = True
            raise self.unwritable

    def tell(self, reporter: Reporter) -> None:
        """From now on let a reporter know what steps say, and when the run is interrupted; it keeps `state`."""
        self._reporter = reporter
        messages.listen(reporter)
        on_interrupt.calls += (self._remember_durations, reporter.report_interrupt)

    def tell_no_more(self) -> None:
        """The reporter has heard everything."""
        if self._reporter is not None:
            messages.unlisten(self._reporter)
            for call in (self._remember_durations, self._reporter.report_interrupt):
                with suppress(ValueError):
                    on_interrupt.calls.remove(call)

    @property
    def history(self) -> History:
        """What former runs took; loaded when the first step runs, because a run without any needs none of it."""
        if self._history is None:
            from build_rules.engine.memory.durations import History

            self._history = History()
        return self._history

    @property
    def cache(self) -> SharedCache | None:
        """The shared cache, None when there is none; opened when it is first asked for, by whichever thread."""
        with self._guard:
            if self._cache is None and self.cache_settings is not None:
                from build_rules.engine.cache.shared import SharedCache

                self._cache = SharedCache(*self.cache_settings, lambda text: messages.warn("", text))
            return self._cache

    def end(self, is_whole: bool) -> str:
        """Let go of everything, once; return what is to be told of the shared cache.

        `is_whole`: the run came to its end, whatever became of its steps.
        """
        if not self._is_open:
            return ""
        self._is_open = False
        self.tell_no_more()
        self._remember_durations()
        note = self._close_cache()
        if is_whole:
            failed = {task: text.strip() for task, text in self.state.failures}
            # Reporters of doit keep no state; of tasks that users have made themselves only ours know.
            up_to_date = current_run.up_to_date() | self.state.up_to_date
            current_run.finish(failed)
            if failed or up_to_date:
                from build_rules.engine.memory.failures import note_failures

                note_failures(failed, up_to_date)
        return note

    def exit_code(self, of_doit: int) -> int:
        """Return what the run ends with: doit knows neither wrong input nor steps that were merely not reached."""
        return of_doit if self._reporter is None else self.state.exit_code

    def _close_cache(self) -> str:
        if self._cache is None:
            return ""
        self._cache.close(CLOSE_SECONDS)
        return str(self._cache.stats)

    def _remember_durations(self) -> None:
        if self.state.took:
            self.history.save(self.state.took)


session = Session()
"""There is one per process: doit runs once in it, and what its steps share must be found from any thread of theirs."""
