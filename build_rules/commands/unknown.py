"""What is said to somebody who named a task that is not there."""

from __future__ import annotations

from collections.abc import Iterable

from doit.exceptions import InvalidCommand

__all__ = ["unknown_task"]


def unknown_task(name: str, tasks: Iterable[str], commands: Iterable[str] = ()) -> InvalidCommand:
    """Return doit's error for a `name` that is none of the tasks, with those that somebody may have meant.

    `commands` are what else could have been meant by the first word after `doit`.
    """
    import difflib

    from build_rules.errors import printable

    commands = tuple(commands)
    kinds = "command or task" if commands else "task"
    near = difflib.get_close_matches(name, (*commands, *tasks), n=3, cutoff=0.7)
    advice = f"; did you mean {' or '.join(near)}?" if near else "."
    shown = "`doit list --all` shows the tasks" + (", `doit help` the commands." if commands else ".")
    return InvalidCommand(f"there is no {kinds} called {printable(name + advice)} {shown}")
