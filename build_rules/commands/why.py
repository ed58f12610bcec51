"""`doit why TASK`: what makes a step run, back to what somebody changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from build_rules.commands.command import show
from build_rules.commands.stage_facts import REPORTS, read_own_report
from build_rules.commands.task_command import Steps, TaskCommand, upstream
from build_rules.engine.freshness.decide import Cause, StepStatus
from build_rules.engine.freshness.key import Step
from build_rules.engine.memory.failures import read_failures
from build_rules.errors import printable
from build_rules.exit_codes import DONE
from build_rules.workspace import DECLARATION, MODELS

__all__ = ["Why"]

REMEDIES = "remedies"
"""The fact of a report that holds what was tried, in words."""


class Why(TaskCommand):
    """doit's command `why`."""

    name = "why"
    doc_purpose = "tell what makes a step run, or that it is up to date"
    doc_usage = "TASK..."
    doc_description = (
        "Follows what a step reads back to the first thing that is not as it was: an input, a setting, a tool, the "
        "rule's own code, an output that is gone. Of a step that compiles, also what its compiler had to be helped "
        "with, and where layers were found to be worth 16 bits, which and why. Nothing is run."
    )
    cmd_options = ()

    def _execute(self, pos_args: list[str]) -> int:
        if not pos_args:
            raise self.refuse("needs the name of a task; `doit list --all` shows them.")
        names, steps = self.selected(), self.steps()
        statuses = steps.statuses(names)
        ignored, failures = steps.ignored(statuses), read_failures()
        for name in names:
            if name not in statuses:
                show(f"{printable(name)} is not a step of these rules\n")
                continue
            lines = [f"{name} is left out because of `doit ignore`; otherwise"] if name in ignored else []
            lines += _story(statuses[name], statuses, steps)
            lines += _remedies(steps.by_name[name])
            lines += _found_layers(steps.by_name[name])
            if name in failures and statuses[name].state != "fresh":
                when = datetime.fromtimestamp(failures[name].when).strftime("%Y-%m-%d %H:%M")
                message, *log = failures[name].text.splitlines()
                lines += [f"   it failed on {when}: {message}", *log]
            show("".join(f"{printable(line)}\n" for line in lines))
        self.finish()
        return DONE


def _story(status: StepStatus, statuses: Mapping[str, StepStatus], steps: Steps) -> Iterator[str]:
    """Tell why a step runs: its own causes, then those of everything before it, the first step first."""
    if status.state == "fresh":
        last = steps.record(status.name).get("because")
        yield f"{status.name} is up to date" + (f"; it ran last because {last}" if last else "")
        return
    before = upstream(status, statuses)[:-1]
    if broken := [other for other in (*before, status) if other.state == "broken"]:
        yield f"{status.name} cannot run because of what is declared:"
        yield from (f"   {other.name}: {other.causes[0]}" for other in broken)
        return
    if status.causes:
        yield f"{status.name} runs because"
        yield from (f"   {_with_origin(status, cause, statuses, steps)}" for cause in status.causes)
    changing = [other for other in before if other.causes]
    if changing:
        own = status.causes
        yield "and because of what comes before it:" if own else f"{status.name} runs if this changes what it reads:"
    for other in changing:
        yield from (f"   {other.name}: {_with_origin(other, cause, statuses, steps)}" for cause in other.causes)
    if through := [other.name for other in before if not other.causes]:
        yield f"   by way of {', '.join(through)}"


def _remedies(step: Step) -> Iterator[str]:
    """Tell what a compiler tried when a network found no place on the chip; the last of it helped."""
    for stage, name in REPORTS.items():
        folder = next((path.parent for path in step.outputs.values() if path.name == name), None)
        did = None if folder is None else read_own_report(folder, stage)
        tried = None if did is None else did.facts.get(REMEDIES)
        for text in tried if isinstance(tried, list) else ():
            yield f"   what lies there was made with a remedy, since it did not fit as asked: {text}"


def _found_layers(step: Step) -> Iterator[str]:
    """Tell which layers were found to be worth 16 bits, of the step that looks for them and of those behind it."""
    from build_rules.commands.mixed_facts import tell_found_layers

    written = list(step.outputs.values())
    yield from tell_found_layers(written if step.name.startswith(("mixed:", "alls:")) else step.input_files())


def _with_origin(status: StepStatus, cause: Cause, statuses: Mapping[str, StepStatus], steps: Steps) -> str:
    """Return a cause with where it comes from: a line of a declaration, or the step that made the file again."""
    writer = steps.writers.get(cause.what) if cause.kind == "input" else None
    if writer is not None and writer in statuses and statuses[writer].state == "fresh":
        because = steps.record(writer).get("because")
        return f"{cause}, because {writer} ran: {because}" if because else str(cause)
    return f"{cause}{_declared_at(status, cause, steps)}"


def _declared_at(status: StepStatus, cause: Cause, steps: Steps) -> str:
    """Say where a setting stands, when a line of the model's own declaration has its name."""
    if cause.kind != "setting":
        return ""
    path = Path(MODELS) / steps.by_name[status.name].owner / DECLARATION
    # A setting may be called as in the declaration, or by the last word of that (`calibration_count`).
    names = "|".join(map(re.escape, cause.what.split(".")))
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if re.match(rf"\s*(\w+_)?({names})\s*=", line):
                return f" ({path}:{number})"
    except (OSError, UnicodeDecodeError):
        pass
    return ""
