"""What is left to do in a run, estimated from what steps took in former runs and in this one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Left", "Plan", "Progress", "expected_costs", "make_plan", "remaining"]


@dataclass(frozen=True)
class Plan:
    """Every task that a run may reach, each after those it needs; groups of tasks are in it, too."""

    needs: Mapping[str, tuple[str, ...]]
    targets: Mapping[str, tuple[str, ...]]
    """The outputs of the steps, which are the tasks that do something."""

    def missing(self, exists: Callable[[str], bool]) -> set[str]:
        """Return the steps whose outputs are not all there: they will run."""
        return {name for name, targets in self.targets.items() if not all(map(exists, targets))}


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    settled: Collection[str]
    dead: Collection[str]
    """What failed, or was not reached."""
    running: Mapping[str, float]
    """Name to seconds since it began."""
    took: Mapping[str, float]
    workers: int


@dataclass(frozen=True)
class Left:
    """Seconds that are left; `at_least` when nobody knows how long some of the steps take."""

    seconds: float
    at_least: bool


def make_plan(tasks: Mapping[str, Any], selected: Iterable[str]) -> Plan:
    """Return the plan of a run of doit's tasks."""
    needs: dict[str, tuple[str, ...]] = {}
    targets: dict[str, tuple[str, ...]] = {}
    visited: set[str] = set()
    # Without recursion: a chain of tasks may be longer than Python's stack. A name comes twice, before what it needs
    # and after it.
    pending = [(name, False) for name in reversed(list(selected))]
    while pending:
        name, after = pending.pop()
        if name not in tasks or (name in visited and not after):
            continue
        task = tasks[name]
        wanted = tuple(dict.fromkeys([*task.task_dep, *task.setup_tasks]))
        if after:
            needs[name] = wanted
            if task.actions:
                targets[name] = tuple(map(str, task.targets))
        else:
            visited.add(name)
            pending.append((name, True))
            pending.extend((other, False) for other in reversed(wanted) if other not in visited)
    return Plan(needs, targets)


def expected_costs(expected: Callable[[str], float | None], took: Mapping[str, float]) -> Callable[[str], float | None]:
    """Return what a task is expected to take: as before, else the mean of its kind (`har` of `har:x`) in this run."""
    kinds: dict[str, list[float]] = {}
    for name, seconds in took.items():
        kinds.setdefault(name.split(":")[0], []).append(seconds)

    def cost(name: str) -> float | None:
        before = expected(name)
        alike = kinds.get(name.split(":")[0])
        return before if before is not None or not alike else sum(alike) / len(alike)

    return cost


def remaining(
    plan: Plan, progress: Progress, missing: Collection[str], cost: Callable[[str], float | None]
) -> Left | None:
    """Return what is left, None when nothing is known of it.

    A step is taken to run when its outputs are missing or something that it needs ran or will run. The time is that of
    the longest chain of steps, or of all steps shared by the workers that were seen, whichever is longer.
    """
    ends: dict[str, float] = {}
    stale = {*progress.took, *progress.running}
    dead = set(progress.dead)
    total, unknown = 0.0, False
    for name, needs in plan.needs.items():
        seconds: float | None = 0.0
        if name in progress.running:
            whole = cost(name)
            seconds = None if whole is None else max(whole - progress.running[name], 0.0)
        elif not dead.isdisjoint(needs):
            dead.add(name)
        elif name not in progress.settled and (name in missing or not stale.isdisjoint(needs)):
            stale.add(name)
            seconds = cost(name) if name in plan.targets else 0.0
        unknown |= seconds is None
        total += seconds or 0.0
        ends[name] = (seconds or 0.0) + max((ends.get(need, 0.0) for need in needs), default=0.0)
    longest = max(ends.values(), default=0.0)
    left = max(longest, total / max(progress.workers, 1))
    return Left(left, unknown) if left > 0 else None
