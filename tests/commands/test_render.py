"""Facts as text and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from build_rules.commands.render import MAX_CELL, MAX_DEPTH, render_json, render_text

HOSTILE = {
    "na\x1bme": "a\x1b[31mb\nc",
    "rows": [{"x\x1b": "\x1b]0;"}],
    "inner": {"k\x1b": ["\ud800\x1b", {"m\x1b": 1}]},
}


def test_nothing_in_names_or_values_steers_the_terminal() -> None:
    text = render_text(HOSTILE)
    assert all(line.isprintable() for line in text.splitlines())
    assert "[31mb c\n" in text
    assert render_json(HOSTILE).isascii()
    assert json.loads(render_json(HOSTILE)) == HOSTILE


def test_deep_nesting_is_cut() -> None:
    deep: object = []
    for _ in range(900):
        deep = [deep]
    assert "..." in render_text({"a": deep})
    assert "..." in render_json({"a": {"b": deep}})


def test_json_knows_no_infinity() -> None:
    assert json.loads(render_json({"a": [float("nan"), float("inf"), 1.5]})) == {"a": [None, None, 1.5]}
    assert "nan" in render_text({"a": float("nan")})


def test_lists_of_mappings_become_tables_and_sections() -> None:
    facts = {
        "some_kind": "x",
        "networks": [{"name": "n", "outputs": [{"zero_point": 1, "original_names": ["a", "b"]}]}],
        "last": None,
    }
    assert render_text(facts).splitlines() == [
        "some kind  x",
        "",
        "networks:",
        "  name  n",
        "",
        "  outputs:",
        "    zero point  original names",
        "    1           b",
        "",
        "last       -",
    ]
    assert "networks (2 of 2):" in render_text({"networks": facts["networks"] * 2})  # type: ignore[operator]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (1.23456789012, "1.2345679"),
        ([1, 3, 640], "1x3x640"),
        ([True, 2], "yes, 2"),
        (["a", None, 0.5], "a, -, 0.5"),
        ({"a": 1, "b": [2, 3]}, "a 1, b 2x3"),
        ([], "-"),
        ({}, "-"),
        ("", "-"),
        (None, "-"),
        ("a" * MAX_CELL, "a" * MAX_CELL),
        ("a" * (MAX_CELL + 1), "a" * (MAX_CELL - 3) + "..."),
    ],
)
def test_a_value_in_one_line(value: Any, cell: str) -> None:
    assert render_text({"some_key": value}) == f"some key  {cell}\n"


@pytest.mark.parametrize("beyond", [0, 1])
def test_as_deep_as_facts_may_be(beyond: int) -> None:
    deep: Any = "the end"
    for _ in range(MAX_DEPTH + beyond):
        deep = {"a": deep}
    assert ("the end" in render_json(deep), "..." in render_json(deep)) == (not beyond, bool(beyond))


def test_endless_values_are_cut() -> None:
    assert len(render_text({"a": "x" * 100_000})) < 2000
