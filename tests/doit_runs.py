"""Running the real doit in a folder, as a person would, and reading what it did."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Run", "doit", "start_doit", "wait_until"]


@dataclass(frozen=True)
class Run:
    """One finished doit: exit code, what it printed, the tasks it executed in order."""

    code: int
    out: str
    err: str

    @property
    def executed(self) -> list[str]:
        return [line[3:] for line in self.out.splitlines() if line.startswith(".  ")]

    @property
    def steps(self) -> list[str]:
        """The kinds of step that ran (`meta` of `meta:model:target`), sorted."""
        return sorted(name.split(":")[0] for name in self.executed)


def _environment(extra: dict[str, str]) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("SOURCE_DATE_EPOCH", "BUILD_RULES_DEBUG")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **extra}


def start_doit(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start doit in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "doit", *arguments],
        cwd=folder,
        env=_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
        start_new_session=True,
    )


def doit(folder: Path, *arguments: str, **environment: str) -> Run:
    """Run doit to its end."""
    process = start_doit(folder, *arguments, **environment)
    out, err = process.communicate(timeout=600)
    return Run(process.returncode, out, err)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something another process does."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"nothing happened in {seconds} s")
        time.sleep(0.01)
