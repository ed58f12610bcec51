"""The table of contents: every rule names all of our code that it is made of, and nothing heavy is imported early."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from build_rules import dodo
from build_rules.engine.running.rule import Rule

PACKAGE = Path(dodo.__file__).parent
RULES = [value for value in vars(dodo).values() if isinstance(value, Rule)]
HEAVY = ("numpy", "onnx", "onnxruntime", "PIL", "google.protobuf", "safetensors", "xxhash")


def module_file(name: str) -> Path | None:
    """The file of one of our modules, None for a name that is no module."""
    path = PACKAGE.joinpath(*name.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if name.startswith("build_rules.") and candidate.is_file():
            return candidate
    return None


def imports(file: Path) -> set[Path]:
    """Our modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {path for path in map(module_file, names) if path is not None}
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_names_all_its_code(rule: Rule) -> None:
    start = module_file(rule.function.split(":")[0])
    assert start is not None
    reached, pending = set(), {start}
    while pending:
        file = pending.pop()
        reached.add(file)
        pending |= imports(file) - reached
    declared = {file for place in rule.code for file in [PACKAGE / place, *(PACKAGE / place).rglob("*.py")]}
    assert sorted(str(file.relative_to(PACKAGE)) for file in reached - declared) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_names_no_code_that_is_not_there(rule: Rule) -> None:
    assert [place for place in rule.code if not (PACKAGE / place).exists()] == []
    assert len(rule.code_digest()) == 64


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_no_key_holds_what_runs_a_step_or_tells_of_it(rule: Rule) -> None:
    files = {file for place in rule.code for file in [PACKAGE / place, *(PACKAGE / place).rglob("*.py")]}
    ours = {str(file.relative_to(PACKAGE)) for file in files}
    assert {name for name in ours if name.startswith("engine/report/")} == set()
    assert {name for name in ours if name.startswith("engine/running/")} <= {"engine/running/note_reads.py"}


def test_nothing_heavy_is_imported_before_a_step_runs() -> None:
    program = "import sys, build_rules.dodo, build_rules.engine.freshness.records; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert [name for name in HEAVY if name in loaded] == []
