"""doit's private names that we lean on are those of the doit that is installed."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from doit import version
from doit.globals import Globals

from build_rules.engine.doit_names import (
    NAMES,
    READ_FROM,
    Name,
    command_line_variables,
    is_debugging,
    is_ignored,
    recorded_tasks,
)

PACKAGE = Path(__file__).resolve().parents[2] / "build_rules"


def lacks(name: Name) -> str:
    """What doit lacks of a name, as one sentence; nothing when it is all there."""
    module, *attributes = name.place.split(".")
    found: Any = importlib.import_module(f"doit.{module}")
    for attribute in attributes:
        if not hasattr(found, attribute):
            return f"doit.{name.place} is gone"
        found = getattr(found, attribute)
    if name.source and name.source not in inspect.getsource(found):
        return f"doit.{name.place} has no {name.source!r} any more"
    return ""


@pytest.mark.parametrize("name", NAMES, ids=lambda name: f"{name.place} {name.source}".strip())
def test_doit_has_it(name: Name) -> None:
    installed = ".".join(map(str, version.VERSION))
    lacking = lacks(name)
    assert not lacking, (
        f"{lacking} in doit {installed}. We lean on it for: {name.purpose}. It was read from doit "
        f"{' and '.join(READ_FROM)}; see engine/doit_names.py and whoever imports it."
    )


def test_a_name_that_is_gone_is_found() -> None:
    assert lacks(Name("loader.no_such_name", "", "")) == "doit.loader.no_such_name is gone"
    assert "any more" in lacks(Name("dependency.Dependency.ignore", "no such text", ""))
    assert all(name.purpose for name in NAMES)


def test_they_were_read_from_the_doit_that_is_installed() -> None:
    installed = ".".join(map(str, version.VERSION))
    assert installed in READ_FROM, f"read the names of engine/doit_names.py in doit {installed}, and add it there"


def test_nobody_else_uses_a_private_name_of_doit() -> None:
    private = re.compile(r"doit_cmd\._\w+|Globals\.\w+|loader\.initial_workdir|PythonAction\.pm_pdb")
    found = {
        f"{path.relative_to(PACKAGE)}: {ast.unparse(node)}"
        for path in PACKAGE.rglob("*.py")
        if path.name != "doit_names.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and private.fullmatch(ast.unparse(node))
    }
    assert sorted(found) == []


def test_what_is_asked_of_doit(monkeypatch: pytest.MonkeyPatch) -> None:
    from doit import doit_cmd

    class Backend:
        def tasks(self) -> list[str]:
            return ["a"]

    class Manager:
        backend = Backend()

        def status_is_ignore(self, task: str) -> str | None:
            return "1" if task == "a" else None

    monkeypatch.setattr(Globals, "dep_manager", Manager())
    assert (recorded_tasks(), is_ignored("a"), is_ignored("b")) == (["a"], True, False)
    assert not is_debugging()
    monkeypatch.setattr(doit_cmd, "_CMDLINE_VARS", None)
    assert command_line_variables() == {}
    monkeypatch.setattr(doit_cmd, "_CMDLINE_VARS", {"preset": "fast"})
    assert command_line_variables() == {"preset": "fast"}
