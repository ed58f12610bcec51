"""A client that hangs and ignores what it can, the processes of it, and a step that waits for it."""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["APART", "HANG", "pids", "wait_for"]

HANG = """
import subprocess
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"])
Path(os.environ["PIDS"]).write_text(f"{os.getpid()} {os.getppid()} {child.pid}")
while True:
    time.sleep(1)
"""
"""Its processes are told in the file that PIDS names: itself, who started it, its child."""
APART = """
import os, sys
from pathlib import Path
from build_rules.compilers.dfc.dfc_settings import DfcSettings
from tests.compilers.dfc.launch.environments import parse_work, run_quietly
os.setsid()
run_quietly(DfcSettings(**eval(sys.argv[1])), parse_work(Path(sys.argv[2]), 600.0))
"""
"""A step in a process group of its own; its arguments are the settings and a folder."""


def pids(path: Path) -> list[int]:
    return list(map(int, path.read_text().split()))


def wait_for(path: Path) -> list[int]:
    for _ in range(1000):
        if path.is_file() and len(path.read_text().split()) == 3:
            return pids(path)
        time.sleep(0.02)
    raise AssertionError(f"{path} never came")
