"""doit on a terminal of its own, with a person's keyboard and a screen to look at.

The steps of the workspace wait for files of the test: `step:a` prints what is in `say/a` and ends when there is a file
`go` or `go-a`.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.engine.report.screen import Screen

__all__ = ["Terminal", "make_workspace"]

DODO = """
import os, time
from pathlib import Path
from build_rules.engine.doit_config import DOIT_CONFIG
from build_rules.engine import messages
from build_rules.errors import InputError
from build_rules.engine.running.failure import failure_of

DOIT_CONFIG = {**DOIT_CONFIG, "default_tasks": ["step"]}

def work(name):
    said = Path("say", name)
    for line in said.read_text().splitlines() if said.exists() else ():
        if line.startswith("raw "):
            os.write(2, line[4:].encode() + b"\\n")
        elif line.startswith("warn "):
            messages.warn(f"step:{name}", line[5:])
        elif line == "cached":
            messages.cached(f"step:{name}")
        elif line == "fail":
            return failure_of(InputError(f"{name} is wrong; mend it."))
        else:
            print(line)
    Path(f"began-{name}").touch()
    while not Path("go").exists() and not Path(f"go-{name}").exists():
        time.sleep(0.01)
    Path(f"{name}.out").touch()

def task_step():
    for name in Path("names").read_text().split():
        needs = [f"{name[1:]}.out"] if name[0] == "+" else []
        name = name.lstrip("+") + "+" * len(needs)
        yield {"name": name, "actions": [(work, [name])], "targets": [f"{name}.out"], "file_dep": needs,
               "uptodate": [True]}
"""


def make_workspace(folder: Path, names: str, **say: str) -> None:
    """Make a workspace with steps of these names; `+a` is a step that needs `step:a`, and is called `step:a+`."""
    (folder / "dodo.py").write_text(DODO)
    (folder / "names").write_text(names)
    (folder / "say").mkdir()
    for name, text in say.items():
        (folder / "say" / name).write_text(text)


class Terminal:
    """A command that runs on a terminal."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        columns: int = 80,
        lines: int = 24,
        stderr: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.screen = Screen(columns, lines)
        self.raw = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._master, slave = pty.openpty()
        self._set_size(columns, lines)
        command = [sys.executable, *(arguments if arguments[:1] == ("-c",) else ("-m", "doit", *arguments))]
        kept = {k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR", "COLORTERM", "BUILD_RULES_DEBUG")}
        errors = slave if stderr is None else os.open(stderr, os.O_WRONLY | os.O_CREAT)
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**kept, "TERM": "xterm-256color", "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
            stdin=slave,
            stdout=slave,
            stderr=errors,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        for descriptor in {slave, errors}:
            os.close(descriptor)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int, *, reflow: bool) -> None:
        """Drag the window's corner."""
        self.read(0)
        self.screen.resize(columns, lines, reflow=reflow)
        self._set_size(columns, lines)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def read(self, seconds: float) -> bool:
        """Take what is written to the terminal, waiting for it at most so long; False at the end."""
        if self._master in select.select([self._master], [], [], seconds)[0]:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:
                return False
            text = self._decoder.decode(data)
            self.raw += text
            self.screen.feed(text)
        return True

    def watch(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Look at the screen until something is so."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end or not self.read(0.05):
                raise AssertionError("it did not happen; the screen shows:\n" + "\n".join(self.screen.display))

    def watch_for(self, text: str) -> None:
        """Look at the screen until a text stands there."""
        self.watch(lambda: any(text in row for row in self.screen.display))

    def finish(self, seconds: float = 30) -> int:
        """Look at the screen until the command has ended; return its exit code."""
        end = time.monotonic() + seconds
        while self.read(0.05):
            if time.monotonic() > end:
                self.process.kill()
                raise AssertionError("it did not end; the screen shows:\n" + "\n".join(self.screen.display))
        self.close()
        return self.process.wait(10)

    def close(self) -> None:
        """Close the window."""
        os.close(self._master)
