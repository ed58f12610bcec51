"""What is told of a failure cannot steer the terminal, the traceback included."""

from __future__ import annotations

import pytest

from build_rules.engine.running.failure import DEBUG, failure_of
from build_rules.errors import InputError


@pytest.mark.parametrize("error", [InputError("a \x1b[2J name"), RuntimeError("a \x1b]0;x\x07 name\u202e")])
def test_a_traceback_is_printable(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEBUG, "1")
    try:
        raise error
    except Exception as caught:
        text = str(failure_of(caught).get_msg())
    assert "test_failure.py" in text
    assert all(line.isprintable() for line in text.splitlines())
    assert len(text.splitlines()) > 3
