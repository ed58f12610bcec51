"""Time and memory of the whole build: a fresh clone of this repository, then a build with nothing to do.

Usage: python benchmarks/chain.py [--runs 5]

Prints the wall time and peak memory of the first `doit` in a fresh clone, and of `doit` with nothing to do beside
plain doit on tasks of the same files in the same run (their ratio is what counts: machines differ).
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

# The same files as our tasks, without action keys or output digests: what doit alone would check.
PLAIN = """
from build_rules import dodo

def plain(tasks):
    for task in tasks:
        yield {k: task[k] for k in ("name", "file_dep", "targets")} | {"actions": ["true"]}

DOIT_CONFIG = {"default_tasks": ["meta"], "dep_file": "build/.plain.db", "reporter": "zero"}
"""
PLAIN += "".join(
    f"def task_{step}(): yield from plain(dodo.task_{step}())\n"
    for step in ("split", "calibration", "parse", "alls", "har", "hef", "meta")
)


def run(folder: Path, *arguments: str) -> float:
    """Run doit; return its wall seconds. Raises when it fails."""
    start = time.perf_counter()
    # As users run it: with compiled modules kept.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "doit", *arguments]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch) / "clone"
        subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(clone)], check=True)
        first = run(clone)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        count = len(list((clone / "build").rglob("model+meta.hef")))
        print(f"first build of {count} executables: {first:.1f} s, peak memory {peak:.0f} MB")
        (clone / "plain.py").write_text(PLAIN)
        run(clone, "-f", "plain.py")
        pairs = [(run(clone), run(clone, "-f", "plain.py")) for _ in range(runs)]
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"nothing to do: {ours:.3f} s; plain doit on the same files: {theirs:.3f} s; ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
