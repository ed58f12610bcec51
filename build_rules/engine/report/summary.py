"""What is told at the end of a run, beside its counts: where the time went, warnings, failures once more."""

from __future__ import annotations

from collections.abc import Sequence

from build_rules.engine.report.cells import width
from build_rules.engine.report.plain import seconds
from build_rules.engine.report.terminal import Ink
from build_rules.engine.running.run_state import RunState
from build_rules.errors import printable

__all__ = ["failures", "slowest", "warnings"]

LONG_RUN = 10.0
FEW = 3
SLOWEST = 5
NAMES = 3


def slowest(state: RunState, now: float, ink: Ink) -> list[str]:
    """Return the steps that took longest, with their share of the time of all steps; nothing for short runs."""
    if now - state.began <= LONG_RUN or len(state.took) <= FEW:
        return []
    total = sum(state.took.values()) or 1.0
    top = sorted(state.took.items(), key=lambda step: (-step[1], step[0]))[:SLOWEST]
    longest = max(width(name) for name, _ in top)
    rows = [
        f"   {name}{' ' * (longest - width(name))}  {seconds(took):>8}  {100 * took / total:3.0f} %"
        for name, took in top
    ]
    return [ink.paint(ink.bold, f"slowest of {len(state.took)} steps:"), *rows]


def warnings(state: RunState, ink: Ink) -> list[str]:
    """Return each warning once, with the tasks that gave it; nothing where a single step's stand right above."""
    if not state.warnings or state.ran + state.cached + state.failed <= 1:
        return []
    by_text: dict[str, list[str]] = {}
    for task, text in state.warnings:
        by_text.setdefault(text, []).append(task)
    different = f", {len(by_text)} different" if len(by_text) < len(state.warnings) else ""
    head = f"{len(state.warnings)} warning{'s' if len(state.warnings) > 1 else ''}{different}:"
    return [ink.paint(ink.orange, head), *(f"   {printable(text)}{_tasks(tasks)}" for text, tasks in by_text.items())]


def _tasks(names: Sequence[str]) -> str:
    tasks = [name for name in dict.fromkeys(names) if name]
    text = ", ".join(tasks[:NAMES]) + (f" and {len(tasks) - NAMES} more" if len(tasks) > NAMES else "")
    return f" ({text})" if text else ""


def failures(state: RunState, ink: Ink) -> list[str]:
    """Return the first line of each different failure; nothing where the only one stands right above."""
    if len(state.failures) <= 1 and not state.lines_since_failure:
        return []
    head = ink.paint(ink.orange, "failed:")
    by_text: dict[str, list[str]] = {}
    for task, text in state.failures:
        by_text.setdefault(_first_line(text), []).append(task)
    return [f"{head} {', '.join(tasks)}: {text}" for text, tasks in by_text.items()]


def _first_line(text: str) -> str:
    return printable(text.split("\n", 1)[0])
