"""What a worker is asked for, what comes back, and what may go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["FILE_NAMES", "OPTIONAL", "Done", "Work", "WorkerFailure"]

FILE_NAMES = {
    **{"onnx": "model.onnx", "har": "model.har", "hef": "model.hef", "script": "model.alls"},
    **{"calibration": "calibration.npy", "samples": "samples.npy", "arrays": "arrays.npz"},
    "allocation": "allocation.alls",
}
"""What inputs and outputs are called where they do not lie under their own paths; the compiler looks at endings."""
OPTIONAL = ("allocation",)
"""Outputs that may not come: not every compiled network says how it was allocated."""


@dataclass(frozen=True)
class Work:
    """One action of the worker: probe, parse, optimize, compile, simulate or profile.

    `settings` are JSON values. Inputs and outputs are named as in `FILE_NAMES`; outputs appear whole, or not at all,
    and `allocation` only when there is one. `log` gets all logs of the run as one text, headed as by tail(1). `kept` is
    a folder that is made when the run fails, for what lay in its working folder. `limit` is in seconds; without it that
    of the settings holds.
    """

    action: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Path] = field(default_factory=dict)
    outputs: Mapping[str, Path] = field(default_factory=dict)
    log: Path | None = None
    kept: Path | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Done:
    """What a run that succeeded has told; `environment` has dfc, python, numpy and digest, `log` the text of all logs.

    The digest is of name and version of everything installed there, and of the image. It holds no paths.
    """

    environment: Mapping[str, str]
    facts: Mapping[str, Any]
    log: str


class WorkerFailure(Exception):  # noqa: N818 - what failed is the compiler, as often as not by being right
    """A run that made nothing. `kind` is one of

    start (not there, not executable, not Python), environment (no compiler in it), raised (the compiler raised), died
    (a signal, or an exit), garbage (no valid result), timeout, disk, runner (no docker, no podman), image, daemon,
    permission, password.

    `type` names the exception when one was raised, `message` is its text, or ours. `kept` is a folder when something
    was kept.
    """

    def __init__(
        self, kind: str, message: str, type: str = "", traceback: str = "", log: str = "", kept: Path | None = None
    ) -> None:
        super().__init__(message)
        self.kind, self.type, self.message, self.traceback = kind, type, message, traceback
        self.log, self.kept = log, kept

    def __reduce__(self) -> tuple[Any, ...]:
        """Come through a pipe: a step runs in a process of its own."""
        return type(self), (self.kind, self.message, self.type, self.traceback, self.log, self.kept)
