"""Where processes that hang are told of, and that none of them outlives its test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.compilers.dfc.launch.hanging import pids


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the processes of a client that hangs are told."""
    path = tmp_path / "pids"
    monkeypatch.setenv("PIDS", str(path))
    yield path
    for pid in pids(path) if path.is_file() else ():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
