"""What the commands share that look at the steps of a repository, as doit has them, without running any."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from doit.cmd_base import DoitCmdBase
from doit.control import TaskControl
from doit.exceptions import InvalidCommand

from build_rules.commands.help_option import HelpOption
from build_rules.commands.unknown import unknown_task
from build_rules.engine.doit_names import is_ignored
from build_rules.engine.freshness.current_run import current_run
from build_rules.engine.freshness.decide import StepStatus, find_statuses
from build_rules.engine.freshness.key import Step
from build_rules.engine.running.dispatch import in_order
from build_rules.engine.running.session import session

__all__ = ["JSON_OPTION", "Steps", "TaskCommand", "as_json", "first_sentence", "upstream"]

JSON_OPTION = {"name": "json", "short": "", "long": "json", "type": bool, "default": False, "help": "print JSON"}


@dataclass(frozen=True)
class Steps:
    """The steps that were made, by name; which of them writes each file; the record of a step, empty when it has none.

    `is_ignored` tells what `doit ignore` says of a step.
    """

    by_name: Mapping[str, Step]
    writers: Mapping[str, str]
    record: Callable[[str], Mapping[str, Any]]
    is_ignored: Callable[[str], bool]

    def statuses(self, names: Sequence[str]) -> dict[str, StepStatus]:
        """Return the status of the named steps, and of all before them."""
        return find_statuses(names, self.by_name, self.record, self.writers)

    def cached(self, statuses: Mapping[str, StepStatus]) -> set[str]:
        """Return the steps that the shared cache would restore."""
        cache = session.cache
        if cache is None:
            return set()
        from build_rules.engine.cache.of_step import foresee

        return foresee(cache, ((self.by_name[name], status.state != "fresh") for name, status in statuses.items()))

    def ignored(self, statuses: Mapping[str, StepStatus]) -> set[str]:
        """Return the steps that a run leaves out: those that the user has ignored, and all that come after one."""
        ignored = {name for name in statuses if self.is_ignored(name)}
        for name in statuses if ignored else ():  # in an order in which they could run
            read = (self.writers.get(str(path)) for path in self.by_name[name].input_files())
            if not ignored.isdisjoint(read):
                ignored.add(name)
        return ignored


class TaskCommand(HelpOption, DoitCmdBase):  # type: ignore[misc]  # doit has no type hints
    """A doit command on steps: it loads dodo.py as `doit run` does."""

    def steps(self) -> Steps:
        """Return the steps of the tasks that dodo.py has made."""
        by_name = {task.name: step for task in self.task_list if (step := _step_of(task)) is not None}
        writers = {str(path): name for name, step in by_name.items() for path in step.outputs.values()}
        tasks = {task.name: task for task in self.task_list}
        return Steps(by_name, writers, self.dep_manager.get_values, lambda name: is_ignored(tasks[name]))

    def selected(self) -> list[str]:
        """Return the names of the steps that a run would be asked for. Raises doit's `InvalidCommand`."""
        control = TaskControl(self.task_list)
        try:
            control.process(self.sel_tasks)
        except InvalidCommand as error:
            raise error if error.not_found is None else unknown_task(error.not_found, control.tasks) from error
        names = in_order(control.tasks, control.selected_tasks, current_run.cannot_run())
        return [name for name in names if not control.tasks[name].has_subtask]

    def finish(self) -> None:
        """Let go of the records."""
        self.dep_manager.close()

    def refuse(self, message: str) -> InvalidCommand:
        """Return the error for a wrong call."""
        return InvalidCommand(f"doit {self.name}: {message}")


def _step_of(task: Any) -> Step | None:
    """Return the step behind a doit task; None for tasks that users made themselves."""
    for action in task.actions:
        step = getattr(getattr(action, "py_callable", None), "__self__", None)
        if isinstance(step, Step):
            return step
    return None


def upstream(end: StepStatus, statuses: Mapping[str, StepStatus]) -> list[StepStatus]:
    """Return a step and everything before it that is not fresh, what comes first first."""
    reached: dict[str, StepStatus] = {}
    pending = [end]
    while pending:
        status = pending.pop()
        reached.pop(status.name, None)
        reached[status.name] = status
        pending += [statuses[name] for name in status.after]
    return list(reached.values())[::-1]


def as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what `--json` prints."""
    import json

    return json.dumps(rows, indent=1) + "\n"


def first_sentence(text: str) -> str:
    """Return what a paragraph says first: up to a semicolon or the end of a sentence."""
    return re.split(r"(?<=[;.?!]) ", text, maxsplit=1)[0].rstrip(";.")
