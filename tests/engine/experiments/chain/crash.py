"""Kill this process (SIGKILL) right before the n-th change that the engine makes to the disk: `CRASH_AT=n`.

Every change is also written to `control/changes`, so that a test knows how many there are.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from build_rules.engine.freshness.records import RecordsBackend

LIMIT = int(os.environ["CRASH_AT"])
CHANGES = Path("control/changes").absolute()
count = 0


def _counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def change(*arguments: Any, **keywords: Any) -> Any:
        global count
        count += 1
        with CHANGES.open("a") as stream:
            stream.write(f"{name}\n")
        if count == LIMIT:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **keywords)

    return change


for module, name in ((os, "replace"), (os, "fsync"), (shutil, "rmtree"), (RecordsBackend, "_write")):
    setattr(module, name, _counted(name, getattr(module, name)))
