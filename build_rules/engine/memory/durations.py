"""How long tasks took in former runs, for estimates.

The table `durations` of `build/.records.db`: the last few durations of each task in seconds, oldest first, as a list in
JSON; tasks in the order in which they ran last.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress

from build_rules.engine.memory.table import Table

__all__ = ["History"]

SECONDS = Table("durations (task text primary key, seconds text not null)")
DURATIONS = 5
TASKS = 4000


class History:
    """The durations of one workspace; read when they are first asked for."""

    def __init__(self) -> None:
        self._loaded: dict[str, list[float]] | None = None

    @property
    def _seconds(self) -> dict[str, list[float]]:
        if self._loaded is None:
            self._loaded = dict(_read())
        return self._loaded

    def expected(self, task_name: str) -> float | None:
        """Return the median of a task's last durations, None for a task that never ran."""
        durations = sorted(self._seconds.get(task_name, ()))
        if not durations:
            return None
        middle = len(durations) // 2
        return durations[middle] if len(durations) % 2 else (durations[middle - 1] + durations[middle]) / 2

    def by_owner(self) -> dict[str, float]:
        """Return the sum of what the tasks of each owner take, by the second part of their names."""
        sums: dict[str, float] = {}
        for name in self._seconds:
            owner = f"{name}:".split(":")[1]
            sums[owner] = sums.get(owner, 0.0) + (self.expected(name) or 0.0)
        return sums

    def save(self, took: Mapping[str, float]) -> None:
        """Add the durations of a run."""
        rows = [
            (name, json.dumps([*self._seconds.get(name, []), round(duration, 3)][-DURATIONS:]))
            for name, duration in took.items()
        ]
        keep = "select rowid from durations order by rowid desc limit ?"
        SECONDS.change(
            ("insert or replace into durations values (?, ?)", rows),  # a row that is replaced becomes the last one
            (f"delete from durations where rowid not in ({keep})", [(TASKS,)]),
        )


def _read() -> Iterator[tuple[str, list[float]]]:
    for task, text in SECONDS.select("select task, seconds from durations order by rowid"):
        with suppress(ValueError, TypeError, RecursionError):
            durations = json.loads(text)
            if isinstance(task, str) and _is_sound(durations):
                yield task, durations


def _is_sound(durations: object) -> bool:
    return isinstance(durations, list) and all(
        isinstance(value, float) and math.isfinite(value) and value >= 0 for value in durations
    )
