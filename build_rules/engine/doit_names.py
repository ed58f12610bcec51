"""What we lean on of doit beyond its documentation, each name with what it is for.

What is read or called from outside has a function here. The rest is extended where it is needed, and stands in `NAMES`
with it, so that `tests/engine/test_doit_names.py` can look for all of it in the doit that is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = [
    "IGNORED",
    "LAST_KEY",
    "NAMES",
    "READ_FROM",
    "VALUES",
    "Name",
    "command_line_variables",
    "is_debugging",
    "is_ignored",
    "recorded_tasks",
    "started_in",
]

READ_FROM = ("0.36.0", "0.37.0")
"""The versions of doit in whose source these names were read."""

VALUES, LAST_KEY, IGNORED = "_values_:", "deps:", "ignore:"
"""Keys of a record: what a step returned; the last that a success sets; that the user wants the task left out."""


class Name(NamedTuple):
    """Where in doit a name stands, what has to be written there (nothing: the name is enough), what it is for."""

    place: str
    source: str
    purpose: str


NAMES = (
    Name("doit_cmd._CMDLINE_VARS", "", "which variables were given; `get_var` only tells the value of one"),
    Name("globals.Globals.dep_manager", "", "the records while dodo.py is loaded, before any command asks for them"),
    Name("dependency.Dependency.__init__", "self.backend = db_class(", "our backend, which can tell all its tasks"),
    Name("dependency.Dependency.status_is_ignore", "", "whether the user wants a task left out"),
    Name("dependency.Dependency.save_success", "'deps:', tuple(task.file_dep))\n", "its last key: the record is whole"),
    Name("dependency.Dependency.save_success", '"_values_:", task.values', "the key of what a step returned"),
    Name("dependency.Dependency.ignore", "'ignore:'", "a key that is written at once"),
    Name("loader.initial_workdir", "", "where doit was started, before it went to the folder of dodo.py"),
    Name("action.PythonAction.pm_pdb", "", "whether a debugger needs the terminal for itself"),
    Name("action.PythonAction.__init__", "self.py_callable", "the step behind a task"),
    Name("control.TaskDispatcher._gen_node", "ExecNode(", "a node gets the number of the target that it is for"),
    Name("control.TaskDispatcher.__init__", "self.ready = deque()", "the queue, in the place of which ours stands"),
    Name("control.TaskControl.task_dispatcher", "", "a run begins when it is asked for: no task has run by then"),
    Name("cmd_run.Run._execute", "self.control = TaskControl(", "all tasks, before any is chosen or ordered"),
    Name("cmd_run.Run._execute", "run_all(self.control.task_dispatcher())", "ours, asked for once per run"),
    Name("cmd_base.DoitCmdBase.execute", "self.task_list = ", "all tasks, for a name that somebody misspelled"),
    Name("cmd_base.DoitCmdBase.__init__", "self.sel_tasks = ", "the names that a command was given"),
    Name("cmd_base.TaskLoader2.__init__", "self.cmd_names", "all commands, for a name that somebody misspelled"),
    Name("exceptions.InvalidCommand.__init__", "self.not_found", "the name that is none"),
    Name("exceptions.BaseFail.get_name", "", "whether a task failed or was not reached"),
    Name("runner.Runner._handle_task_error", "remove_success(", "a failure that must not forget the record before it"),
    Name("cmd_info.Info.get_reasons", "", "where `doit info` says why a task runs"),
    Name("cmd_info.Info._execute", "hide_status", "ours hides what doit cannot tell of a group"),
    Name("cmd_clean.Clean._execute", "dryrun, cleandep, cleanall, cleanforget", "ours has one option more"),
    Name("task.Task.__init__", "self.has_subtask", "whether a task is a name for several"),
    Name("task.Task.__init__", "self.setup_tasks", "what a task needs besides its dependencies"),
    Name("task.Task.clean", "\"%s - executing '%s'\\n\"", "the line that `doit clean` prints for a function of ours"),
)


def command_line_variables() -> dict[str, str]:
    """Return the variables (`name=value`) that the command line gives."""
    from doit import doit_cmd

    return dict(doit_cmd._CMDLINE_VARS or {})


def recorded_tasks() -> list[str]:
    """Return the names of all tasks that have a record."""
    from doit.globals import Globals

    tasks: list[str] = Globals.dep_manager.backend.tasks()
    return tasks


def is_ignored(task: Any) -> bool:
    """Whether `doit ignore` leaves a task out."""
    from doit.globals import Globals

    status: Callable[[Any], Any] = Globals.dep_manager.status_is_ignore
    return bool(status(task))


def is_debugging() -> bool:
    """Whether a debugger opens where a step fails (`--pdb`), and needs the terminal for itself."""
    from doit.action import PythonAction

    return bool(PythonAction.pm_pdb)


def started_in() -> str:
    """Return the folder in which doit was started; it has gone to that of dodo.py since."""
    from doit import loader

    return loader.initial_workdir or "."
