"""The exit codes stand in one module, and the manual says what it says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from build_rules import exit_codes

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs/building.md"


def test_the_manual_lists_them() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## Exit codes\n")[2].partition("\n## ")[0]
    listed = {int(code): words for code, words in re.findall(r"^\| (\d+) \| (.*) \|$", section, re.MULTILINE)}
    assert listed == exit_codes.MEANINGS


def test_every_code_has_a_name_and_a_meaning() -> None:
    named = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    assert named == exit_codes.MEANINGS.keys()


def test_nobody_else_defines_one() -> None:
    names = {name for name in vars(exit_codes) if name.isupper()}
    again = [
        f"{path.relative_to(REPOSITORY)}: {target.id}"
        for path in sorted((REPOSITORY / "build_rules").rglob("*.py"))
        if path.name != "exit_codes.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in names
    ]
    assert again == []
