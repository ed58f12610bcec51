"""The steps of the small chain. Each tells where it is, and does there what a test has asked for.

A file `control/TASK.POINT` holds Python that is run when that task comes to that point: `begin` (nothing read yet),
`read` (inputs read), `half` (half of an output written), `end` (everything written).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CONTROL = Path("control").absolute()
LOG = CONTROL / "log"
PATIENCE = 60.0


@dataclass(frozen=True)
class Act:
    """One run of one step, seen from inside."""

    task: str

    def at(self, point: str, path: Path | None = None) -> None:
        """Tell the test that this point is reached, then do what it wants done here."""
        plan = CONTROL / f"{self.task}.{point}"
        # Read before the test is told: it may take the plan back at once.
        code = plan.read_text() if plan.exists() else ""
        (CONTROL / f"{self.task}.{point}.reached").touch()
        hold: Callable[[], None] = lambda: _wait_while(plan.exists)  # noqa: E731
        exec(code, {"hold": hold, "path": path, "task": self.task})

    def log(self, event: str, *read: str) -> None:
        """Append one line that survives any kill: the event, the task, the digest of what it read, our process."""
        digest = hashlib.sha256("\0".join(read).encode()).hexdigest()[:16]
        line = f"{event} {self.task} {digest} {os.getpid()}\n"
        descriptor = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    def write(self, path: Path, text: str) -> None:
        """Write in two halves, with the point `half` between them."""
        with path.open("w") as stream:
            stream.write(text[: len(text) // 2])
            stream.flush()
            self.at("half", path)
            time.sleep(float(os.environ.get("PAUSE", "0")))
            stream.write(text[len(text) // 2 :])


def _wait_while(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while condition():
        if time.monotonic() > end:
            raise TimeoutError(f"nobody released the step in {PATIENCE} s")
        time.sleep(0.005)


def _mixture(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest() + "\n"


def upper(*, task: str, source: Path, upper: Path, word: str) -> None:
    act = Act(task)
    act.at("begin", source)
    text = source.read_text()
    act.log("begin", text, word)
    act.at("read", source)
    act.write(upper, text.upper() + word)
    act.at("end", upper)
    act.log("end", text, word)


def whisper(*, task: str, source: Path, upper: Path, word: str) -> None:
    """Do the job of `upper` in another way."""
    Act(task).write(upper, source.read_text().lower() + word)


def mixed(*, task: str, upper: Path, shared: Path, mixed: Path, index: Path) -> None:
    """Two outputs, and a file beside the first."""
    act = Act(task)
    act.at("begin", upper)
    texts = upper.read_text(), shared.read_text()
    act.log("begin", *texts)
    act.at("read", upper)
    mixed.with_name(mixed.name + ".data").write_text(texts[0][::-1])
    act.write(mixed, _mixture(*texts) * 20)
    index.write_text(_mixture(texts[1], texts[0]))
    act.at("end", mixed)
    act.log("end", *texts)


def final(*, task: str, upper: Path, mixed: Path, index: Path, final: Path) -> None:
    act = Act(task)
    act.at("begin", mixed)
    beside = Path("build") / upper.parent.name / "mixed.data"
    texts = upper.read_text(), mixed.read_text(), index.read_text(), beside.read_text()
    act.log("begin", *texts)
    act.at("read", mixed)
    act.write(final, _mixture(*texts) * 20)
    act.at("end", final)
    act.log("end", *texts)


def total(*, task: str, finals: Sequence[Path], shared: Path, total: Path) -> None:
    act = Act(task)
    act.at("begin", shared)
    texts = [path.read_text() for path in [*finals, shared]]
    act.log("begin", *texts)
    act.at("read", shared)
    act.write(total, "".join(texts))
    act.at("end", total)
    act.log("end", *texts)
