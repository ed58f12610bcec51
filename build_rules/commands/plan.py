"""`doit plan [TASK...]`: what a run would do, without doing it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from build_rules.commands.command import show
from build_rules.commands.task_command import JSON_OPTION, TaskCommand, as_json, first_sentence, upstream
from build_rules.engine.freshness.current_run import current_run
from build_rules.engine.freshness.decide import StepStatus
from build_rules.engine.memory.durations import History
from build_rules.errors import printable
from build_rules.exit_codes import DONE

__all__ = ["Plan"]

WORDS = {"cached": "cache", "yes": "run  ", "maybe": "maybe", "broken": "wrong"}


class Plan(TaskCommand):
    """doit's command `plan`."""

    name = "plan"
    doc_purpose = "tell what a run would do, without doing it"
    doc_usage = "[--json] [TASK...]"
    doc_description = (
        "Lists the steps that would run and why, in their order, those that would come from the shared cache, those "
        "that would run if what comes before them changes what they read, and those that are declared wrongly. The "
        "seconds are those they took before. Names are those that `doit` takes; none means everything."
    )
    cmd_options = (JSON_OPTION,)

    def _execute(self, pos_args: list[str], json: bool) -> int:
        steps = self.steps()
        statuses = steps.statuses(self.selected())
        ignored = steps.ignored(statuses)
        statuses = {name: status for name, status in statuses.items() if name not in ignored}
        cached = steps.cached(statuses)
        history = History()
        rows: list[dict[str, Any]] = [
            {
                "task": status.name,
                "runs": _verdict(status, statuses, cached),
                "expected_seconds": history.expected(status.name),
                "because": str(status.causes[0])
                if status.causes
                else f"{', '.join(status.after)} may change what it reads",
            }
            for status in statuses.values()
            if status.state != "fresh"
        ]
        fresh = len(statuses) - len(rows) + sum(current_run.fresh.values())
        show(as_json(rows) if json else _as_text(rows, fresh, len(ignored)))
        self.finish()
        return DONE


def _verdict(status: StepStatus, statuses: Mapping[str, StepStatus], cached: Collection[str]) -> str:
    """Return what becomes of a step that is not up to date."""
    if status.state == "broken":
        return "broken"
    if any(other.state == "broken" for other in upstream(status, statuses)):
        return "no"
    return "cached" if status.name in cached else "yes" if status.causes else "maybe"


def _because(row: Mapping[str, Any]) -> str:
    return first_sentence(row["because"]) if row["runs"] == "broken" else str(row["because"])


def _seconds(expected: float | None) -> str:
    return "     ?" if expected is None else f"{expected:5.0f}s"


def _as_text(rows: list[dict[str, Any]], fresh: int, ignored: int) -> str:
    after_broken = sum(row["runs"] == "no" for row in rows)
    rows = [row for row in rows if row["runs"] != "no"]
    width = max((len(row["task"]) for row in rows), default=0)
    lines = [
        f"{WORDS[row['runs']]}  {row['task']:{width}}  {_seconds(row['expected_seconds'])}  because {_because(row)}"
        for row in rows
    ]
    counts = {kind: sum(row["runs"] == kind for row in rows) for kind in WORDS}
    restored = f"{counts['cached']} would come from the cache, " if counts["cached"] else ""
    changing = f"{counts['maybe']} more if these change what they read"
    lines.append(f"{restored}{counts['yes']} would run, {changing}, {fresh} up to date")
    if counts["broken"]:
        lines.append(f"{counts['broken']} declared wrongly and cannot run, {after_broken} more that need these")
    if ignored:
        lines.append(f"{ignored} left out because of `doit ignore`; `doit forget TASK` ends that")
    if seconds := sum(row["expected_seconds"] or 0 for row in rows if row["runs"] in ("yes", "maybe")):
        lines.append(f"about {seconds:.0f} s of steps, by what they took before")
    return "".join(f"{printable(line)}\n" for line in lines)
