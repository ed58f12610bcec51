"""How long tasks took in former runs, in `build/.history.json`.

The file holds `{"version": 1, "seconds": {TASK: [SECONDS, ...]}}`: the last few durations of each task, oldest first,
the tasks in the order in which they ran last. It serves estimates only, so a missing or damaged file is an empty one,
and nothing fails because it cannot be written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from build_rules.engine.places import read_regular, write_whole

__all__ = ["History"]

VERSION = 1
DURATIONS = 5
TASKS = 4000
LARGEST = 4 << 20


class History:
    """The durations of one workspace; read when they are first asked for. One process at a time saves."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loaded: dict[str, list[float]] | None = None

    @property
    def _seconds(self) -> dict[str, list[float]]:
        if self._loaded is None:
            self._loaded = _read(self._path)
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
        """Add the durations of a run and write the file, whole or not at all."""
        seconds = dict(self._seconds)
        for name, duration in took.items():
            seconds[name] = [*seconds.pop(name, []), round(duration, 3)][-DURATIONS:]
        kept = dict(list(seconds.items())[-TASKS:])
        with suppress(OSError):
            write_whole(self._path, [json.dumps({"version": VERSION, "seconds": kept}).encode()])


def _read(path: Path) -> dict[str, list[float]]:
    try:
        content = read_regular(path, LARGEST + 1)
        if len(content) > LARGEST:
            return {}
        document = json.loads(content)
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(document, dict) or document.get("version") != VERSION:
        return {}
    seconds = document.get("seconds")
    found = seconds if isinstance(seconds, dict) else {}
    return {name: durations for name, durations in found.items() if _is_sound(durations)}


def _is_sound(durations: object) -> bool:
    return isinstance(durations, list) and all(
        isinstance(value, float) and math.isfinite(value) and value >= 0 for value in durations
    )
