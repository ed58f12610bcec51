"""State that a module keeps for the life of the process is rare, and each piece says where it stands why it is there.

State is whatever a module binds that can change: an object made there, a container that is no table, a name that a
function binds anew. What `functools.cache` remembers counts as well. A table is a container in upper case that nobody
changes.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import importlib
import re
import struct
import types
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path, PurePath
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1] / "build_rules"

STATE = {
    "calibration/pixels/images.py _budget",
    "commands/compare_inputs.py scratch_folders",
    "engine/cleaning/removal.py removal",
    "engine/freshness/clock.py file_clock",
    "engine/freshness/current_run.py current_run",
    "engine/freshness/fingerprint.py _digests",
    "engine/freshness/fingerprint.py _noting",
    "engine/freshness/fingerprint.py verified",
    "engine/interrupt.py on_interrupt",
    "engine/messages.py _line",
    "engine/running/changes.py _agreed",
    "engine/running/session.py session",
}
"""What a module keeps; the reason stands in the code, as a comment or a docstring at the definition."""

REMEMBERED = {
    "calibration/pixels/images.py _formats",
    "calibration/pixels/letterbox.py _columns",
    "calibration/pixels/letterbox.py _rows",
    "calibration/pool/suffixes.py image_suffixes",
    "compilers/emulator/sessions.py _register_bounded_memory",
    "engine/build_database.py _database_at",
    "engine/command_line.py command_line",
    "engine/freshness/key.py _source_digest",
    "engine/places.py _is_allowed",
    "engine/slower.py tell_slower",
    "regular_file.py _kernel_devices",
    "report_page/render_pages.py _environment",
    "versions.py library_version",
    "workspace.py _ask_once",
    "workspace.py _first_built",
    "workspace.py _list_once",
    "workspace.py find_workspace_models",
}
"""Functions that remember what they returned."""

UNCHANGING = (
    *(int, float, complex, str, bytes, type(None), type, range, PurePath, datetime, enum.Enum, re.Pattern),
    *(struct.Struct, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, types.MappingProxyType),
    *(types.GenericAlias, types.UnionType),
)
LIBRARIES = ("typing", "numpy")
"""Where types come from, and scalars and their kinds, none of which changes."""
CONTAINERS = (dict, list, set)
CHANGES = {
    *("add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "sort"),
    *("update", "reverse"),
}


@cache
def trees() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def module_of(file: str) -> types.ModuleType:
    parts = ["build_rules", *Path(file).with_suffix("").parts]
    return importlib.import_module(".".join(parts).removesuffix(".__init__"))


def bound(tree: ast.Module) -> Iterator[str]:
    """The names that a module itself binds, functions and classes aside."""
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))


def can_change(value: Any) -> bool:
    if isinstance(value, (tuple, frozenset)):
        return any(map(can_change, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return not type(value).__dataclass_params__.frozen  # type: ignore[attr-defined]
    return not (isinstance(value, UNCHANGING) or type(value).__module__.split(".")[0] in LIBRARIES)


def state_of(file: str, tree: ast.Module) -> Iterator[str]:
    module = module_of(file)
    for name in bound(tree):
        value = getattr(module, name, None)
        is_table = name.isupper() and isinstance(value, CONTAINERS)
        if name != "__all__" and can_change(value) and not is_table:
            yield name
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from node.names


def remembering(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            marks = {ast.unparse(mark).split("(")[0].split(".")[-1] for mark in node.decorator_list}
            if marks & {"cache", "lru_cache"}:
                yield node.name


def changed_names(tree: ast.Module) -> Iterator[str]:
    """The names in upper case, here or of another module, that code puts something into or takes out of."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
            yield ast.unparse(node.func.value).split(".")[-1]
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            yield ast.unparse(node.value).split(".")[-1]
        elif isinstance(node, ast.AugAssign):
            yield ast.unparse(node.target).split(".")[-1]


def is_explained(name: str, file: str) -> bool:
    """Whether a comment or a docstring stands at the definition, with no empty line between."""
    lines = (PACKAGE / file).read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if re.match(rf"{name}\b", line))
    last = first
    while first > 0 and lines[first - 1]:
        first -= 1
    while last + 1 < len(lines) and lines[last + 1]:
        last += 1
    return any(re.search(r'^# |  # |"""', line) for line in lines[first : last + 1])


def test_modules_keep_no_other_state() -> None:
    assert {f"{file} {name}" for file, tree in trees().items() for name in state_of(file, tree)} == STATE


def test_functions_remember_nothing_else() -> None:
    assert {f"{file} {name}" for file, tree in trees().items() for name in remembering(tree)} == REMEMBERED


def test_nobody_changes_a_table() -> None:
    assert {name for tree in trees().values() for name in changed_names(tree) if name.isupper()} == set()


def test_what_is_kept_says_why() -> None:
    assert [entry for entry in sorted(STATE) if not is_explained(*reversed(entry.split(" ")))] == []
