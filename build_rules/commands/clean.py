"""`doit clean [TASK...]`: doit's own command, which says what it could not remove.

`--stale` removes what is declared no more.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Any

from doit.cmd_clean import Clean as DoitClean
from doit.exceptions import InvalidCommand

from build_rules.commands.command import show
from build_rules.commands.help_option import HelpOption
from build_rules.engine.cleaning.leftovers import Leftover, find_leftovers, why_kept
from build_rules.engine.cleaning.removal import removal
from build_rules.engine.doit_names import command_line_variables, recorded_tasks
from build_rules.engine.standard_streams import say
from build_rules.errors import printable
from build_rules.exit_codes import DONE, FAILED

__all__ = ["Clean"]

STALE = {
    "name": "stale",
    "short": "",
    "long": "stale",
    "type": bool,
    "default": False,
    "help": "remove the outputs of targets and models that are declared no more",
}


class _Removed:
    """A stream for what doit says while it cleans, without the function of ours that it calls for each step."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Print a line of doit's."""
        if " - executing 'Python: bound method RunnableStep.clean of " not in text:
            self._stream.write(text)

    def flush(self) -> None:
        """Print what is written so far."""
        self._stream.flush()


class Clean(HelpOption, DoitClean):  # type: ignore[misc]  # doit has no type hints
    """doit's command `clean`, with `--stale` and an exit code: 1 when something is still there that was to go."""

    name = "clean"
    cmd_options = (*DoitClean.cmd_options, STALE)

    def _execute(
        self,
        dryrun: bool,
        cleandep: bool,
        cleanall: bool,
        cleanforget: bool,
        stale: bool,
        pos_args: list[str] | None = None,
    ) -> Any:
        if not stale:
            return self._clean(dryrun, cleandep, cleanall, cleanforget, pos_args)
        if pos_args or command_line_variables():
            raise InvalidCommand("doit clean --stale takes no task and no variable: it goes by what is declared.")
        leftovers = find_leftovers(recorded_tasks(), self.dep_manager.get_values)
        kept = 0
        if dryrun or not leftovers or removal.take_workspace():
            kept = sum(self._remove(leftover, dryrun) for leftover in leftovers)
        if not leftovers:
            show("nothing is left of targets that are declared no more\n")
        self.dep_manager.close()
        return self._code(FAILED if kept else DONE)

    def _clean(self, *arguments: Any) -> Any:
        # doit's own may be closed or full, which is no reason to stop half-way
        self.outstream = _Removed(sys.stdout)
        return self._code(super()._execute(*arguments))

    def _code(self, code: Any) -> Any:
        """Say what could not be removed; return the exit code."""
        if explanation := removal.explain_failures():
            say(sys.stderr, f"ERROR: {printable(explanation)}\n")
            return FAILED
        return code

    def _remove(self, leftover: Leftover, dryrun: bool) -> int:
        """Remove what is left of one step, or only say so; return how many of its files are kept."""
        kept = 0
        for path, mark in leftover.outputs.items():
            if (reason := why_kept(path, mark)) is not None:
                kept_path = f"{leftover.task} - '{path}' is kept: it {reason}"
                show(f"{printable(kept_path)}\n")
                kept += 1
            elif not removal.remove(Path(path), leftover.task, dryrun):
                kept += 1
        removal.remove_kept(leftover.task, dryrun)
        if not dryrun:
            for folder in leftover.empty_folders():
                show(f"{printable(leftover.task)} - removing dir '{printable(folder)}'\n")
            if not kept:
                self.dep_manager.remove(leftover.task)
        return kept
