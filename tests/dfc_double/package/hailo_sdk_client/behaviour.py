"""What the double was asked to do beside its work: to fail, to wait, to make noise, to die.

Asked for in `double.json` at the top of its environment; read anew by every process.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import failures, logs
from .exceptions import make
from .script_parser import Statement, parse

__all__ = ["FILE", "Behaviour", "read_behaviour"]

FILE = "double.json"


class Behaviour:
    """The settings of one environment, and what they do when a stage is reached."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings

    def get(self, name: str, default: Any = None) -> Any:
        return self.settings.get(name, default)

    @property
    def gpus(self) -> int:
        """Return how many GPUs this process sees: those that are there, unless CUDA_VISIBLE_DEVICES hides them."""
        there = int(self.get("gpus", 0))
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is None or visible == "all":
            return there
        wanted = [item.strip() for item in visible.split(",")]
        return len([item for item in wanted if item.isdigit() and int(item) < there])

    def reach(self, stage: str, statements: Sequence[Statement] = (), waits: bool = True) -> None:
        """Do what was asked for at a stage: `import`, `init`, `parse`, `optimize`, `compile`, `infer`, `profile`.

        `waits` False leaves the sleep out: what would take long is known already.
        """
        self._make_noise(stage)
        if waits:
            self._sleep(stage)
        self._hang(stage)
        self._die(stage)
        self._run_out_of_disk(stage)
        self._fail(stage, statements)

    def _make_noise(self, stage: str) -> None:
        noise = self.get("noise", {})
        if stage not in noise.get("at", ("parse", "optimize", "compile")):
            return
        size = int(noise.get("bytes", 0))
        line = (
            b'\x00\xff\xfe\x1b[2K\r{"result": \x80}\n' if noise.get("binary") else b"W tensorflow: noise of a library\n"
        )
        chunk = line * (65536 // len(line))
        sys.stdout.flush()
        for descriptor in (1, 2):
            written = 0
            while written < size:
                written += os.write(descriptor, chunk[: size - written])

    def _sleep(self, stage: str) -> None:
        seconds = float(self.get("sleep", {}).get(stage, 0))
        steps = int(seconds / 0.2)
        for step in range(steps):
            time.sleep(0.2)
            if stage == "compile":
                logs.bare(f"Iteration #{step + 1} - Contexts: 3")
            else:
                logs.progress("Training" if stage == "optimize" else stage, step + 1, steps, "batches")
        time.sleep(max(seconds - 0.2 * steps, 0))

    def _hang(self, stage: str) -> None:
        if self.get("hang") != stage:
            return
        if self.get("stubborn"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        # The DFC works in further processes; one that is left behind is an orphan.
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100000)"])
        Path("hanging.pid").write_text(f"{os.getpid()} {child.pid}\n", encoding="utf-8")
        while True:
            time.sleep(1)

    def _die(self, stage: str) -> None:
        death = self.get("die", {})
        if death.get("at") != stage:
            return
        sys.stdout.flush()
        if "signal" in death:
            os.kill(os.getpid(), int(death["signal"]))
            time.sleep(10)
        os._exit(int(death.get("exit", 1)))

    def _run_out_of_disk(self, stage: str) -> None:
        if self.get("disk_full") == stage:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(Path.cwd() / "acceleras.log"))

    def _fail(self, stage: str, statements: Sequence[Statement]) -> None:
        for wanted in self.get("failures", ()):
            if wanted["at"] != stage:
                continue
            if "until" in wanted and _has(statements, wanted["until"]):
                continue
            if "while" in wanted and not _has(statements, wanted["while"]):
                continue
            failures.fail(wanted["kind"])

    def check_licence(self, hw_arch: str) -> None:
        """Raise when there is no licence, for any chip or for this one."""
        licence = self.get("licence", True)
        if licence is True or (isinstance(licence, list) and hw_arch in licence):
            return
        raise make("LicenseException", f"No valid license was found for {hw_arch}")


def _has(statements: Sequence[Statement], text: str) -> bool:
    """Say whether a script has such a line: the same command and positional arguments, and at least its named ones."""
    wanted = parse(text)[0]
    return any(
        statement.command == wanted.command
        and statement.arguments[: len(wanted.arguments)] == wanted.arguments
        and wanted.keywords.items() <= statement.keywords.items()
        for statement in statements
    )


def read_behaviour() -> Behaviour:
    """Read the settings of the environment that this interpreter belongs to."""
    return Behaviour(json.loads((Path(sys.prefix) / FILE).read_text(encoding="utf-8")))
