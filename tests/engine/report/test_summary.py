"""What is told at the end of a run."""

from __future__ import annotations

from build_rules.engine.report.plain import counts
from build_rules.engine.report.summary import failures, slowest, warnings
from build_rules.engine.report.terminal import NO_INK, choose_ink
from build_rules.engine.running.run_state import RunState


def run(*seconds: float) -> RunState:
    state, now = RunState(0.0), 0.0
    for i, took in enumerate(seconds):
        state.start(f"har:{i}", now)
        now += took
        state.done(f"har:{i}", now)
    return state


def test_counts_as_they_always_were_and_the_cache() -> None:
    state = RunState(0.0)
    assert counts(state, 0.01) == "nothing to do in 0.0 s\n"
    state = run(1, 1, 1)
    state.all_fresh(41)
    state.fresh("x")
    assert counts(state, 3.3) == "3 run, 42 up to date in 3.3 s\n"
    state.restored("a", 4.0)
    state.failure("b", "text", 4.0)
    state.not_reached("c")
    assert counts(state, 600) == "3 run, 1 from the cache, 42 up to date, 1 failed, 1 not reached in 10.0 min\n"


def test_the_slowest_steps_of_long_runs() -> None:
    state = run(1, 12.04, 3, 3.5, 2, 100)
    assert slowest(state, 122, NO_INK) == [
        "slowest of 6 steps:",
        "   har:5   1.7 min   82 %",
        "   har:1    12.0 s   10 %",
        "   har:3     3.5 s    3 %",
        "   har:2     3.0 s    2 %",
        "   har:4     2.0 s    2 %",
    ]
    assert slowest(state, 10, NO_INK) == []
    assert slowest(run(10, 10, 10), 30, NO_INK) == []


def test_warnings_once_with_their_tasks() -> None:
    state = run(1, 1)
    assert warnings(state, NO_INK) == []
    state.warn("meta:a", "odd")
    assert warnings(state, NO_INK) == ["1 warning:", "   odd (meta:a)"]
    for task in ("meta:b", "meta:c", "meta:d", "meta:a"):
        state.warn(task, "odd")
    state.warn("", "even\x1b[2J")
    assert warnings(state, NO_INK) == [
        "6 warnings, 2 different:",
        "   odd (meta:a, meta:b, meta:c and 1 more)",
        "   even\N{REPLACEMENT CHARACTER}[2J",
    ]


def test_the_warnings_of_a_single_step_stand_right_above() -> None:
    state = run(1)
    state.warn("har:0", "odd")
    assert warnings(state, NO_INK) == []


def test_a_failure_of_several_steps_is_told_once() -> None:
    state = run(1)
    for name in ("parse:a", "meta:x", "parse:b"):
        state.failure(name, "gone\nlines" if name != "meta:x" else "wrong", 3.0)
    assert failures(state, NO_INK) == ["failed: parse:a, parse:b: gone", "failed: meta:x: wrong"]


def test_failures_are_repeated_where_they_have_scrolled_away() -> None:
    state = run(1)
    state.start("meta:a", 1.0)
    assert state.failure("meta:a", "wrong\nlines to paste", 3.0) == 2.0
    state.not_reached("meta:c")
    assert failures(state, NO_INK) == []
    state.start("meta:b", 3.0)
    assert failures(state, NO_INK) == ["failed: meta:a: wrong"]
    assert state.failure("x", "never begun", 3.0) is None
    told = failures(state, choose_ink({"TERM": "xterm"}))
    assert told == ["\x1b[33mfailed:\x1b[0m meta:a: wrong", "\x1b[33mfailed:\x1b[0m x: never begun"]
