"""What the engine costs and saves around the steps themselves.

Usage: python benchmarks/engine.py [--runs 5] [--steps 200] [--megabytes 4]

* per step: steps that do next to nothing, here (drafts, digests, records, all flushed to disk) and in plain doit, which
  does none of that; the same side by side (`-n 2`), where each step is a process;
* the cache: a file restored from a folder, verified, beside `cp` of it;
* the examples of this repository, one step at a time and two.

Everything is measured in the same run, pairs one after the other; ratios are what counts: machines differ.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.monorepo import environment  # noqa: E402

DOIT = (sys.executable, "-m", "doit")
STEPS = "def copy(*, source, out):\n    out.write_bytes(source.read_bytes())\n"
OURS = """
from pathlib import Path
from build_rules.engine.doit_config import DOIT_CONFIG
from build_rules.engine.running.rule import Rule
DOIT_CONFIG = {**DOIT_CONFIG, "default_tasks": ["copy"]}
COPY = Rule("copy", "steps:copy", ("errors.py",))

def task_copy():
    for path in sorted(Path("in").iterdir()):
        out = Path("build") / path.name / "out"
        yield COPY.task(path.name, inputs={"source": path}, outputs={"out": out}, settings={})
"""
PLAIN = """
from pathlib import Path

def copy(source, out):
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_bytes(Path(source).read_bytes())

def task_copy():
    for path in sorted(Path("in").iterdir()):
        out = f"plain/{path.name}/out"
        yield {"name": path.name, "file_dep": [str(path)], "targets": [out], "actions": [(copy, [str(path), out])]}

DOIT_CONFIG = {"dep_file": "plain.db", "backend": "sqlite3", "reporter": "zero"}
"""


def timed(folder: Path, *command: str) -> float:
    """Return the wall seconds of a command, which must succeed."""
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment(), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def per_step(steps: int, runs: int) -> None:
    """Print what one step costs beside what it does."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "in").mkdir()
        for number in range(steps):
            (folder / "in" / f"{number:04}").write_bytes(b"x" * 1000)
        (folder / "steps.py").write_text(STEPS)
        (folder / "dodo.py").write_text(OURS)
        (folder / "plain.py").write_text(PLAIN)
        commands = {"ours": DOIT, "ours, -n 2": (*DOIT, "-n", "2"), "plain doit": (*DOIT, "-f", "plain.py")}
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                for place in ("build", "plain"):
                    shutil.rmtree(folder / place, ignore_errors=True)
                (folder / "plain.db").unlink(missing_ok=True)
                taken[name].append(timed(folder, *command))
        for name, seconds in taken.items():
            sys.stdout.write(f"{name}: {1000 * statistics.median(seconds) / steps:.2f} ms a step ({steps} steps)\n")


def cache(megabytes: int, runs: int) -> None:
    """Print what restoring one file from a folder costs beside `cp`."""
    from build_rules.engine.cache.action import CachedAction, CachedOutput
    from build_rules.engine.cache.location import parse_location
    from build_rules.engine.cache.shared import SharedCache
    from build_rules.engine.freshness.fingerprint import fingerprint

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = folder / "model.hef"
        source.write_bytes(os.urandom(megabytes * 1_000_000))
        known = fingerprint(source)
        shared = SharedCache(parse_location(str(folder / "cache")), "read-write", None, print)
        action = CachedAction((CachedOutput(source.name, known.sha256, known.size),))
        shared.offer("0" * 64, action, {source.name: source})
        shared.close(60)
        shared = SharedCache(parse_location(str(folder / "cache")), "read-only", None, print)
        taken = []
        for number in range(runs * 3):
            place = folder / f"out{number}"
            place.mkdir()
            found = shared.find("0" * 64)
            seconds = _call(lambda found=found, place=place: shared.restore(found, place))  # type: ignore[misc]
            taken.append((seconds, timed(folder, "cp", str(source), str(place / "copy"))))
        ours, copied = (statistics.median(column) for column in zip(*taken, strict=True))
        sys.stdout.write(
            f"restored from a folder, {megabytes} MB, verified: {1000 * ours:.1f} ms; cp {1000 * copied:.1f} ms\n"
        )


def _call(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def examples(runs: int) -> None:
    """Print how long the example models take, one step at a time and two, then from a cache that has everything."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "clone"
        subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(folder)], check=True)
        taken: dict[str, list[float]] = {}
        for _ in range(runs):
            for name, command in {"one step at a time": DOIT, "two": (*DOIT, "-n", "2")}.items():
                shutil.rmtree(folder / "build", ignore_errors=True)
                taken.setdefault(name, []).append(timed(folder, *command))
        settings = folder / "pyproject.toml"
        settings.write_text(settings.read_text() + f'\n[tool.build_rules]\ncache = "{scratch}/cache"\n')
        shutil.rmtree(folder / "build")
        taken["one at a time, filling a cache"] = [timed(folder, *DOIT)]
        for _ in range(runs):
            shutil.rmtree(folder / "build")
            taken.setdefault("everything from the cache", []).append(timed(folder, *DOIT))
        for name, seconds in taken.items():
            sys.stdout.write(f"the examples, {name}: {statistics.median(seconds):.1f} s\n")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--megabytes", type=int, default=4)
    options = parser.parse_args()
    sys.stdout.write(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    per_step(options.steps, options.runs)
    cache(options.megabytes, options.runs)
    examples(options.runs)


if __name__ == "__main__":
    main()
