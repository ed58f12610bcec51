"""A folder with the small chain in it, and everything an experiment does to it."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.doit_runs import Run, start_doit, wait_until

__all__ = ["MARK", "MODELS", "Workspace"]

CHAIN = Path(__file__).with_name("chain")
MODELS = ("a", "b", "c")
TIMEOUT = 60.0
MARK = "EXPERIMENT"
"""The variable by which everything that comes from a doit of ours is recognized."""


@dataclass
class Workspace:
    """One repository with the small chain. Every doit started here is ended by `close`, whatever happened to it."""

    folder: Path
    models: tuple[str, ...] = MODELS
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("in", "control"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name in ("dodo.py", "steps.py", "crash.py"):
            shutil.copyfile(CHAIN / name, self.folder / name)
        for model in self.models:
            self.source(model).write_text(f"text of {model}\n")
        self.shared.write_text("for all\n")

    @property
    def shared(self) -> Path:
        return self.folder / "shared.txt"

    @property
    def build(self) -> Path:
        return self.folder / "build"

    @property
    def control(self) -> Path:
        return self.folder / "control"

    @property
    def records(self) -> Path:
        return self.build / ".records.db"

    def allow_linked_build(self) -> None:
        """Say in the settings that `build/` may be a link."""
        (self.folder / "pyproject.toml").write_text("[tool.build_rules]\nlinked_build = true\n")

    def source(self, model: str) -> Path:
        return self.folder / "in" / f"{model}.txt"

    def steps(self) -> list[str]:
        """Every step of the chain, sorted."""
        return sorted(
            [f"{kind}:{model}" for kind in ("upper", "mixed", "final") for model in self.models] + ["total:all"]
        )

    def steps_outside(self, task: str) -> set[str]:
        """The steps that do not wait for `task`, itself left out."""
        kind, model = task.split(":")
        order = ("upper", "mixed", "final")
        waiting = {"total:all", *(f"{later}:{model}" for later in order[order.index(kind) :])}
        return set(self.steps()) - waiting

    # What steps do

    def plan(self, task: str, point: str, code: str = "hold()") -> None:
        """Have a step run `code` at a point; `hold()` waits until `release`."""
        (self.control / f"{task}.{point}.reached").unlink(missing_ok=True)
        (self.control / f"{task}.{point}").write_text(code)

    def release(self, task: str, point: str) -> None:
        """Take back the plan; a step that holds there goes on."""
        (self.control / f"{task}.{point}").unlink()

    def wait_for(self, process: subprocess.Popen[str], task: str, point: str) -> None:
        """Wait until a step of a running doit is at a point."""
        reached = self.control / f"{task}.{point}.reached"
        wait_until(lambda: reached.exists() or process.poll() is not None, TIMEOUT)
        if not reached.exists():
            raise AssertionError(f"doit ended before {task} came to {point}: {process.communicate()}")

    # Runs of doit

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start doit."""
        process = start_doit(self.folder, *arguments, **{MARK: str(self.folder), **environment})
        self.started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> Run:
        """Wait for the end of a doit; one that hangs is an error."""
        out, err = process.communicate(timeout=TIMEOUT)
        return Run(process.returncode, out, err)

    def run(self, *arguments: str, **environment: str) -> Run:
        """Run doit to its end."""
        return self.finish(self.start(*arguments, **environment))

    def start_until(self, task: str, point: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start doit and return when a step holds at a point."""
        self.plan(task, point)
        process = self.start(*arguments, **environment)
        self.wait_for(process, task, point)
        return process

    def hold_alone(self, task: str, point: str, *jobs: str) -> subprocess.Popen[str]:
        """Start doit until a step holds; in a parallel run, until all others are recorded or wait for that one."""
        process = self.start_until(task, point, *jobs)
        if jobs:
            wait_until(lambda: self.recorded() >= self.steps_outside(task))
        return process

    def kill_at(self, task: str, point: str, *arguments: str, kind: int = signal.SIGKILL) -> Run:
        """Run doit, and send it a signal when a step is at a point."""
        process = self.start_until(task, point, *arguments)
        process.send_signal(kind)
        run = self.finish(process)
        self.release(task, point)
        return run

    def processes(self) -> list[int]:
        """The living processes that come from a doit started here, in whatever session they are."""
        found = []
        mark = f"{MARK}={self.folder}".encode()
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    found.append(int(place.name))
        return found

    def close(self) -> None:
        """End every process that still runs here."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.wait(TIMEOUT)

    # What is left behind

    def partials(self) -> list[str]:
        """What unfinished steps have left behind, below `build/`."""
        return sorted(str(path) for path in self.build.rglob("*.partial"))

    def outputs(self) -> dict[str, str]:
        """Digest of everything in `build/` that is not the engine's own."""
        root = self.build.resolve()
        files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
        return {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for name, path in files.items()
            if not any(part.startswith(".") for part in Path(name).parts)
        }

    def recorded(self) -> set[str]:
        """The tasks that have a record on the disk at this moment."""
        if not self.records.exists():
            return set()
        with closing(sqlite3.connect(f"file:{self.records}?mode=ro", uri=True)) as connection:
            try:
                return {task for (task,) in connection.execute("select task from records")}
            except sqlite3.OperationalError:
                return set()

    def log(self, event: str) -> Counter[tuple[str, str]]:
        """How often each step (with a digest of what it read) came to an event, `begin` or `end`."""
        path = self.control / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return Counter((task, digest) for what, task, digest, _ in map(str.split, lines) if what == event)

    def undisturbed(self) -> dict[str, str]:
        """Outputs of the same inputs, built in one go in a folder of their own."""
        folder = self.folder / "undisturbed"
        shutil.rmtree(folder, ignore_errors=True)
        fresh = Workspace(folder, self.models)
        for model in self.models:
            shutil.copyfile(self.source(model), fresh.source(model))
        shutil.copyfile(self.shared, fresh.shared)
        run = fresh.run()
        assert run.code == 0, run.err
        found = fresh.outputs()
        shutil.rmtree(folder)
        return found

    def check_sound(self, *arguments: str) -> Run:
        """Run doit to its end; everything must be as if nothing had ever happened. Returns that run."""
        run = self.run(*arguments)
        assert run.code == 0, run.err
        assert self.outputs() == self.undisturbed()
        assert self.partials() == []
        assert self.recorded() >= set(self.steps())
        assert self.run().executed == []
        return run
