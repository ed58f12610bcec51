"""A run as JSON lines on stdout, for machines: `doit -r events`. The events are described in docs/building.md."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

from build_rules.engine.report.base import RunReporter
from build_rules.engine.standard_streams import say

__all__ = ["EventReporter"]

VERSION = 1
PATIENCE = 0.5


class EventReporter(RunReporter):
    """One JSON object per event. What steps print to stdout becomes events; stderr is left alone."""

    desc = "a JSON object per event, one to a line"

    def __init__(self, outstream: Any, options: Mapping[str, Any]) -> None:
        super().__init__(outstream, options)
        self._lock = threading.Lock()
        self._ended = False

    def tell_begin(self) -> None:
        """The run begins."""
        from build_rules.engine.report.estimate import make_plan

        steps = len(make_plan(self.tasks, self.selected).targets)
        self._emit("start", version=VERSION, process=os.getpid(), steps=steps)
        self.capture().install()

    def _emit(self, event: str, **values: Any) -> None:
        text = json.dumps({"event": event, "time": round(time.time(), 3), **values}) + "\n"
        # An interrupt may come while its own thread holds the lock: half a line with another one inside helps nobody.
        if self._lock.acquire(timeout=PATIENCE):
            try:
                if not self._ended:
                    self._ended = event == "end"
                    say(self.outstream, text)
            finally:
                self._lock.release()

    def withhold(self) -> tuple[bool, bool]:
        """Keep everything but events from stdout."""
        return True, False

    def tell_start(self, name: str) -> None:
        """A step begins."""
        expected = None if self.expected is None else self.expected(name)
        self._emit("run", task=name, expected=expected)

    def tell_wait(self, name: str, reason: str) -> None:
        """A step that was told to begin waits, and for what."""
        self._emit("waiting", task=name, text=reason)

    def tell_done(self, name: str, seconds: float, target: str) -> None:
        """A step has run."""
        self._emit("done", task=name, seconds=round(seconds, 3), target=target)

    def tell_cached(self, name: str, seconds: float, target: str) -> None:
        """A step's outputs came from the cache."""
        self._emit("cached", task=name, seconds=round(seconds, 3), target=target)

    def tell_fresh(self, name: str | None, count: int) -> None:
        """A step, or several that have no name, have nothing to do."""
        self._emit("up-to-date", task=name, count=count)

    def tell_ignored(self, name: str) -> None:
        """A step is skipped because the user wants it."""
        self._emit("ignored", task=name)

    def tell_failure(self, name: str, text: str, seconds: float | None) -> None:
        """A step failed."""
        self._emit("failed", task=name, seconds=None if seconds is None else round(seconds, 3), text=text)

    def tell_not_reached(self, name: str) -> None:
        """A step could not run because another one failed."""
        self._emit("not-reached", task=name)

    def tell_line(self, name: str, line: str, warning: str | None, shown: bool) -> None:
        """A step printed a line."""
        if warning is not None:
            self._emit("warning", task=name or None, text=warning)
        elif not shown:
            self._emit("output", task=name or None, text=line)

    def tell_progress(self, name: str, text: str, due: bool) -> None:
        """A step says how far it is."""
        self._emit("progress", task=name, text=text)

    def tell_note(self, text: str) -> None:
        """Something about the run as a whole is worth a line."""
        self._emit("note", text=text)

    def tell_abort(self, text: str) -> None:
        """The run itself cannot go on."""
        self._emit("error", text=text)

    def tell_end(self, code: int) -> None:
        """The run has ended."""
        state = self.state
        self._emit(
            "end",
            seconds=round(time.monotonic() - state.began, 3),
            exit=code,
            run=state.ran,
            cached=state.cached,
            up_to_date=state.current,
            failed=state.failed,
            not_reached=state.skipped,
            warnings=len(state.warnings),
        )
