"""What the live view shows of a run, from its state, its plan and the clock."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager

from build_rules.engine.report.base import Expected
from build_rules.engine.report.estimate import Left, Plan, Progress, expected_costs, remaining
from build_rules.engine.report.frame import Shown, Step
from build_rules.engine.running.run_state import RunState

__all__ = ["Board"]

ESTIMATE_EVERY = 1.0


class Board:
    """The facts behind the view. Asked by one thread."""

    def __init__(self, state: RunState, guard: AbstractContextManager[object], plan: Plan, expected: Expected) -> None:
        self._state = state
        self._guard = guard
        self._plan = plan
        self._expected = expected
        self._missing: set[str] | None = None
        self._left: Left | None = None
        self._estimated = float("-inf")

    def shown(self) -> Shown:
        """Return what is to be shown now."""
        now = time.monotonic()
        with self._guard:
            state = self._state
            waiting = dict(state.waiting)
            started = [(name, begun, state.notes.get(name, "")) for name, begun in state.running.items()]
            settled = state.ran + state.cached + state.current + state.failed + state.skipped
            counts = (state.ran, state.cached, state.current, state.failed, len(state.warnings))
            steps = len(self._plan.targets) + state.unloaded
        running = [
            Step(name, now - begun, self._expected(name), note, waiting.get(name, "")) for name, begun, note in started
        ]
        return Shown(running, max(steps, settled), settled, *counts, self._estimate(now))

    def _estimate(self, now: float) -> Left | None:
        """Estimate once a second, and let time pass in between."""
        if now - self._estimated >= ESTIMATE_EVERY:
            if self._missing is None:
                self._missing = self._plan.missing(os.path.exists)
            with self._guard:
                state = self._state
                running = {n: 0.0 if n in state.waiting else now - begun for n, begun in state.running.items()}
                took, workers = dict(state.took), state.most_running
                progress = Progress(set(state.settled), set(state.dead), running, took, workers)
            cost = expected_costs(self._expected, took)
            self._left, self._estimated = remaining(self._plan, progress, self._missing, cost), now
        if self._left is None:
            return None
        return Left(max(self._left.seconds - (now - self._estimated), 0.0), self._left.at_least)
