"""A build with nothing to do: doit with these rules beside plain doit, ninja and make on the same files.

Usage: python benchmarks/null_build.py [--models 1,100,1000] [--runs 7] [--no-peers]

For each size a repository is generated (`benchmarks/monorepo.py`: 22 steps and 32 files for each model). Every tool
then checks the same inputs and outputs of every step and finds nothing to do, one after the other in every round.
Printed are medians and the ratio to plain doit in the same round, which is what counts: machines differ. Also printed:
what one changed `labels.txt` costs beyond its own step, and one model asked for by name.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.monorepo import environment, generate, peer_edges  # noqa: E402

DOIT = (sys.executable, "-m", "doit")
PLAIN = """
import json
EDGES = json.load(open("edges.json"))

def task_step():
    for number, (inputs, outputs) in enumerate(EDGES):
        yield {"name": str(number), "file_dep": inputs, "targets": outputs, "actions": [nothing]}

def nothing():
    pass

DOIT_CONFIG = {"dep_file": "plain.db", "backend": "sqlite3", "reporter": "zero"}
"""
NINJA = "rule step\n  command = true\n"


def timed(folder: Path, *command: str, code: int = 0) -> float:
    """Return the wall seconds of a command that must end with `code`."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode != code:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return seconds


def write_peers(folder: Path) -> dict[str, tuple[str, ...]]:
    """Describe the same steps to plain doit, ninja and make, and let each of them see that all is done."""
    edges = peer_edges(folder)
    (folder / "edges.json").write_text(json.dumps(edges))
    (folder / "plain.py").write_text(PLAIN)
    peers: dict[str, tuple[str, ...]] = {"plain doit": (*DOIT, "-f", "plain.py")}
    if shutil.which("ninja"):
        builds = (f"build {' '.join(outputs)}: step {' '.join(inputs)}\n" for inputs, outputs in edges)
        (folder / "build.ninja").write_text(NINJA + "".join(builds))
        peers["ninja"] = ("ninja", "-d", "keeprsp")
    if shutil.which("make"):
        rules = (f"{' '.join(outputs)} &: {' '.join(inputs)}\n\t@true\n" for inputs, outputs in edges)
        ends = " ".join(output for _, outputs in edges for output in outputs)
        (folder / "Makefile").write_text(f"all: {ends}\n" + "".join(rules))
        peers["make"] = ("make", "-s")
    for command in peers.values():
        timed(folder, *command)
    return peers


def measure(models: int, runs: int, with_peers: bool) -> None:
    """Print the line of one size."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        generate(folder, models)
        first = timed(folder, *DOIT)
        for _ in range(2):
            time.sleep(0.1)
            timed(folder, *DOIT)
        peers = {"ours": DOIT, **(write_peers(folder) if with_peers else {})}
        rounds = [{name: timed(folder, *command) for name, command in peers.items()} for _ in range(runs)]
        medians = {name: statistics.median(row[name] for row in rounds) for name in peers}
        told = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in medians.items())
        ratio = statistics.median(row["ours"] / row.get("plain doit", row["ours"]) for row in rounds)
        sys.stdout.write(f"{models} models, {models * 22} steps: {told}; ratio to plain doit {ratio:.2f}\n")
        sys.stdout.write(f"   the first run, which knows nothing yet: {first:.2f} s\n")
        sys.stdout.write(f"   one model by name: {_one(folder, runs):.3f} s\n")
        sys.stdout.write(f"   `doit status`: {_median(folder, runs, (*DOIT, 'status')):.3f} s\n")
        sys.stdout.write(f"   one labels.txt changed: {_labels(folder, runs):.3f} s beyond its own steps\n")
        sys.stdout.flush()


def _median(folder: Path, runs: int, command: Sequence[str]) -> float:
    return statistics.median(timed(folder, *command) for _ in range(runs))


def _one(folder: Path, runs: int) -> float:
    return _median(folder, runs, (*DOIT, "meta:team000/model00000:hailo8l-fast"))


def _labels(folder: Path, runs: int) -> float:
    """A changed label makes `meta` run, which fails on these files at once: nearly nothing is its own."""
    taken = []
    for number in range(runs):
        (folder / "models/team000/model00000/labels.txt").write_text(f"a\nb{number}\n")
        time.sleep(0.1)
        taken.append(timed(folder, *DOIT, code=3))
    own = timed(folder, sys.executable, "-c", "import build_rules.steps.meta")
    return statistics.median(taken) - own


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="1,100,1000")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    sys.stdout.write(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    for models in map(int, options.models.split(",")):
        measure(models, options.runs, not options.no_peers)


if __name__ == "__main__":
    main()
