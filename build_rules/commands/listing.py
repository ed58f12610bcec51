"""`doit list` and `doit info`: doit's own commands, printing as ours do; `doit list | head` is no error."""

from __future__ import annotations

import sys
from typing import Any

from doit.cmd_info import Info as DoitInfo
from doit.cmd_list import List as DoitList

from build_rules.commands.help_option import HelpOption
from build_rules.commands.task_command import TaskCommand
from build_rules.commands.unknown import unknown_task
from build_rules.engine.encoding import insist_on_utf8
from build_rules.engine.standard_streams import never_fail_to_print
from build_rules.errors import printable

__all__ = ["Info", "List"]

# doit takes hold of the stream before it loads dodo.py, with which other commands get this.
insist_on_utf8()
never_fail_to_print()


class List(HelpOption, DoitList):  # type: ignore[misc]  # doit has no type hints
    """doit's command `list`."""

    name = "list"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.outstream = sys.stdout


class Info(TaskCommand, DoitInfo):  # type: ignore[misc]  # doit has no type hints
    """doit's command `info`, which gives the causes that `doit why` gives."""

    name = "info"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.outstream = sys.stdout
        self._causes = ""

    def _execute(self, pos_args: list[str], hide_status: bool = False) -> int:
        if len(pos_args) != 1:
            raise self.refuse("needs the name of one task; `doit list --all` shows them.")
        (name,) = pos_args
        task = next((task for task in self.task_list if task.name == name), None)
        if task is None:
            raise unknown_task(name, [task.name for task in self.task_list])
        if (statuses := self.steps().statuses([name])) and not hide_status:
            status = statuses[name]
            causes = [str(cause) for cause in status.causes] or [f"{other} runs before it" for other in status.after]
            self._causes = "\n".join(f" * {printable(cause)}" for cause in causes)
        # What a task with subtasks does is theirs to tell.
        return int(super()._execute(pos_args, hide_status or bool(task.has_subtask)))

    def get_reasons(self, reasons: Any) -> str:
        """Return why the step runs; of a task that users made themselves, what doit says."""
        return self._causes or str(DoitInfo.get_reasons(reasons))
