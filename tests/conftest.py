"""What every test run begins with."""

from __future__ import annotations

import compileall
import os
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "build_rules"

# Tests load onnxruntime themselves, too; nobody wants telemetry of that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the package once: hundreds of tests start doit, and none of these processes keeps what it compiles."""
    if not hasattr(session.config, "workerinput"):  # of pytest-xdist, whose controller was here before
        compileall.compile_dir(PACKAGE, quiet=2)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run one module more than there are cores: many tests wait for a server, a process or a clock."""
    return (os.cpu_count() or 1) + 1


def pytest_configure(config: pytest.Config) -> None:
    """Leave modules in their order when they run side by side: those that take longest come early, with few tests."""
    config.option.loadscopereorder = False  # of pytest-xdist, which would begin with those that hold most tests
