"""The live view as rows of a size, and how it is drawn on a screen."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.engine.report.cells import width
from build_rules.engine.report.estimate import Left
from build_rules.engine.report.frame import LEAVE, Shown, Step, clock, draw, rows
from build_rules.engine.report.terminal import NO_INK, choose_ink
from tests.engine.report.screen import Screen

HAR = Step("har:shapes-det:hailo8l-balanced", 5.2, 7.9)
NEW = Step("har:shapes-seg:hailo8l-fast", 3.9, None)
LATE = Step("split:shapes-det", 9.9, 7.0)
SHOWN = Shown([NEW, HAR], 45, 20, ran=12, cached=3, current=5, left=Left(40.7, False))


def test_the_view() -> None:
    assert rows(SHOWN, 80, 24, NO_INK) == [
        "",
        "> har:shapes-det:hailo8l-balanced  [######....]  5 s of about 7 s",
        "> har:shapes-seg:hailo8l-fast                    3 s",
        "20 of 45: 12 run, 3 from the cache, 5 up to date; about 40 s left",
    ]


def test_without_anything_expected_there_is_no_room_for_bars() -> None:
    assert rows(Shown([NEW, LATE], 2, 0), 80, 24, NO_INK)[1:3] == [
        "> split:shapes-det             9 s, 7 s expected",
        "> har:shapes-seg:hailo8l-fast  3 s",
    ]


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        (66, "> har:shapes-det:hailo8l-balanced  [######....]  5 s of about 7 s"),
        (65, "> har:shapes-det:hailo8l-balanced  5 s of about 7 s"),
        (45, "> har:shapes-det:hailo8l..  5 s of about 7 s"),
        (37, "> har:shapes-det..  5 s of about 7 s"),
        (36, "> har:shapes-det:hailo8l-bal..  5 s"),
        (24, "> har:shapes-det..  5 s"),
        (23, "> har:shapes-det:hai.."),
        (10, "> har:s.."),
        (3, ".."),
    ],
)
def test_a_narrow_terminal_shortens_names_before_it_drops_times(columns: int, row: str) -> None:
    assert rows(Shown([HAR], 1, 0), columns, 24, NO_INK)[1] == row


def test_how_far_a_step_says_it_is_stands_where_there_is_room() -> None:
    step = HAR._replace(note="3 of 4 images")
    shown = Shown([step], 1, 0)
    row = "> har:shapes-det:hailo8l-balanced  [######....]  5 s of about 7 s"
    assert rows(shown, 100, 24, NO_INK)[1] == f"{row}: 3 of 4 images"
    assert rows(shown, 80, 24, NO_INK)[1] == row


def test_what_a_step_waits_for_stands_in_its_row() -> None:
    step = HAR._replace(name="hef:shapes-det:hailo8l-fast", waits="waits for dfc (1 of 1 taken)")
    shown = Shown([HAR, step], 2, 0)
    assert rows(shown, 100, 24, NO_INK)[1:3] == [
        "> har:shapes-det:hailo8l-balanced  [######....]  5 s of about 7 s",
        "  hef:shapes-det:hailo8l-fast                    waits for dfc (1 of 1 taken), 5 s",
    ]
    assert rows(shown, 58, 24, NO_INK)[2] == "  hef:shapes-det:hailo8l-..  waits for dfc (1 of 1 taken)"
    assert rows(shown, 30, 24, NO_INK)[2] == "  hef:shapes-det:hai..  waits"


def test_counts_grow_short_with_the_terminal() -> None:
    shown = Shown([], 45, 20, ran=12, failed=1, warnings=2, left=Left(300.0, True))
    assert rows(shown, 80, 3, NO_INK) == ["20 of 45: 1 failed, 12 run, 2 warnings; at least 5 min 00 s left"]
    assert rows(shown, 60, 3, NO_INK) == ["20 of 45; 1 failed; at least 5 min 00 s left"]
    assert rows(shown, 30, 3, NO_INK) == ["20 of 45; 1 failed"]
    assert rows(shown, 10, 3, NO_INK) == ["20 of 4.."]
    assert rows(Shown([], 1, 0, warnings=1), 80, 3, NO_INK) == ["0 of 1: 1 warning"]


def test_as_many_steps_as_fit_the_longest_running_first() -> None:
    shown = Shown([Step(f"step:{i}", float(i), None) for i in range(20)], 20, 0)
    view = rows(shown, 80, 10, NO_INK)
    assert len(view) == 9
    assert view[1] == "> step:19  19 s"
    assert view[-2:] == ["  and 14 more", "0 of 20"]
    assert "more" not in rows(shown, 80, 23, NO_INK)[-2]
    assert "  and 2 more" in rows(shown, 80, 22, NO_INK)


def test_colours_are_blue_and_orange_and_a_help_only() -> None:
    shown = Shown([HAR, LATE], 45, 20, ran=12, failed=1)
    coloured = rows(shown, 80, 24, choose_ink({"TERM": "xterm-256color"}))
    assert set(re.findall(r"\x1b\[([\d;]*)m", "".join(coloured))) == {"1", "38;5;33", "38;5;208", "0"}
    assert [re.sub(r"\x1b\[[\d;]*m", "", row) for row in coloured] == rows(shown, 80, 24, NO_INK)
    assert choose_ink({"TERM": "xterm-256color", "NO_COLOR": "1"}) == NO_INK
    assert choose_ink({"TERM": "vt220", "NO_COLOR": ""}).blue == "\x1b[34m"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.9, "0 s"), (99.9, "99 s"), (100, "1 min 40 s"), (5999, "99 min 59 s"), (6000, "1 h 40 min")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


STEPS = st.builds(Step, st.text(max_size=40), st.floats(0, 1e5), st.none() | st.floats(0, 1e5))


@given(st.lists(STEPS, max_size=30), st.integers(1, 90), st.integers(1, 30), st.integers(0, 3))
def test_a_view_fits_every_terminal(steps: list[Step], columns: int, lines: int, failed: int) -> None:
    view = rows(Shown(steps, 45, 20, 1, 2, 3, failed, 4, Left(5.0, True)), columns, lines, NO_INK)
    assert len(view) <= max(lines - 1, 1)
    assert all(width(row) < columns for row in view)
    assert all(row.isprintable() for row in view)


def show(screen: Screen, text: str) -> None:
    """Write to a screen as a terminal's driver does."""
    screen.feed(text.replace("\n", "\r\n"))


def test_frames_are_drawn_over_each_other() -> None:
    screen = Screen(40, 6)
    show(screen, "before\n")
    show(screen, draw(["first"], [], drawn=False))
    show(screen, draw([], ["", "> a  1 s", "> b  1 s", "0 of 2"], drawn=False))
    assert screen.display == ["before", "first", "", "> a  1 s", "> b  1 s", "0 of 2"]
    assert not screen.shows_cursor()
    show(screen, draw(["second, " + "long " * 8], ["", "> a  2 s", "0 of 2"], drawn=True))
    long = ["second, " + "long " * 6 + "lo", "ng long"]
    assert screen.everything == ["before", "first", *long, "", "> a  2 s", "0 of 2"]
    show(screen, draw([], ["", "1"], drawn=True))
    assert screen.display[-2:] == ["", "1"]
    show(screen, LEAVE + "end\n")
    assert screen.display[-2:] == ["ng long", "end"]
    assert screen.shows_cursor()


def test_what_others_write_stands_whole() -> None:
    screen = Screen(40, 8)
    view = ["", "> a very long name of a step  1 s", "0 of 2"]
    show(screen, draw([], view, drawn=False))
    show(screen, "from a library\n")
    show(screen, draw([], view, drawn=True))
    assert screen.display == ["from a library", *view]


def test_rows_that_turn_out_too_wide_are_cut() -> None:
    screen = Screen(40, 8)
    for drawn in (False, True):
        show(screen, draw([], ["", "x" * 60, "0 of 2"], drawn=drawn))
        assert screen.everything == ["", "x" * 40, "0 of 2"]
    show(screen, draw(["y" * 60], [], drawn=True))
    assert screen.everything == ["y" * 40, "y" * 20]


@pytest.mark.parametrize("reflow", [True, False])
@pytest.mark.parametrize(("columns", "lines"), [(10, 8), (25, 4), (90, 30)])
def test_a_resize_leaves_nothing_behind(reflow: bool, columns: int, lines: int) -> None:
    screen = Screen(40, 8)
    show(screen, draw(["log"], ["", "> har:a" + 31 * "x", "> har:b" + 31 * "y", "0 of 2"], drawn=False))
    screen.resize(columns, lines, reflow=reflow)
    show(screen, draw([], ["", "> ha..", "0 of 2"], drawn=True))
    assert [row for row in screen.everything if row] == ["log", "> ha..", "0 of 2"]
    show(screen, draw([], [], drawn=True))
    assert screen.everything == ["log"]
