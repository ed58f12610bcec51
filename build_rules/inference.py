"""The one place that knows onnxruntime as a program that talks: to Microsoft, to the home folder, to the terminal.

From 1.29 on its builds for Linux send telemetry unless `ORT_DISABLE_TELEMETRY` is set before it is loaded: they keep an
identifier of the machine and a database of events below the home folder, and warn where they cannot. It also warns of
graphics cards that it does not find, as soon as it is loaded, and of much else when a session is made. None of that is
about the user's network: what is wrong with that comes as an exception.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["Session", "load_onnxruntime", "new_session", "session_options"]

Session = Any
"""An `onnxruntime.InferenceSession`, which has no type hints."""

NOTHING = 4
"""Severity `fatal`; errors come as exceptions, and a second time on the terminal they would be noise."""
_LOG = re.compile(rb"(\x1b\[[0-9;]*m)*[0-9: .-]+\[[VIWE]:onnxruntime")


def load_onnxruntime() -> Any:
    """Return the module `onnxruntime`, silent in every respect."""
    if "onnxruntime" in sys.modules:
        return sys.modules["onnxruntime"]
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    with _without_its_log():
        import onnxruntime
    onnxruntime.set_default_logger_severity(NOTHING)
    with suppress(AttributeError):  # where there is no telemetry there is nothing to switch off
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def session_options() -> Any:
    """Return options for a session of one thread that says nothing."""
    options = load_onnxruntime().SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = NOTHING
    return options


def new_session(model: str | bytes, options: Any) -> onnxruntime.InferenceSession:
    """Return a session on the processor. Raises what onnxruntime raises; its errors share no base class."""
    return load_onnxruntime().InferenceSession(model, options, providers=["CPUExecutionProvider"])


@contextmanager
def _without_its_log() -> Iterator[None]:
    """Keep from standard error what onnxruntime logs before anybody can tell it not to; the rest is passed on."""
    try:
        kept, held = os.memfd_create("stderr"), os.dup(2)
    except (OSError, AttributeError):
        yield
        return
    os.dup2(kept, 2)
    try:
        yield
    finally:
        os.dup2(held, 2)
        os.close(held)
        size = os.fstat(kept).st_size
        lines = os.pread(kept, size, 0).splitlines(keepends=True)
        os.close(kept)
        with suppress(OSError):
            os.write(2, b"".join(line for line in lines if not _LOG.match(line)))
