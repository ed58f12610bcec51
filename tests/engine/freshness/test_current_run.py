"""Runs that load nothing: what makes a run with nothing to do fast must never hide that there is something to do.

The repository is one of `benchmarks/monorepo.py`: files that are not what their names say, and records as if all had
been built. A step that runs on them fails; that it was started is what counts here.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.monorepo import generate
from build_rules.engine.freshness.index import find_changed, read_snapshot
from build_rules.engine.freshness.records import files_of
from build_rules.engine.memory.failures import read_failures
from build_rules.engine.places import INDEX, RECORDS
from tests.doit_runs import Run, doit

FIRST, SECOND = "team000/model00000", "team000/model00001"
TASKS = 22
SETTLED = 0.05
"""Seconds after which a file is old enough for its marks to be trusted."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("monorepo") / "repository"
    folder.mkdir()
    generate(folder, 2)
    settle(folder)
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy with the times of the original, of which everything is known to be fresh."""
    copy = tmp_path / "repository"
    shutil.copytree(built, copy)
    time.sleep(SETTLED)
    assert up_to_date(doit(copy))
    monkeypatch.chdir(copy)
    index = read_snapshot(INDEX)
    assert index is not None
    assert (find_changed(index), min(index.tasks.values())) == (set(), TASKS), "a run would load nothing"
    return copy


def settle(folder: Path) -> None:
    """Run until a run loads nothing."""
    for _ in range(2):
        time.sleep(SETTLED)
        assert up_to_date(doit(folder))
    before = (folder / INDEX).stat().st_mtime_ns
    assert up_to_date(doit(folder))
    assert (folder / INDEX).stat().st_mtime_ns == before


def up_to_date(run: Run, models: int = 2) -> bool:
    return (run.code, run.executed, run.err) == (0, [], "") and f"{models * TASKS} up to date" in run.out


def test_a_failure_is_forgotten_when_the_next_run_finds_all_up_to_date(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step was asked for although it was up to date, so no file tells the next run to look at its owner."""
    monkeypatch.chdir(folder)
    step = f"split:{FIRST}"
    assert doit(folder, "--always-execute", step).code != 0
    assert list(read_failures()) == [step]
    assert "it failed on" not in doit(folder, "why", step).out  # it is up to date
    assert up_to_date(doit(folder))
    assert read_failures() == {}
    settle(folder)


def edit(path: Path, old: bytes, new: bytes) -> None:
    """Change a file's content, and nothing of what `ls` shows: size and time stay."""
    before = path.stat()
    content = path.read_bytes()
    assert old in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def models(folder: Path) -> Path:
    return folder / "models" / FIRST


def outputs(folder: Path) -> Path:
    return folder / "build" / FIRST


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "labels": (lambda f: (models(f) / "labels.txt").write_text("a\nc\n"), "meta"),
    "labels, time restored": (lambda f: edit(models(f) / "labels.txt", b"b", b"c"), "meta"),
    "weights, time restored": (lambda f: edit(models(f) / "net.onnx", b"onnx", b"ONNX"), "split"),
    "snapshot": (lambda f: (models(f) / "calibration-x-1.safetensors").write_bytes(b"other"), "calibration"),
    "another snapshot": (lambda f: (models(f) / "calibration-x-2.safetensors").write_bytes(b"s"), "calibration"),
    "an output edited": (lambda f: edit(outputs(f) / "hailo8-fast/model.har", b"har", b"HAR"), "har"),
    "an output deleted": (lambda f: (outputs(f) / "split.json").unlink(), "split"),
    "the end deleted": (lambda f: (outputs(f) / "hailo8-fast/model+meta.hef").unlink(), "meta"),
    "an output folder deleted": (lambda f: shutil.rmtree(outputs(f) / "hailo8"), "parse"),
    "a setting of the model": (
        lambda f: (models(f) / "model.toml").write_text('embed = "sealed"\n' + (models(f) / "model.toml").read_text()),
        "meta",
    ),
    "a preset": (lambda f: edit(models(f) / "model.toml", b'"balanced"', b'"accurate"'), "alls"),
    "a setting of the repository": (
        lambda f: (f / "pyproject.toml").write_text("[tool.build_rules]\ncalibration_count = 5\n"),
        "calibration",
    ),
    "a replaced file": (
        lambda f: ((models(f) / "new").write_bytes(b"onnx 9"), (models(f) / "new").replace(models(f) / "net.onnx")),
        "split",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed(folder: Path, change: str) -> None:
    do, step = CHANGES[change]
    do(folder)
    run = doit(folder)
    assert run.executed
    assert run.executed[0].startswith(f"{step}:")
    owners = {name.split(":")[1] for name in run.executed}
    assert owners == ({FIRST, SECOND} if change == "a setting of the repository" else {FIRST}) or run.code != 0


def test_touched_files_are_read_and_nothing_runs(folder: Path) -> None:
    for path in [*folder.glob("models/*/*/*"), *folder.glob("build/*/*/**/*")]:
        path.touch()
    assert up_to_date(doit(folder))
    settle(folder)


def test_another_time_in_the_metadata_is_noticed(folder: Path) -> None:
    assert doit(folder, SOURCE_DATE_EPOCH="1700000000").executed[0].startswith("meta:")


def test_other_targets_on_the_command_line_are_noticed(folder: Path) -> None:
    assert doit(folder, "preset=accurate").executed[0].startswith("alls:")


def test_a_new_model_is_noticed(folder: Path) -> None:
    new = folder / "models/team000/new"
    shutil.copytree(models(folder), new)
    run = doit(folder)
    assert run.executed[0] == "split:team000/new"
    assert {name.split(":")[1] for name in run.executed} == {"team000/new"}


def test_a_new_model_that_is_declared_wrongly_is_told(folder: Path) -> None:
    (folder / "models/another").mkdir()
    (folder / "models/another/model.toml").write_text("colour = 3")
    for _ in range(2):  # whatever the run before has kept, it is told again
        run = doit(folder)
        assert (run.code, run.executed, "colour" in run.err) == (1, [], True)
        assert f"{2 * TASKS} up to date, 1 failed" in run.out
        time.sleep(SETTLED)
    assert doit(folder, "split:another").code == 3
    status = doit(folder, "status")
    assert "another:hailo8l-fast" in status.out
    assert "  broken       split:another: models/another/model.toml: unknown key colour = 3" in status.out
    (folder / "models/another/model.toml").unlink()
    (folder / "models/another").rmdir()
    assert up_to_date(doit(folder))


def test_a_model_that_is_gone_is_not_counted(folder: Path) -> None:
    shutil.rmtree(models(folder))
    assert up_to_date(doit(folder), models=1)
    time.sleep(SETTLED)
    assert up_to_date(doit(folder), models=1)


def test_a_second_onnx_is_noticed(folder: Path) -> None:
    (models(folder) / "other.onnx").write_bytes(b"x")
    run = doit(folder)
    assert (run.code, "holds 2 ONNX files" in run.err) == (1, True)
    assert f"{TASKS} up to date, 1 failed" in run.out
    assert f"{TASKS} up to date, 1 failed, {TASKS - 1} not reached" in doit(folder, "--continue").out


def test_without_records_everything_is_built_again(folder: Path) -> None:
    (folder / RECORDS).unlink()
    assert len(doit(folder, "--continue").executed) >= 2


def test_what_is_forgotten_runs(folder: Path) -> None:
    assert doit(folder, "forget", f"meta:{FIRST}:hailo8-fast").code == 0
    assert doit(folder).executed == [f"meta:{FIRST}:hailo8-fast"]


def test_what_is_cleaned_is_built_again(folder: Path) -> None:
    assert doit(folder, "clean", f"split:{FIRST}").code == 0
    assert doit(folder).executed == [f"split:{FIRST}"]


def test_named_tasks_are_found_though_they_are_fresh(folder: Path) -> None:
    run = doit(folder, f"meta:{FIRST}:hailo8-fast")
    assert (run.code, run.executed) == (0, [])
    assert "8 up to date" in run.out
    assert doit(folder, f"meta:{FIRST}:*").code == 0
    assert doit(folder, "meta:*:hailo8-*").code == 0
    assert doit(folder, "meta").code == 0
    assert doit(folder, "meta:no/such:hailo8-fast").code == 3
    assert len(doit(folder, "list", "--all").out.splitlines()) == 2 * TASKS + 9
    assert up_to_date(doit(folder))


def test_who_was_never_looked_at_is_not_forgotten(folder: Path) -> None:
    (folder / INDEX).unlink()
    (models(folder) / "labels.txt").write_text("a\nc\n")
    assert doit(folder, f"meta:{SECOND}:*").executed == []
    time.sleep(SETTLED)
    assert doit(folder, f"meta:{SECOND}:*").executed == []
    assert doit(folder).executed[0].startswith(f"meta:{FIRST}")


def test_another_installation_is_noticed(folder: Path, tmp_path: Path) -> None:
    """The same Python, but another version of a library comes first."""
    other = tmp_path / "libraries/onnx-99.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: onnx\nVersion: 99.0\n\n")
    path = os.pathsep.join([str(other.parent), os.environ.get("PYTHONPATH", "")])
    assert doit(folder, PYTHONPATH=path).executed[0].startswith("split:")


def test_a_link_that_begins_to_lead_somewhere_is_noticed(folder: Path) -> None:
    labels = models(folder) / "labels.txt"
    labels.unlink()
    labels.symlink_to(folder / "later.txt")
    doit(folder, "--continue")
    (folder / "later.txt").write_text("a\nc\n")
    assert doit(folder).executed[0].startswith("meta:")


OWN = """
from build_rules import workspace
from build_rules.dodo import *
from pathlib import Path

def task_own():
    for model in workspace.find_workspace_models():
        after = [f"meta:{model.name}:hailo8-fast"]
        yield {"name": model.name, "actions": [f"touch own-{model.network_name}"], "task_dep": after}

def task_deploy():
    return {"actions": ["touch deployed"], "task_dep": ["meta:team000/model00000:hailo8-fast"]}

DOIT_CONFIG = {**DOIT_CONFIG, "default_tasks": ["meta", "own", "deploy"]}
"""


def test_tasks_of_ones_own_are_made_and_find_ours(folder: Path) -> None:
    (folder / "dodo.py").write_text(OWN)
    for _ in range(3):
        run = doit(folder)
        assert (run.code, "Traceback" in run.err) == (0, False)
        assert (folder / "own-model00001").exists()
        assert (folder / "deployed").exists()
        (folder / "own-model00001").unlink()
        (folder / "deployed").unlink()
        time.sleep(SETTLED)


def test_a_model_that_another_swallows_is_not_counted(folder: Path) -> None:
    outer = folder / "models/team000"
    shutil.copy(models(folder) / "net.onnx", outer)
    shutil.copy(models(folder) / "calibration-x-1.safetensors", outer)
    (outer / "labels.txt").write_text("a\nb\n")
    run = doit(folder)
    assert run.executed[0] == "split:team000"
    assert "up to date" not in run.out


def test_marks_are_refreshed_when_content_was_compared(folder: Path) -> None:
    """So that a model that is named again and again is not read again and again."""
    assert doit(folder, f"meta:{FIRST}:hailo8-fast").code == 0
    connection = sqlite3.connect(folder / RECORDS)
    (record,) = connection.execute("select record from records where task = ?", (f"split:{FIRST}",)).fetchone()
    connection.close()
    marks = [mark for files in files_of(json.loads(record)["_values_:"]) for mark in files.values()]
    assert all(mark[5] is True for mark in marks)


def test_always_means_always(folder: Path) -> None:
    assert doit(folder, "-a", f"meta:{FIRST}:hailo8-fast").executed[0] == f"split:{FIRST}"


def test_a_failure_is_not_forgotten(folder: Path) -> None:
    (models(folder) / "labels.txt").write_text("a\nc\n")
    first = doit(folder, "--continue")
    assert first.code == 3
    time.sleep(SETTLED)
    assert sorted(doit(folder, "--continue").executed) == sorted(first.executed)


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_snapshot_costs_time_only(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = folder / INDEX
    data = bytearray(path.read_bytes())
    if seed % 3 == 0:
        del data[chance.randrange(len(data)) :]
    else:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    assert up_to_date(doit(folder))
    (models(folder) / "labels.txt").write_text("a\nc\n")
    assert doit(folder).executed[0].startswith(f"meta:{FIRST}")


def test_damaged_records_are_told_when_they_are_needed(folder: Path) -> None:
    (folder / RECORDS).write_bytes(b"garbage" * 1000)
    run = doit(folder)
    assert (run.executed, "damaged" in run.err) == ([], True)
    (models(folder) / "labels.txt").write_text("a\nc\n")
    assert doit(folder).executed


def test_records_of_another_form_are_not_believed(folder: Path) -> None:
    """As another version of the rules may have written them."""
    (folder / INDEX).unlink()
    connection = sqlite3.connect(folder / RECORDS)
    connection.execute("update records set record = replace(record, 'true]', 'true, 7]')")
    connection.execute("update records set record = replace(record, 'false]', 'false, 7]')")
    connection.commit()
    connection.close()
    run = doit(folder)
    assert "Traceback" not in run.err
    assert run.executed


def test_a_file_written_twice_in_one_tick_is_noticed(folder: Path) -> None:
    """Equal size, equal times as far as the file system tells them apart: only the content is different."""
    labels = models(folder) / "labels.txt"
    for number in range(8):
        labels.write_text(f"a\n{number % 10}\n")
        doit(folder)
        labels.write_text(f"b\n{number % 10}\n")
        assert doit(folder).executed, number


def test_what_is_asked_for_by_name_leaves_the_rest_known(folder: Path) -> None:
    """A run by name looks at the files of that model alone, and what was known of the others still holds."""
    edit(folder / "models" / SECOND / "labels.txt", b"b", b"c")
    before = (folder / INDEX).stat().st_mtime_ns
    run = doit(folder, f"meta:{FIRST}:hailo8l-fast")
    assert (run.code, run.executed) == (0, [])
    assert (folder / INDEX).stat().st_mtime_ns == before
    assert any(step.startswith(f"meta:{SECOND}:") for step in doit(folder).executed)
