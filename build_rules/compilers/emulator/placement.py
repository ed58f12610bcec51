"""What the script of the compile stage asks for: read like any other, and obeyed by nobody.

It says where and how a device computes. Here the host computes, whatever it says; a line that no compiler would take is
refused all the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from build_rules.alls.check import check_statement
from build_rules.alls.commands import COMPILE_STAGE
from build_rules.alls.layers import Fail, Layers
from build_rules.alls.script import Glob, Name, Statement, Value, parse_script
from build_rules.compilers.emulator.script_settings import named_layers
from build_rules.errors import InputError

__all__ = ["read_placement"]

LAYER = re.compile(r"(?:.+/)?[a-z_]+\d+")
"""What looks like a layer's name among the words of a placement, such as `conv12`; `FULL_ROW` does not."""


def read_placement(text: str, source: str, hn: Mapping[str, Any], modified_by: str) -> tuple[str, ...]:
    """Return the commands of a script of the compile stage, each once; nothing of them is emulated.

    `hn` is that of the quantized network, `modified_by` the script that it was quantized by, whose names still hold.
    Raises `InputError` naming `source` and the line for syntax, and for unknown commands, options and layers.
    """
    layers = named_layers(hn)
    for statement in parse_script(modified_by).statements:
        layers = layers.after(statement)
    statements = parse_script(text, source).statements
    for statement in statements:
        _check(statement, source, layers)
        layers = layers.after(statement)
    return tuple(dict.fromkeys(statement.command for statement in statements))


def _check(statement: Statement, source: str, layers: Layers) -> None:
    def fail(problem: str) -> NoReturn:
        raise InputError(f"{source}, line {statement.line}: {problem}.")

    command = statement.command
    if command not in COMPILE_STAGE:
        fail(f"command {command!r} is none of the compile stage; known are: {', '.join(sorted(COMPILE_STAGE))}")
    check_statement(statement, fail, known_only=True)
    if not command.endswith("_param"):
        for value in statement.arguments:
            _check_layers(value, layers, fail)


def _check_layers(value: Value, layers: Layers, fail: Fail) -> None:
    if isinstance(value, tuple):
        for item in value:
            _check_layers(item, layers, fail)
    elif isinstance(value, Glob) or (isinstance(value, Name) and LAYER.fullmatch(value.text)):
        layers.find(value, fail)
