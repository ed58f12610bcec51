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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares fixtures when tests run side by side: a module; all that wants the examples."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("examples" if "examples" in fixtures else item.nodeid.split("::")[0]))
