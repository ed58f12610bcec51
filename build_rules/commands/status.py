"""`doit status [GLOB...]`: a line for every model and target, whether it is fresh and if not, why."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from build_rules.commands.command import show
from build_rules.commands.stage_facts import read_described_warnings
from build_rules.commands.task_command import JSON_OPTION, Steps, TaskCommand, as_json, first_sentence, upstream
from build_rules.engine.cleaning.leftovers import find_leftovers
from build_rules.engine.doit_names import command_line_variables, recorded_tasks
from build_rules.engine.freshness.current_run import current_run
from build_rules.engine.freshness.decide import StepStatus
from build_rules.engine.freshness.key import Step
from build_rules.engine.memory.failures import Failure, read_failures
from build_rules.engine.places import BUILD
from build_rules.errors import printable
from build_rules.exit_codes import DONE, FAILED

__all__ = ["Status", "target_rows"]

Row = dict[str, Any]
LEFT = "no longer declared"
MAX_LEFT = 20
STATES = ("fresh", "cached", "stale", "never built", "failed", "broken", "ignored")


class Status(TaskCommand):
    """doit's command `status`."""

    name = "status"
    doc_purpose = "tell of every model and target whether it is up to date"
    doc_usage = "[--json] [MODEL...]"
    doc_description = (
        "States: fresh; cached, when all it lacks is in the shared cache; stale, with the first reason; never built; "
        "failed, with when and what; broken, with what is declared wrongly; ignored, by `doit ignore`. MODEL may be a "
        "pattern such as 'team/*'. Below a target that is built stands what its compiler warned of. Exit code 0: "
        "everything is fresh; 1: something is not. Nothing is run."
    )
    cmd_options = (JSON_OPTION,)

    def _execute(self, pos_args: list[str], json: bool) -> int:
        wanted = [row for row in target_rows(self.steps()) if _matches(row, pos_args)]
        if not wanted and pos_args:
            raise self.refuse(f"no model is called {' or '.join(pos_args)}.")
        wanted = [row | {"warnings": _warnings(row), "mixed_precision": _mixed(row)} for row in wanted]
        left = [row for row in self._leftovers() if _matches(row, pos_args)]
        show(as_json(wanted + left) if json else _as_text(wanted) + _left_over(left))
        self.finish()
        return FAILED if any(row["state"] != "fresh" for row in wanted) else DONE

    def _leftovers(self) -> list[Row]:
        """Return a row for each step that is declared no more and has left something; with variables nobody can say."""
        if command_line_variables():
            return []
        leftovers = find_leftovers(recorded_tasks(), self.dep_manager.get_values)
        return [
            _fresh_row(left.task) | {"state": LEFT, "outputs": list(left.outputs)} for left in leftovers if left.outputs
        ]


def target_rows(steps: Steps) -> list[Row]:
    """Return a row for every model and target in order: `model`, `target`, `state`, `because` and what else is told."""
    ends = _ends(steps.by_name, steps.writers)
    statuses = steps.statuses(ends)
    failures = read_failures()
    cached = steps.cached(statuses)
    ignored = steps.ignored(statuses)
    rows = [_row(statuses[name], statuses, failures, cached, ignored) for name in ends]
    rows += [_fresh_row(name) for ends in current_run.fresh_ends().values() for name in ends]
    return sorted(rows, key=lambda row: (row["model"], row["target"]))


def _ends(steps: Mapping[str, Step], writers: Mapping[str, str]) -> list[str]:
    """Return the steps whose outputs no other step reads.

    One that cannot run reads nothing, so that what is made for all targets of its model seems to be for nobody.
    """
    read = {writers[str(path)] for step in steps.values() for path in step.input_files() if str(path) in writers}
    ends = [_fresh_row(name) for name in steps if name not in read]
    with_targets = {row["model"] for row in ends if row["target"]}
    return [row["task"] for row in ends if row["target"] or row["model"] not in with_targets]


def _warnings(row: Row) -> list[str]:
    """Return what the compiler warned of when it made what lies there for a target."""
    return [*read_described_warnings(Path(BUILD) / row["model"] / row["target"])] if row["target"] else []


def _mixed(row: Row) -> list[str]:
    """Return which layers of a target were found to be worth 16 bits, after what they bring."""
    from build_rules.commands.mixed_facts import read_found_layers
    from build_rules.presets import PRESETS

    if not any(f"-{preset.name}" in row["target"] for preset in PRESETS.values() if preset.mixed):
        return []
    return [*read_found_layers(Path(BUILD) / row["model"] / row["target"])]


def _matches(row: Row, patterns: list[str]) -> bool:
    return not patterns or any(fnmatchcase(row["model"], pattern) for pattern in patterns)


def _fresh_row(name: str) -> Row:
    _, model, target = [*name.split(":", 2), "", ""][:3]
    return {"model": model, "target": target, "state": "fresh", "task": name, "because": "", "when": None} | {
        "warnings": [],
        "mixed_precision": [],
    }


def _row(
    end: StepStatus,
    statuses: Mapping[str, StepStatus],
    failures: Mapping[str, Failure],
    cached: set[str],
    ignored: set[str],
) -> Row:
    """One target: the state of its last step, or of the first before it that is not fresh."""
    row = _fresh_row(end.name)
    chain = upstream(end, statuses)
    if end.name in ignored and end.state != "fresh":
        first_ignored = next(status.name for status in chain if status.name in ignored)
        return row | {"state": "ignored", "task": first_ignored, "because": "`doit ignore` leaves it out"}
    broken = next((status for status in chain if status.state == "broken"), None)
    if broken is not None:
        return row | {"state": "broken", "task": broken.name, "because": str(broken.causes[0])}
    failed = next((status for status in chain if status.name in failures and status.state != "fresh"), None)
    if failed is not None:
        failure = failures[failed.name]
        return row | {"state": "failed", "task": failed.name, "because": failure.text, "when": failure.when}
    first = next((status for status in chain if status.causes), None)
    if first is None:
        return row
    if all(status.name in cached for status in chain):
        return row | {"state": "cached", "task": first.name, "because": f"is in the shared cache ({first.causes[0]})"}
    state = "never built" if end.state == "never" else "stale"
    return row | {"state": state, "task": first.name, "because": str(first.causes[0])}


def _as_text(rows: list[Row]) -> str:
    width = max((len(f"{row['model']}:{row['target']}") for row in rows), default=0)
    lines = []
    for row in rows:
        reason = "" if row["state"] == "fresh" else f"  {_short(row)}"
        lines.append(f"{row['model']}:{row['target']}".ljust(width) + f"  {row['state']:11}{reason}".rstrip())
        if found := row["mixed_precision"]:
            lines.append(f"   mixed precision: {_cut(found[0])}")
        if warnings := row["warnings"]:
            more = f" (and {len(warnings) - 1} more, `doit inspect` shows them)" if len(warnings) > 1 else ""
            lines.append(f"   warning: {_cut(first_sentence(warnings[0]))}{more}")
    counts = {state: sum(row["state"] == state for row in rows) for state in STATES}
    lines.append(", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no models")
    return "".join(f"{printable(line)}\n" for line in lines)


def _left_over(rows: list[Row]) -> str:
    paths = [path for row in rows for path in row["outputs"]]
    if not paths:
        return ""
    more = [f"   and {len(paths) - MAX_LEFT} more"] if len(paths) > MAX_LEFT else []
    lines = [f"no longer declared, `doit clean --stale` removes {len(paths)} files:"]
    lines += [*(f"   {path}" for path in paths[:MAX_LEFT]), *more]
    return "".join(f"{printable(line)}\n" for line in lines)


def _short(row: Row) -> str:
    when = "" if row["when"] is None else f"{datetime.fromtimestamp(row['when']):%Y-%m-%d %H:%M}: "
    because = first_sentence(row["because"]) if row["state"] == "broken" else row["because"]
    return _cut(f"{row['task']}: {when}{because}")


def _cut(text: str) -> str:
    return text if len(text) <= 160 else f"{text[:157]}..."
