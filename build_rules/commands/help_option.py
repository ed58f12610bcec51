"""`--help` and options that there are not, for commands that have their options from doit, as for all others."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from doit.cmd_base import Command
from doit.cmdparse import CmdParseError

from build_rules.engine.standard_streams import say
from build_rules.exit_codes import DONE

__all__ = ["HELP", "HelpOption"]

HELP = ("-h", "--help")


class HelpOption(Command):  # type: ignore[misc]  # doit has no type hints
    """A doit command that tells its help when asked for, and where to find it; doit itself prints its own objects."""

    def parse_execute(self, in_args: Sequence[str]) -> Any:
        """Called by doit with what follows the command's name. Raises doit's `CmdParseError`, told shortly."""
        try:
            return super().parse_execute(in_args)
        except CmdParseError as error:
            if any(argument in HELP for argument in in_args):
                say(sys.stdout, f"{self.help()}\n")
                return DONE
            problem = str(error).partition(" (parsing options: ")[0].rpartition("Error parsing Command: ")[2]
            raise CmdParseError(f"doit {self.name}: {problem}; `doit help {self.name}` tells more.") from error
