"""Lines for `[alls] append` in `model.toml`, and nothing else in it changes: comments, order and style stay."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array, Table

from build_rules.errors import InputError

__all__ = ["append_lines", "show_difference"]


def append_lines(text: str, lines: Sequence[str], comment: str, source: Path) -> str:
    """Return the text of a `model.toml` with lines added to `append` of its table `[alls]`, each once.

    `comment` is put above what is new. Raises `InputError`, naming `source`, when the text is no TOML, or what stands
    there is no list of lines.
    """
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise InputError(f"{source}: not TOML ({error}); nothing is written to it.") from error
    table = document.get("alls")
    if table is None:
        table = tomlkit.table()
        document["alls"] = table
    if not isinstance(table, Table):
        raise InputError(f"{source}: alls is no table of its own; write the lines below [alls] yourself.")
    held = table.get("append")
    if held is None:
        held = tomlkit.array()
        table["append"] = held
    if not isinstance(held, Array) or not all(isinstance(line, str) for line in held):
        raise InputError(f"{source}: [alls] append is no list of lines; nothing is written to it.")
    known = {_plain(str(line)) for line in held}
    new = [line for line in dict.fromkeys(lines) if _plain(line) not in known]
    if not new:
        return text
    _extend(held, new, comment)
    return tomlkit.dumps(document)


def _extend(held: Array, lines: Sequence[str], comment: str) -> None:
    ends_with_line = held.as_string().removesuffix("]").rstrip(" ").endswith("\n")
    for number, line in enumerate(lines):
        held.add_line(_item(line), indent="    ", comment=comment if number == 0 else None)
    if not ends_with_line:
        held.add_line(indent="")


def _item(line: str) -> tomlkit.items.String:
    """Return a line as a string of TOML; one with quotes in it stands in single quotes, where nothing is escaped."""
    return tomlkit.string(line, literal='"' in line and "'" not in line)


def _plain(line: str) -> str:
    return "".join(line.split()).replace('"', "")


def show_difference(before: str, after: str, path: Path) -> str:
    """Return what changes in a file, as `diff -u` has it."""
    return "".join(
        difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), str(path), str(path))
    )
