"""How wide text is, how it is cut, and what of a printed line may reach a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.engine.report.cells import clean, clip, pad, width


@pytest.mark.parametrize(
    ("text", "cells"), [("", 0), ("har:a", 5), ("模型", 4), ("é", 1), ("e\N{COMBINING ACUTE ACCENT}", 1)]
)
def test_width(text: str, cells: int) -> None:
    assert width(text) == cells


@pytest.mark.parametrize(
    ("text", "room", "clipped"),
    [
        ("har:model", 9, "har:model"),
        ("har:model", 8, "har:mo.."),
        ("har:model", 2, ".."),
        ("har:model", 0, ""),
        ("模型模型", 7, "模型.."),
        ("模型模型", 6, "模型.."),
        ("模型模型", 5, "模.."),
        ("模型", 4, "模型"),
    ],
)
def test_clip(text: str, room: int, clipped: str) -> None:
    assert clip(text, room) == clipped


@given(st.text(), st.integers(-3, 12))
def test_clipped_and_padded_text_fits(text: str, room: int) -> None:
    assert width(clip(text, room)) <= max(room, 0)
    assert room < 0 or width(pad(text, room)) == room


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("   warning: odd", "   warning: odd"),
        ("\x1b[31mred\x1b[0m word", "\x1b[31mred\x1b[0m word\x1b[0m"),
        ("\x1b[2J\x1b[Hwiped", "wiped"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b7saved\x1b8", "saved"),
        ("10 %\r20 %\r30 %", "30 %"),
        ("30 %\r", "30 %"),
        ("a\tb", "a       b"),
        ("bell\x07 and \x00 and \x1b", "bell\N{REPLACEMENT CHARACTER} and \N{REPLACEMENT CHARACTER} and "),
        ("\udcff", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_only_text_and_colours_are_left_of_a_line(line: str, left: str) -> None:
    assert clean(line).removesuffix("\x1b[0m") == left.removesuffix("\x1b[0m")


@given(st.text(st.sampled_from("\x1b[]0;1m?hlJKABCD\r\n\t\x07ab ")))
def test_no_line_steers_the_terminal(line: str) -> None:
    left = clean(line)
    while "\x1b[" in left:
        before, _, after = left.partition("\x1b[")
        values, ended, rest = after.partition("m")
        assert ended
        assert not values.strip("0123456789;:")
        left = before + rest
    assert left.isprintable()
