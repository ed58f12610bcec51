"""`doit plan [TASK...]`: what a run would do, without doing it."""

from __future__ import annotations

from typing import Any

from build_rules.commands.command import show
from build_rules.commands.task_command import JSON_OPTION, TaskCommand
from build_rules.engine.fresh import current_run
from build_rules.errors import printable

__all__ = ["Plan"]


class Plan(TaskCommand):
    """doit's command `plan`."""

    name = "plan"
    doc_purpose = "tell what a run would do, without doing it"
    doc_usage = "[--json] [TASK...]"
    doc_description = (
        "Lists the steps that would run and why, in their order, and those that would run if what comes before them "
        "changes what they read. Names are those that `doit` takes; none means everything."
    )
    cmd_options = (JSON_OPTION,)

    def _execute(self, pos_args: list[str], json: bool) -> int:
        steps = self.steps()
        judged = steps.judged(self.selected())
        rows: list[dict[str, Any]] = [
            {
                "task": one.name,
                "runs": "yes" if one.causes else "maybe",
                "because": str(one.causes[0]) if one.causes else f"{', '.join(one.after)} may change what it reads",
            }
            for one in judged.values()
            if one.state != "fresh"
        ]
        fresh = len(judged) - len(rows) + sum(current_run.fresh.values())
        show(_as_json(rows) if json else _as_text(rows, fresh))
        self.finish()
        return 0


def _as_json(rows: list[dict[str, Any]]) -> str:
    import json

    return json.dumps(rows, indent=1) + "\n"


def _as_text(rows: list[dict[str, Any]], fresh: int) -> str:
    width = max((len(row["task"]) for row in rows), default=0)
    lines = [
        f"{'run  ' if row['runs'] == 'yes' else 'maybe'}  {row['task']:{width}}  because {row['because']}"
        for row in rows
    ]
    sure = sum(row["runs"] == "yes" for row in rows)
    lines.append(f"{sure} would run, {len(rows) - sure} more if these change what they read, {fresh} up to date")
    return "".join(f"{printable(line)}\n" for line in lines)
