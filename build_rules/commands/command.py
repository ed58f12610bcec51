"""What our commands share: wrong input is one paragraph and exit code 3, as everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from doit.cmd_base import Command

from build_rules.errors import InputError

__all__ = ["BuildCommand"]

WRONG_INPUT = 3


class BuildCommand(Command):  # type: ignore[misc]  # doit has no type hints
    """A doit command that reads files given by name and needs no dodo.py."""

    def parse_execute(self, in_args: Sequence[str]) -> Any:
        """Called by doit with what follows the command's name; options may stand behind file names too."""
        flags = {f"--{option['long']}" for option in self.cmd_options if option["type"] is bool}
        options: list[str] = []
        names: list[str] = []
        pending = iter(in_args)
        for argument in pending:
            if argument == "--":
                names += pending
            elif argument.startswith("--"):
                options.append(argument)
                if "=" not in argument and argument not in flags:
                    options += [value for value in [next(pending, None)] if value is not None]
            else:
                names.append(argument)
        return super().parse_execute([*options, "--", *names])

    def execute(self, opt_values: Mapping[str, Any], pos_args: Sequence[str]) -> int:
        """Called by doit with the parsed options; returns the exit code."""
        try:
            return self.run(opt_values, tuple(Path(argument) for argument in pos_args))
        except InputError as error:
            sys.stderr.write(f"ERROR: {error}\n")
            return WRONG_INPUT

    def run(self, options: Mapping[str, Any], files: tuple[Path, ...]) -> int:
        """Do what the command is for."""
        raise NotImplementedError

    def usage_error(self, message: str) -> InputError:
        """Return the error for a wrong call."""
        return InputError(f"doit {self.name}: {message} Usage: doit {self.name} {self.doc_usage}.")
