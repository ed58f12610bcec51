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


SHOWN = (
    *(
        "alls/layers.py MAX_SHOWN",
        "calibration/pool/left_out.py MAX_NAMED",
        "calibration/snapshot/safetensors_file.py MAX_TOLD",
    ),
    *("commands/describe_hef.py MAX_PROBLEMS", "commands/render.py MAX_CELL", "commands/render.py MAX_DEPTH"),
    *("commands/status.py MAX_LEFT", "engine/freshness/decide.py MAX_VALUE"),
    *("engine/memory/texts.py MAX_SHOWN", "graph/find/propose.py MAX_GROUPS", "toml_table.py MAX_SHOWN"),
)
"""How much of something is shown."""
OURS = (
    *("commands/npz.py MAX_NAME", "hef/writer.py MAX_NAME", "onnx_file/write.py MAX_BYTES"),
    *("compilers/in_order.py MAX_WORKERS", "engine/memory/failures.py MAX_TEXT"),
    *("engine/memory/texts.py MAX_BYTES", "engine/memory/texts.py MAX_KEPT", "engine/memory/findings.py MAX_KEPT"),
)
"""How much we write, keep or do."""


def names(cell: str) -> list[tuple[str, str]]:
    """Return what a cell names, with the file that it should stand in."""
    groups = re.findall(r"`([\w/]+\.py)`((?:,? `\w+`)+)", cell)
    return [(path, name) for path, group in groups for name in re.findall(r"\w+", group)]


def definitions(cell: str, folder: Path) -> list[tuple[str, str]]:
    """Return the text of every file that a cell names, with the name that should stand in it."""
    return [((folder / path).read_text(encoding="utf-8"), name) for path, name in names(cell)]


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


def test_every_limit_is_on_the_page() -> None:
    package = REPOSITORY / "build_rules"
    there = {
        f"{path.relative_to(package)} {name}"
        for path in package.rglob("*.py")
        for name in re.findall(r"^(MAX_\w+)\b[^=\n]*=", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    listed = {f"{path} {name}" for row in rows() for path, name in names(row[2]) if name.startswith("MAX_")}
    assert sorted(listed - there) == []
    assert sorted(there - listed - {*SHOWN, *OURS}) == []
    assert {*SHOWN, *OURS} <= there - listed
