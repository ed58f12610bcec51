"""docs/security.md names limits and tests; both must be where it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs/security.md"


def rows() -> list[list[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def definitions(cell: str, folder: Path) -> list[tuple[str, str]]:
    """Return the text of every file that a cell names, with the name that should stand in it."""
    named = re.findall(r"`([\w/]+\.py)` `(\w+)`", cell)
    return [((folder / path).read_text(encoding="utf-8"), name) for path, name in named]


def test_the_table_is_read() -> None:
    assert len(rows()) > 20
    assert all(len(row) == 5 for row in rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_limits_and_their_tests_are_there(row: list[str]) -> None:
    _, limit, constant, reason, test = row
    assert limit
    assert reason
    for text, name in definitions(constant, REPOSITORY / "build_rules"):
        assert re.search(rf"^{name}\b.*=", text, re.MULTILINE), name
    tests = definitions(test, REPOSITORY)
    assert tests
    for text, name in tests:
        assert re.search(rf"^def {name}\(", text, re.MULTILINE), name
