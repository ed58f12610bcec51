"""Facts as text and as JSON."""

from __future__ import annotations

import json

from build_rules.commands.render import render_json, render_text

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


def test_endless_values_are_cut() -> None:
    assert len(render_text({"a": "x" * 100_000})) < 2000
