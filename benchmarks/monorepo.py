"""A repository with any number of models, as it is after everything has been built, without building it.

Files are a few bytes each and are never read as what their names say; the records are those that the steps would have
made. What is measured on it is what a run does before any step, which is all there is when nothing has changed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

__all__ = ["STEPS", "environment", "generate", "peer_edges", "task_count"]

STEPS = ("split", "calibration", "parse", "statistics", "alls", "har", "hef", "meta")
DECLARATION = "".join(
    f'[[target]]\nhw_arch = "{arch}"\npreset = "{preset}"\n\n'
    for arch in ("hailo8l", "hailo8")
    for preset in ("fast", "balanced")
)


def environment() -> dict[str, str]:
    """The environment of a user: with compiled modules kept."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")}
    return {**kept, "PYTHONPATH": str(REPOSITORY)}


def generate(folder: Path, models: int) -> None:
    """Write sources, outputs and records of `models` models, in a process of its own."""
    for number in range(models):
        model = folder / "models" / f"team{number // 50:03}" / f"model{number:05}"
        model.mkdir(parents=True)
        (model / "net.onnx").write_bytes(b"onnx %d" % number)
        (model / "labels.txt").write_text("a\nb\n")
        (model / "calibration-x-1.safetensors").write_bytes(b"snapshot %d" % number)
        (model / "model.toml").write_text(DECLARATION)
    (folder / "dodo.py").write_text("from build_rules.dodo import *\n")
    subprocess.run([sys.executable, __file__], cwd=folder, env=environment(), check=True)


def _tasks() -> Iterator[tuple[str, dict[str, Any]]]:
    from build_rules import dodo

    for step in STEPS:
        for task in getattr(dodo, f"task_{step}")():
            yield step, task


def _pretend_to_build() -> None:
    """Write every output and its record, as if the steps had run."""
    from doit.dependency import Dependency
    from doit.task import dict_to_task

    from build_rules.engine.build_database import database_at
    from build_rules.engine.freshness.fingerprint import fingerprint
    from build_rules.engine.freshness.records import ContentChecker, RecordsBackend, record_of
    from build_rules.engine.places import RECORDS

    records = Dependency(RecordsBackend, RECORDS, ContentChecker)
    database = database_at(RECORDS)
    database.execute("begin")  # one transaction for all, which no real run could have
    for step, described in _tasks():
        made = described["actions"][0].__self__
        for path in made.outputs.values():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{step} {path}".encode())
        task = dict_to_task({**described, "name": f"{step}:{described['name']}"})
        read = {path: fingerprint(path) for path in made.input_files()}
        written = {path: fingerprint(path) for path in made.outputs.values()}
        task.values = record_of(made, read, written, "it has never been built")
        records.save_success(task)
    database.execute("commit")
    records.close()


def peer_edges(folder: Path) -> list[tuple[list[str], list[str]]]:
    """Return inputs and outputs of every step, for peers that are to check the same files."""
    code = (
        "import json,sys; from benchmarks.monorepo import _tasks;"
        "json.dump([[t['file_dep'], t['targets']] for _, t in _tasks()], sys.stdout)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(), check=True, capture_output=True, text=True
    )
    return [(list(inputs), list(outputs)) for inputs, outputs in json.loads(done.stdout)]


def task_count(folder: Path) -> int:
    """Return how many steps the repository has."""
    return len(peer_edges(folder))


if __name__ == "__main__":
    _pretend_to_build()
