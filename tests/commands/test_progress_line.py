"""What is said on the way: one line on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
from io import StringIO

import pytest

from build_rules.commands.progress_line import ProgressLine


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_log_gets_few_lines_and_a_terminal_one(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    stream = Terminal() if is_terminal else StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    times = iter(range(0, 1000))
    line = ProgressLine(lambda: float(next(times)))
    for done in range(60):
        line.tell(done, 60, "fast on held-out images")
    line.end()
    text = stream.getvalue()
    if is_terminal:
        assert text.count("\r\x1b[K") == 61
        assert "\n" not in text
        assert text.endswith("\r\x1b[K")
    else:
        assert text.count("\n") == 3
        assert "\x1b" not in text
        assert "fast on held-out images, 31 %, about" in text


def test_the_time_that_is_left_is_told_from_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    times = iter([0.0, 30.0, 60.0, 90.0])
    line = ProgressLine(lambda: next(times))
    line.tell(0, 0, "quantizing\x1b[2J")
    line.tell(10, 100, "float")
    line.tell(50, 100, "float")
    assert "\x1b[2J" not in stream.getvalue()
    assert "10 %, about 9 min left" in stream.getvalue()
    assert "50 %, about 2 min left" in stream.getvalue()
