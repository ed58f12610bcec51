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
    compileall.compile_dir(PACKAGE, quiet=2)
