"""`doit`, `doit run`: doit's own command, whose run takes the workspace whatever reporter tells of it.

Its tasks run target by target; misspelled names are helped with.
"""

from __future__ import annotations

import sys
from typing import Any

from doit import cmd_run
from doit.exceptions import InvalidCommand

from build_rules.commands.help_option import HelpOption
from build_rules.engine.freshness.current_run import current_run
from build_rules.engine.running.dispatch import TargetDispatcher
from build_rules.engine.running.session import session
from build_rules.engine.standard_streams import say
from build_rules.exit_codes import DONE, FAILED, UNEXPECTED

__all__ = ["Run"]


class Run(HelpOption, cmd_run.Run):  # type: ignore[misc]  # doit has no type hints
    """doit's command `run`."""

    name = "run"

    def execute(self, params: Any, args: Any) -> Any:
        """Run the tasks that are asked for; return the exit code. Raises doit's `InvalidCommand` for what is none."""
        code = UNEXPECTED
        try:
            code = super().execute(params, args)
        except InvalidCommand as error:
            if error.not_found is None:
                raise
            from build_rules.commands.unknown import unknown_task

            commands = self.loader.cmd_names if args[:1] == [error.not_found] else ()
            raise unknown_task(error.not_found, [task.name for task in self.task_list], commands) from error
        finally:
            # A reporter of ours has done so already. One of doit's does not tell whether the run came to its end.
            if note := session.end(is_whole=code in (DONE, FAILED)):
                say(sys.stderr, f"{note}\n")
        return session.exit_code(code)

    @property
    def control(self) -> Any:
        """What doit knows of all tasks: it is set when they are, and asked for their dispatcher when the run begins."""
        return self._control

    @control.setter
    def control(self, control: Any) -> None:
        control.task_dispatcher = self._begin
        self._control = control

    def _begin(self) -> TargetDispatcher:
        control = self._control
        if not control.selected_tasks:
            raise InvalidCommand("no task has a name like that; `doit list --all` shows them all.")
        session.begin()
        return TargetDispatcher(control.tasks, control.targets, control.selected_tasks, current_run.cannot_run())
