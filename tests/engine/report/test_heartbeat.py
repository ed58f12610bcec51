"""What is told of a step that takes hours where there is no live view."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import pytest

from build_rules.engine.report import base, console, heartbeat
from build_rules.engine.report.console import BuildReporter
from build_rules.engine.report.heartbeat import Heartbeat
from build_rules.engine.report.plain import running
from build_rules.engine.running.run_state import RunState
from build_rules.engine.running.session import session
from tests.doit_runs import start_doit, wait_until
from tests.engine.report.terminal_runs import make_workspace


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(session, "state", RunState(0.0))
    for module in (base, console):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def reporter() -> BuildReporter:
    reporter = BuildReporter(io.StringIO(), {})
    reporter.expected = {"har:m:fast": 2500.0}.get
    return reporter


def printed(reporter: BuildReporter) -> list[str]:
    text = reporter.outstream.getvalue()  # type: ignore[union-attr]
    reporter.outstream.seek(0)
    reporter.outstream.truncate()
    return [str(line) for line in text.splitlines()]


def beat_until(reporter: BuildReporter, clock: Clock, end: float) -> None:
    while clock.now < end:
        clock.now += 1.0
        reporter.beat(clock.now)


def test_a_silent_step_has_a_line_a_minute(reporter: BuildReporter, clock: Clock) -> None:
    reporter.state.start("har:m:fast", 0.0)
    beat_until(reporter, clock, 59)
    assert printed(reporter) == []
    beat_until(reporter, clock, 185)
    assert printed(reporter) == [
        "   har:m:fast 60 s, about 40 min 40 s left",
        "   har:m:fast 2 min 00 s, about 39 min 40 s left",
        "   har:m:fast 3 min 00 s, about 38 min 40 s left",
    ]
    reporter.state.done("har:m:fast", clock.now)
    beat_until(reporter, clock, 400)
    assert printed(reporter) == []


def test_one_that_speaks_has_a_line_every_ten_seconds_for_a_minute(reporter: BuildReporter, clock: Clock) -> None:
    reporter.state.start("har:m:fast", 0.0)
    reporter.state.start("hef:m:fast", 0.0)
    reporter._threads[threading.get_ident()] = "har:m:fast"
    for _ in range(1000):
        clock.now += 0.25
        reporter.report_progress(f"epoch {clock.now:.0f}")
        reporter.beat(clock.now)
    lines = printed(reporter)
    har = [line.split(" ")[4:6] for line in lines if " har:m:fast " in line]
    assert [" ".join(words) for words in har] == [
        *("10 s,", "20 s,", "30 s,", "40 s,", "50 s,", "1 min", "2 min", "3 min"),
    ]
    assert lines[0] == "   har:m:fast 10 s, epoch 10, about 41 min 30 s left"
    assert "   hef:m:fast 60 s" in lines
    assert len(lines) == 8 + 4


def test_one_that_waits(reporter: BuildReporter, clock: Clock) -> None:
    reporter.state.start("har:m:fast", 0.0)
    reporter.report_waits("har:m:fast", "waits for dfc (1 of 1 taken)")
    beat_until(reporter, clock, 61)
    assert printed(reporter) == ["   har:m:fast waits for dfc (1 of 1 taken), 60 s"]
    reporter.report_began("har:m:fast")
    beat_until(reporter, clock, 121)
    assert printed(reporter) == ["   har:m:fast 60 s, about 40 min 40 s left"]


@pytest.mark.parametrize(
    ("elapsed", "expected", "note", "line"),
    [
        (725.0, 2525.0, "Adaround: 42 %", "   har:m 12 min 05 s, Adaround: 42 %, about 30 min 00 s left\n"),
        (725.0, 600.0, "", "   har:m 12 min 05 s, 10 min 00 s expected\n"),
        (7260.0, None, "", "   har:m 2 h 01 min\n"),
        (61.0, None, "\x1b[2J\nx", "   har:m 61 s, \N{REPLACEMENT CHARACTER}[2J x\n"),
    ],
)
def test_how_a_line_reads(elapsed: float, expected: float | None, note: str, line: str) -> None:
    assert running("har:m", elapsed, expected, note, "") == line


def test_the_thread_beats_until_it_is_stopped() -> None:
    beats: list[float] = []
    beating = Heartbeat(lambda: beats.append(time.monotonic()), 0.001)
    wait_until(lambda: len(beats) > 2)
    beating.stop()
    count = len(beats)
    time.sleep(0.02)
    assert len(beats) == count


def test_a_run_without_a_terminal(tmp_path: Path) -> None:
    """By the real doit, with shorter times."""
    make_workspace(tmp_path, "a")
    dodo = (tmp_path / "dodo.py").read_text()
    shorter = "from build_rules.engine.report import heartbeat\nfrom build_rules.engine.running import run_state\n"
    shorter += "heartbeat.Heartbeat.__init__.__defaults__ = (0.01,)\nrun_state.HEARTBEAT_SECONDS = 0.2\n"
    (tmp_path / "dodo.py").write_text(shorter + dodo)
    process = start_doit(tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == ".  step:a\n"
    assert process.stdout.readline() == "   step:a 0 s\n"
    (tmp_path / "go").touch()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "step:a done in" in out
    assert heartbeat.PERIOD == 1.0
