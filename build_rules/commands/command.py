"""What our commands share: the command line, and wrong input as one paragraph with exit code 3, as everywhere else."""

from __future__ import annotations

import os
import stat
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from doit.cmd_base import Command

from build_rules.commands.help_option import HELP
from build_rules.engine.encoding import insist_on_utf8
from build_rules.engine.standard_streams import never_fail_to_print, say
from build_rules.errors import InputError, printable
from build_rules.exit_codes import DONE, INTERRUPTED, UNEXPECTED, WRONG_INPUT

__all__ = ["BuildCommand", "check_file", "show"]

# These commands need no dodo.py, with which the others get this.
insist_on_utf8()
never_fail_to_print()


class BuildCommand(Command):  # type: ignore[misc]  # doit has no type hints
    """A doit command that reads files given by name and needs no dodo.py."""

    def parse_execute(self, in_args: Sequence[str]) -> Any:
        """Called by doit with what follows the command's name; options may stand behind file names too."""
        before_names = list(in_args[: in_args.index("--")]) if "--" in in_args else in_args
        if any(argument in HELP for argument in before_names):
            show(f"{self.help()}\n")
            return DONE
        try:
            options, names = self._arrange(in_args)
        except InputError as error:
            return self._tell(error)
        return super().parse_execute([*options, "--", *names])

    def _arrange(self, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return options as `--name` or `--name=value`, and what is none."""
        options: list[str] = []
        names: list[str] = []
        pending = iter(arguments)
        for argument in pending:
            if argument == "--":
                names += pending
            elif argument.startswith("-") and argument != "-":
                options.append(self._option(argument, pending))
            else:
                names.append(argument)
        return options, names

    def _option(self, argument: str, pending: Iterator[str]) -> str:
        """Return one option in its long form, with its value, which may be the next argument."""
        if argument.startswith("--"):
            given, marked, value = argument.partition("=")
            options = [option for option in self.cmd_options if f"--{option['long']}" == given]
        else:
            given, value = argument[:2], argument[2:]
            marked = value
            options = [option for option in self.cmd_options if option["short"] and f"-{option['short']}" == given]
        if not options:
            raise self.usage_error(f"there is no option {given}.")
        name = f"--{options[0]['long']}"
        if options[0]["type"] is bool:
            if marked:
                raise self.usage_error(f"{given} takes no value.")
            return name
        if not marked:
            value = next(pending, "--")
            if value.startswith("-") and value != "-":
                raise self.usage_error(f"{given} needs a value.")
        return f"{name}={value}"

    def execute(self, opt_values: Mapping[str, Any], pos_args: Sequence[str]) -> int:
        """Called by doit with the parsed options; returns the exit code."""
        try:
            return self.run(opt_values, tuple(Path(argument) for argument in pos_args))
        except KeyboardInterrupt:
            sys.stderr.write("interrupted\n")
            return INTERRUPTED
        except Exception as error:
            return self._tell(error)

    def _tell(self, error: Exception) -> int:
        """Print an error as one paragraph, the traceback only where `BUILD_RULES_DEBUG=1`; return the exit code."""
        from build_rules.engine.running.failure import DEBUG

        wrong = isinstance(error, InputError)
        text = (
            str(error)
            if wrong
            else f"unexpected {type(error).__name__}: {error}. This is a defect of `doit {self.name}`; "
            f"{DEBUG}=1 doit {self.name} ... shows where."
        )
        sys.stderr.write(f"ERROR: {error.printed() if isinstance(error, InputError) else printable(text)}\n")
        if os.environ.get(DEBUG) == "1":
            trace = "".join(traceback.format_exception(error)).splitlines()
            sys.stderr.write("".join(f"{printable(line)}\n" for line in trace))
        return WRONG_INPUT if wrong else UNEXPECTED

    def run(self, options: Mapping[str, Any], files: tuple[Path, ...]) -> int:
        """Do what the command is for."""
        raise NotImplementedError

    def usage_error(self, message: str) -> InputError:
        """Return the error for a wrong call."""
        return InputError(
            f"doit {self.name}: {message} Usage: doit {self.name} {self.doc_usage}; `doit help {self.name}` tells more."
        )


def check_file(path: Path) -> None:
    """Raise `InputError` unless `path` is a regular file; opening a pipe would wait for ever."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: there is no such file.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: is not a regular file.")


def show(text: str) -> None:
    """Print on a terminal of any encoding; that a reader went away (`| head`) is no error."""
    encoding = sys.stdout.encoding or "utf-8"
    say(sys.stdout, text.encode(encoding, "replace").decode(encoding))
