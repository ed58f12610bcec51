"""`doit`, `doit run`: doit's own command, whose tasks run target by target."""

from __future__ import annotations

from typing import Any

from doit import cmd_run

from build_rules.engine.dispatch import TargetDispatcher
from build_rules.engine.fresh import current_run

__all__ = ["Run"]


class Run(cmd_run.Run):  # type: ignore[misc]  # doit has no type hints
    """doit's command `run`."""

    name = "run"

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
