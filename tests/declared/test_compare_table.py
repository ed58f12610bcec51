"""`[compare]` of `model.toml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from build_rules.declared.compare_table import CompareTable, read_compare
from build_rules.errors import InputError


def declare(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(text)
    return folder


def test_paths_lie_beside_the_model(tmp_path: Path) -> None:
    text = '[compare]\nimages = "../scenes/held"\ntruth = "../scenes/held/truth.json"\n'
    table = read_compare(declare(tmp_path / "models/net", text))
    assert table == CompareTable(tmp_path / "models/scenes/held", tmp_path / "models/scenes/held/truth.json")


@pytest.mark.parametrize("text", ["", "[compare]\n", 'preset = "fast"\n'])
def test_nothing_needs_to_be_said(tmp_path: Path, text: str) -> None:
    assert read_compare(declare(tmp_path / "net", text)) == CompareTable()
    assert read_compare(tmp_path / "another") == CompareTable()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("compare = 3\n", r"compare = 3 is not possible; expected a table, headed \[compare\]"),
        ("[compare]\nimages = 3\n", r"\[compare\]: images = 3 is not possible"),
        ('[compare]\ntruth = ""\n', "not empty"),
        ('[compare]\nimage = "a"\n', 'did you mean "images"'),
        ("[compare\n", "not valid TOML"),
    ],
)
def test_what_is_not_possible_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_compare(declare(tmp_path / "net", text))
