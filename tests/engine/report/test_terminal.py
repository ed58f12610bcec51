"""doit on a real terminal: what is seen while steps run, and what is left on the screen whatever happens."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doit_runs import wait_until
from tests.engine.memory.sql import change, select
from tests.engine.report.terminal_runs import Terminal, make_workspace

SHELL = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-m", "doit"])
assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
os.tcsetpgrp(0, os.getpid())
print("prompt")
while not pathlib.Path("fg").exists():
    if pathlib.Path("bg").exists():
        pathlib.Path("bg").unlink()
        os.kill(child, signal.SIGCONT)
    time.sleep(0.01)
os.tcsetpgrp(0, child)
os.kill(child, signal.SIGCONT)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def without_times(rows: list[str]) -> list[str]:
    return [re.sub(r"in [\d.]+ s", "in T", row) for row in rows]


def go(folder: Path, name: str = "go") -> None:
    (folder / name).touch()


def seen(terminal: Terminal, *texts: str) -> Callable[[], bool]:
    return lambda: all(any(text in row for row in terminal.screen.display) for text in texts)


def test_running_steps_are_seen_and_nothing_but_lines_is_left(tmp_path: Path) -> None:
    make_workspace(tmp_path, "a b +a")
    terminal = Terminal(tmp_path, "-n", "2")
    terminal.watch(seen(terminal, "> step:a  0 s", "> step:b  0 s", "0 of 3"))
    assert not terminal.screen.shows_cursor()
    terminal.watch(seen(terminal, "> step:a  1 s"))
    go(tmp_path, "go-a")
    terminal.watch(seen(terminal, "step:a done in", "> step:a+", "1 of 3: 1 run"))
    go(tmp_path)
    assert terminal.finish() == 0
    assert terminal.screen.shows_cursor()
    shown = without_times(terminal.screen.everything)
    assert sorted(shown[:3]) == [f"   step:{name} done in T: {name}.out" for name in ("a", "a+", "b")]
    assert shown[3:] == ["3 run in T"]


def test_what_is_expected_is_told_from_former_runs(tmp_path: Path) -> None:
    make_workspace(tmp_path, "a b")
    (tmp_path / "build").mkdir()
    change("create table durations (task text primary key, seconds text not null)", workspace=tmp_path)
    change("insert into durations values ('step:a', '[40.0]'), ('step:b', '[20.0]')", workspace=tmp_path)
    terminal = Terminal(tmp_path)
    terminal.watch(seen(terminal, "> step:a  [..........]  0 s of about 40 s", "0 of 2; about 59 s left"))
    go(tmp_path)
    assert terminal.finish() == 0


def test_nothing_to_do_prints_one_line(tmp_path: Path) -> None:
    make_workspace(tmp_path, "a")
    go(tmp_path)
    assert Terminal(tmp_path).finish() == 0
    terminal = Terminal(tmp_path)
    assert terminal.finish() == 0
    assert re.fullmatch(r"1 up to date in [\d.]+ s\r\n", terminal.raw)


@pytest.mark.parametrize("how", ["ctrl-c", "SIGTERM"])
@pytest.mark.parametrize("arguments", [(), ("-n", "2")])
def test_an_interrupt_leaves_the_terminal_as_it_was(tmp_path: Path, how: str, arguments: tuple[str, ...]) -> None:
    make_workspace(tmp_path, "a b")
    terminal = Terminal(tmp_path, *arguments)
    terminal.watch_for("> step:a")
    if how == "ctrl-c":
        terminal.press("\x03")
    else:
        terminal.process.terminate()
    assert terminal.finish() == 130
    assert terminal.screen.everything == ["interrupted; what was finished is kept, run doit again to go on"]
    assert terminal.screen.shows_cursor()


def test_an_error_of_doit_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    make_workspace(tmp_path, "a b")
    (tmp_path / "dodo.py").write_text(
        (tmp_path / "dodo.py").read_text()
        + "\nimport build_rules.engine.freshness.records as backend\n"
        + "def dump(self): raise RuntimeError('the disk is gone')\n"
        + "backend.RecordsBackend.dump = dump\n"
    )
    terminal = Terminal(tmp_path)
    terminal.watch_for("> step:a")
    go(tmp_path)
    assert terminal.finish() == 3
    assert terminal.screen.everything[-1] == "RuntimeError: the disk is gone"
    assert not any(row.startswith("> ") for row in terminal.screen.everything)
    assert terminal.screen.shows_cursor()


@pytest.mark.parametrize("reflow", [True, False])
def test_resizing(tmp_path: Path, reflow: bool) -> None:
    names = [f"{letter * 50}" for letter in "abcd"]
    make_workspace(tmp_path, " ".join(names), **{names[0]: "   said before"})
    terminal = Terminal(tmp_path, "-n", "4", columns=80, lines=20)
    terminal.watch_for("> step:dddd")
    for columns, lines, seen_steps in [(30, 20, 4), (100, 6, 2), (20, 5, 1), (50, 3, 0), (80, 24, 4)]:
        terminal.resize(columns, lines, reflow=reflow)
        drawn = len(terminal.raw)
        terminal.watch(lambda drawn=drawn: terminal.raw.count("0 of 4", drawn) > 1)  # type: ignore[misc]
        rows = terminal.screen.display
        assert len(rows) <= lines
        assert sum(row.startswith("> step:") for row in rows) == seen_steps
        assert rows[-1] == "0 of 4"
    go(tmp_path)
    assert terminal.finish() == 0
    shown = without_times(terminal.screen.everything)
    assert shown[0] == "   said before"
    assert not any(row.startswith((">", "  and", "0 of")) for row in shown)
    assert shown[-1] == "4 run in T"


def test_more_steps_than_rows(tmp_path: Path) -> None:
    names = [f"s{i:02}" for i in range(20)]
    make_workspace(tmp_path, " ".join(names))
    terminal = Terminal(tmp_path, "-n", "20", lines=10)
    terminal.watch(seen(terminal, "  and 14 more", "0 of 20"))
    assert len(terminal.screen.rows) <= 10
    for name in names[:8]:
        go(tmp_path, f"go-{name}")
    terminal.watch(seen(terminal, "  and 6 more", "8 of 20: 8 run"))
    go(tmp_path)
    assert terminal.finish() == 0
    shown = without_times(terminal.screen.everything)
    assert sorted(shown[:20]) == [f"   step:{name} done in T: {name}.out" for name in names]
    assert shown[20:] == ["20 run in T"]


def test_what_steps_print_stands_above_the_view(tmp_path: Path) -> None:
    long = "a line of many words " * 8
    say = {
        "a": f"   warning: odd\n{long}\n10 %\r100 %\n\x1b[2Jwiped",
        "b": "raw from a library\n   warning: odd\nwarn told through the hook",
    }
    make_workspace(tmp_path, "a b", **say)
    terminal = Terminal(tmp_path, "-n", "2")
    terminal.watch(seen(terminal, "> step:a", "> step:b", "3 warnings"))
    go(tmp_path)
    assert terminal.finish() == 0
    shown = without_times(terminal.screen.everything)
    assert shown[-4] == "3 warnings, 2 different:"
    assert sorted(shown[-3:-1])[1] == "   told through the hook (step:b)"
    assert re.fullmatch(r"   odd \(step:(a, step:b|b, step:a)\)", sorted(shown[-3:-1])[0])
    assert {"from a library", "100 %", "wiped"} <= set(shown)
    assert shown.count("   warning: odd") == 2
    assert long.rstrip() in "".join(row.ljust(80) for row in terminal.screen.everything)


def test_a_failure_is_repeated_at_the_end(tmp_path: Path) -> None:
    make_workspace(tmp_path, "a b +a", a="fail")
    terminal = Terminal(tmp_path, "--continue")
    terminal.watch(seen(terminal, "ERROR in step:a: a is wrong; mend it.", "> step:b", "1 failed"))
    go(tmp_path)
    assert terminal.finish() == 3
    assert without_times(terminal.screen.everything) == [
        "ERROR in step:a: a is wrong; mend it.",
        "   step:b done in T: b.out",
        "1 run, 1 failed, 1 not reached in T",
        "failed: step:a: a is wrong; mend it.",
    ]
    assert "\x1b[38;5;208mERROR\x1b[0m" in terminal.raw


def test_errors_that_go_elsewhere_go_there(tmp_path: Path) -> None:
    make_workspace(tmp_path, "a b", a="fail")
    terminal = Terminal(tmp_path, "--continue", stderr=tmp_path / "errors")
    terminal.watch_for("> step:b")
    go(tmp_path)
    assert terminal.finish() == 3
    assert (tmp_path / "errors").read_text() == "ERROR in step:a: a is wrong; mend it.\n"
    assert "ERROR" not in terminal.raw


def test_restored_from_the_cache(tmp_path: Path) -> None:
    make_workspace(tmp_path, "a b", a="cached")
    terminal = Terminal(tmp_path)
    terminal.watch_for("> step:a")
    go(tmp_path)
    assert terminal.finish() == 0
    assert without_times(terminal.screen.everything) == [
        "   step:a from the cache: a.out",
        "   step:b done in T: b.out",
        "1 run, 1 from the cache in T",
    ]
    assert select("select task from durations", workspace=tmp_path) == [("step:b",)]


def test_no_color(tmp_path: Path) -> None:
    make_workspace(tmp_path, "a b", a="   warning: odd")
    terminal = Terminal(tmp_path, environment={"NO_COLOR": "1"})
    terminal.watch_for("> step:a")
    go(tmp_path)
    assert terminal.finish() == 0
    assert "\x1b[J" in terminal.raw
    assert not re.search(r"\x1b\[[\d;]*m", terminal.raw)


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": ""}, {"CI": "true"}], ids=str)
def test_terminals_that_cannot_be_drawn_on_get_plain_lines(tmp_path: Path, environment: dict[str, str]) -> None:
    make_workspace(tmp_path, "a", a="   warning: odd")
    go(tmp_path)
    terminal = Terminal(tmp_path, environment=environment)
    assert terminal.finish() == 0
    assert without_times(terminal.raw.split("\r\n")) == [
        ".  step:a",
        "   warning: odd",
        "   step:a done in T: a.out",
        "1 run in T",
        "",
    ]


def test_stopped_continued_in_the_background_and_brought_back(tmp_path: Path) -> None:
    make_workspace(tmp_path, "a b")
    terminal = Terminal(tmp_path, "-c", SHELL)
    terminal.watch_for("> step:a")
    terminal.press("\x1a")
    terminal.watch(lambda: terminal.screen.display == ["prompt"])
    assert terminal.screen.shows_cursor()
    go(tmp_path, "bg")
    go(tmp_path, "go-a")
    terminal.watch_for("step:a done in")
    drawn = len(terminal.raw)
    wait_until((tmp_path / "began-b").exists)
    terminal.read(0.7)
    assert "\x1b" not in terminal.raw[drawn:]
    go(tmp_path, "fg")
    terminal.watch_for("> step:b")
    go(tmp_path)
    assert terminal.finish() == 0
    assert without_times(terminal.screen.everything) == [
        "prompt",
        "   step:a done in T: a.out",
        "   step:b done in T: b.out",
        "2 run in T",
    ]
    assert terminal.screen.shows_cursor()


def test_keys_pressed_meanwhile_do_not_spoil_the_view(tmp_path: Path) -> None:
    make_workspace(tmp_path, "a")
    terminal = Terminal(tmp_path)
    terminal.watch_for("> step:a")
    for keys in ("\n", "q\n", "w"):
        terminal.press(keys)
        drawn = len(terminal.raw)
        terminal.watch(lambda drawn=drawn: terminal.raw.count("0 of 1", drawn) > 1)  # type: ignore[misc]
    assert [row[:8] for row in terminal.screen.display if row and row != "q"] == ["> step:a", "0 of 1"]
    go(tmp_path)
    assert terminal.finish() == 0
    assert [row for row in without_times(terminal.screen.everything) if row and row != "q"] == [
        "   step:a done in T: a.out",
        "1 run in T",
    ]


def test_a_terminal_that_goes_away_ends_the_run(tmp_path: Path) -> None:
    make_workspace(tmp_path, "a")
    terminal = Terminal(tmp_path)
    terminal.watch_for("> step:a")
    terminal.close()
    assert terminal.process.wait(10) == -signal.SIGHUP
