"""`doit`, `doit run`: doit's own command, whose tasks run target by target, and which helps with misspelled names."""

from __future__ import annotations

from typing import Any

from doit import cmd_run
from doit.exceptions import InvalidCommand

from build_rules.engine.freshness.current_run import current_run
from build_rules.engine.running.dispatch import TargetDispatcher

__all__ = ["Run"]


class Run(cmd_run.Run):  # type: ignore[misc]  # doit has no type hints
    """doit's command `run`."""

    name = "run"

    def execute(self, params: Any, args: Any) -> Any:
        """Run the tasks that are asked for. Raises doit's `InvalidCommand` for what is none."""
        try:
            return super().execute(params, args)
        except InvalidCommand as error:
            if error.not_found is None:
                raise
            from build_rules.commands.unknown import unknown_task

            commands = self.loader.cmd_names if args[:1] == [error.not_found] else ()
            raise unknown_task(error.not_found, [task.name for task in self.task_list], commands) from error

    @property
    def control(self) -> Any:
        """What doit knows of all tasks: it is set when they are, and then asked for their dispatcher."""
        return self._control

    @control.setter
    def control(self, control: Any) -> None:
        control.task_dispatcher = lambda: TargetDispatcher(
            control.tasks, control.targets, control.selected_tasks, current_run.cannot_run()
        )
        self._control = control
