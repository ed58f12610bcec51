"""What a run prints for people: lines, and on a terminal what runs at the moment below them.

A line per step that runs, a paragraph per error, at the end a summary.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from build_rules.engine.doit_names import is_debugging
from build_rules.engine.interrupt import leave_on_stop
from build_rules.engine.report import plain
from build_rules.engine.report.base import RunReporter
from build_rules.engine.standard_streams import say
from build_rules.exit_codes import INTERRUPTED

if TYPE_CHECKING:
    from build_rules.engine.report.heartbeat import Heartbeat
    from build_rules.engine.report.live import LiveView
    from build_rules.engine.report.terminal import Ink
    from build_rules.engine.running.run_state import Diagnostic

__all__ = ["BuildReporter"]


class BuildReporter(RunReporter):
    """Lines everywhere; on a terminal that can do it the live view, too."""

    desc = "a line per step that runs, a paragraph per error, a summary"

    def __init__(self, outstream: Any, options: Mapping[str, Any]) -> None:
        super().__init__(outstream, options)
        self._live = False
        self._view: LiveView | None = None
        self._heartbeat: Heartbeat | None = None
        self._ink: Ink | None = None

    def initialize(self, tasks: Mapping[str, Any], selected_tasks: list[str]) -> None:
        """Begin a run."""
        super().initialize(tasks, selected_tasks)
        if self.outstream.isatty() and not is_debugging():
            from build_rules.engine.report.terminal import is_live

            self._live = is_live(self.outstream, os.environ)
        if self._live:
            leave_on_stop(self._left)

    def _left(self) -> AbstractContextManager[None]:
        return nullcontext() if self._view is None else self._view.left()

    def begin_steps(self) -> None:
        """Begin the live view where there is one, lines at long intervals elsewhere."""
        if not self._live:
            if not is_debugging():
                from build_rules.engine.report.heartbeat import Heartbeat

                self._heartbeat = Heartbeat(lambda: self.beat(time.monotonic()))
            return
        from build_rules.engine.report.board import Board
        from build_rules.engine.report.estimate import make_plan
        from build_rules.engine.report.frame import rows
        from build_rules.engine.report.live import LiveView
        from build_rules.engine.report.terminal import choose_ink

        assert self.expected is not None
        ink = self._ink = choose_ink(os.environ)
        board = Board(self.state, self.guard, make_plan(self.tasks, self.selected), self.expected)
        self._view = LiveView(self.outstream, lambda columns, lines: rows(board.shown(), columns, lines, ink))
        self._view.start()

    def end_steps(self) -> None:
        """End the live view, or the lines."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat = None
        if self._view is not None:
            self._view.close()
            self._view = None

    def withhold(self) -> tuple[bool, bool]:
        """Keep from the terminal what the view prints above itself."""
        return (False, False) if self._view is None else (sys.stdout.isatty(), sys.stderr.isatty())

    def write(self, text: str) -> None:
        """Print at once, since a step may take hours."""
        # The main thread may end the view meanwhile.
        view = self._view
        if view is not None:
            view.print(text)
        else:
            say(self.outstream, text)

    def tell_start(self, name: str) -> None:
        """A step begins; the live view shows it while it runs."""
        if self._view is None:
            self.write(plain.started(name))

    def tell_done(self, name: str, seconds: float, target: str) -> None:
        """A step has run."""
        self.write(plain.done(name, seconds, target))

    def tell_cached(self, name: str, seconds: float, target: str) -> None:
        """A step's outputs came from the cache."""
        self.write(plain.cached(name, target))

    def tell_ignored(self, name: str) -> None:
        """A step is skipped because the user wants it."""
        self.write(plain.ignored(name))

    def tell_failure(self, name: str, text: str, seconds: float | None) -> None:
        """A step failed."""
        word = "ERROR"
        if self._ink is not None and sys.stderr.isatty():
            word = self._ink.paint(self._ink.orange, word)
        before = _told_before(self.state.failures, name, text)
        say(sys.stderr, plain.failed(name, f"the same as of {before}" if before else text, word))

    def tell_line(self, name: str, line: str, warning: str | None, shown: bool) -> None:
        """A step printed a line."""
        if shown:
            return
        if warning is not None and (before := _told_before(self.state.warnings, name, warning)):
            line = f"   warning: the same as of {before}"
        if warning is not None and self._ink is not None:
            head, colon, rest = line.partition(":")
            line = f"{self._ink.paint(self._ink.orange, head + colon)}{rest}"
        self.write(f"{line}\n")

    def tell_progress(self, name: str, text: str, due: bool) -> None:
        """A step says how far it is; the live view shows it in the step's own row."""
        if due and self._view is None:
            self._tell_running([name], time.monotonic())

    def beat(self, now: float) -> None:
        """Tell of every step of which nothing has been told for long."""
        with self.guard:
            names = self.state.due(now)
        self._tell_running(names, now)

    def _tell_running(self, names: list[str], now: float) -> None:
        with self.guard:
            state = self.state
            there = [
                (name, now - state.running[name], state.notes.get(name, ""), state.waiting.get(name, ""))
                for name in names
                if name in state.running
            ]
        for name, elapsed, note, waits in there:
            expected = None if self.expected is None else self.expected(name)
            self.write(plain.running(name, elapsed, expected, note, waits))

    def tell_note(self, text: str) -> None:
        """Something about the run as a whole is worth a line."""
        self.write(f"{text}\n")

    def tell_abort(self, text: str) -> None:
        """The run itself cannot go on."""
        say(sys.stderr, f"ERROR: {text}\n")

    def tell_end(self, code: int) -> None:
        """The run has ended: say what there was, failures last."""
        if code != INTERRUPTED and not self.state.aborted:
            for text in self._summary(time.monotonic()):
                self.write(text)

    def _summary(self, now: float) -> Iterator[str]:
        if not (self.state.took or self.state.warnings or self.state.failures):
            yield plain.counts(self.state, now)
            return
        from build_rules.engine.report import summary
        from build_rules.engine.report.terminal import NO_INK

        ink = self._ink or NO_INK
        for line in [*summary.slowest(self.state, now, ink), *summary.warnings(self.state, ink)]:
            yield f"{line}\n"
        yield plain.counts(self.state, now)
        for line in summary.failures(self.state, ink):
            yield f"{line}\n"


def _told_before(told: Sequence[Diagnostic], name: str, text: str) -> str:
    """Return the task of which the same was told in this run; nothing where that is no longer than to say so."""
    first = next((one.task for one in told if one.text == text), name)
    return first if first != name and len(f"the same as of {first}") < len(text) else ""
