"""What the command line asks doit for, as far as it decides which tasks have to be made.

doit makes every task before it looks at what is wanted. In a repository with a thousand models that takes a second, so
the functions of `dodo.py` make only the tasks that can matter. Whatever is not understood here asks for everything.

Source of the options: doit 0.36 and 0.37 (`cmd_run.py`, `cmd_base.py`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from os.path import basename
from typing import NamedTuple

__all__ = ["EVERYTHING", "Request", "command_line", "read_request"]

PROGRAMS = ("doit", "__main__.py")
FLAGS = ("-c", "--continue", "--json")
WITH_VALUE = ("-n", "--process", "-v", "--verbosity", "-r", "--reporter")
PROCESSES = r"(?:^| )(?:-n ?|--process[ =])(\d{1,4})(?: |$)"
VERBOSE = ("-v", "--verbosity")
VARIABLE = r"[A-Za-z_]\w*="
STEP = r"[a-z_]+:([^:]+)(:.*)?"


class Request(NamedTuple):
    """Which owners' tasks are asked for: those whose names match one of `patterns`; all of them when it is None.

    `default`: what is up to date need not even be made, because nothing was named. `explain`: every
    step is to say why it runs. `processes`: how many may run at once. `rests` are what follows the owners' names,
    `leftovers`: what is declared no more is looked for, too.
    """

    patterns: tuple[str, ...] | None = None
    default: bool = False
    explain: bool = False
    processes: int = 0
    rests: tuple[str, ...] = ()
    leftovers: bool = False

    def wants(self, owner: str) -> bool:
        """Whether the tasks of an owner are asked for."""
        return self.patterns is None or any(fnmatchcase(owner, pattern) for pattern in self.patterns)


EVERYTHING = Request()


def read_request(arguments: Sequence[str]) -> Request:
    """Return what a command line (`sys.argv`) asks for; `EVERYTHING` when it is not clearly a plain run."""
    if not arguments or basename(arguments[0]) not in PROGRAMS:
        return EVERYTHING
    words = _words(arguments[1:])
    request = _request(words) if words is not None else EVERYTHING
    explain = any(word.startswith(VERBOSE) for word in arguments[1:])
    return request._replace(explain=explain, processes=_processes(arguments[1:]))


@cache
def command_line() -> Request:
    """Return what the command line of this process asks for."""
    return read_request(sys.argv)


def _request(words: list[str]) -> Request:
    if words[:1] == ["status"]:  # whose words are names of owners, not of tasks
        return Request(tuple(words[1:]) or None, default=True, leftovers=True)
    if words[:1] in (["run"], ["why"], ["plan"]):
        words = words[1:]
    if not words:
        return Request(default=True)
    matches = [match for word in words if (match := re.fullmatch(STEP, word)) is not None]
    owners = tuple(_owners(match.group(1)) for match in matches)
    rests = tuple(match.group(2)[1:] for match in matches if match.group(2))
    return Request(owners, rests=rests) if len(matches) == len(words) else EVERYTHING


def _owners(pattern: str) -> str:
    """Return the pattern of owners for the second part of a task's: behind its first `*` the owner's name may end.

    Tasks are matched by their whole names, where a `*` goes over colons: `har:*fast*` is the `har` of every owner.
    """
    beginning = re.split(r"[*?[]", pattern, maxsplit=1)[0]
    return pattern if beginning == pattern else f"{beginning}*"


def _processes(arguments: Sequence[str]) -> int:
    """Return the number behind `-n` or `--process`, 0 when there is none."""
    match = re.search(PROCESSES, " ".join(arguments))
    return int(match.group(1)) if match else 0


def _words(arguments: Sequence[str]) -> list[str] | None:
    """Return what is no option and no variable; None when an option is not known."""
    words: list[str] = []
    pending = iter(arguments)
    for argument in pending:
        if argument in WITH_VALUE:
            next(pending, None)
        elif argument.startswith("-"):
            name = argument.partition("=")[0] if argument.startswith("--") else argument[:2]
            if name not in WITH_VALUE and argument not in FLAGS:
                return None
        elif not re.match(VARIABLE, argument):
            words.append(argument)
    return words
