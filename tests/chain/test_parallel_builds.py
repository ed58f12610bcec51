"""`doit -n 2` builds what `doit` builds, to the byte, and begins with what took longest before."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from build_rules import workspace as workspace_module
from build_rules.declared.model import Model
from build_rules.engine.command_line import Request
from build_rules.engine.memory.durations import History
from tests.chain.conftest import make_workspace, single_target
from tests.doit_runs import Run, doit

MODELS = ("shapes-det", "shapes-seg")
STEPS = ("har", "hef", "meta")


def workspace(folder: Path) -> Path:
    folder.mkdir()
    make_workspace(folder, MODELS, images=12)
    for model in MODELS:
        single_target(folder, model, "calibration_count = 8")
    single_target(folder, MODELS[0], "calibration_count = 8", "[[target]]", 'preset = "balanced"', "[[target]]")
    return folder


def finished(run: Run, model: str) -> list[str]:
    """Return the steps of a model's targets in the order in which they were done."""
    lines = re.findall(rf"^   ((?:har|hef|meta):{model}:\S+) done in", run.out, re.MULTILINE)
    return [line.replace(f":{model}:hailo8l-", " ") for line in lines]


def outputs(folder: Path) -> dict[str, bytes]:
    build = folder / "build"
    return {
        str(path.relative_to(build)): path.read_bytes()
        for path in sorted(build.rglob("*"))
        if path.is_file() and not path.relative_to(build).parts[0].startswith(".")
    }


def test_side_by_side_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = workspace(tmp_path / "one"), workspace(tmp_path / "two")
    alone, run = doit(one), doit(two, "-n", "2")
    assert alone.code == 0
    assert (run.code, len(run.executed)) == (0, 20)
    # What is made fastest is there first, and whole, though it is declared last.
    assert finished(alone, MODELS[0]) == [f"{step} {preset}" for preset in ("fast", "balanced") for step in STEPS]
    side_by_side = finished(run, MODELS[0])
    for step in STEPS:
        assert side_by_side.index(f"{step} fast") < side_by_side.index(f"{step} balanced")
    assert outputs(one) == outputs(two)
    assert doit(two).executed == []


def test_the_longest_model_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    History().save({"har:short:hailo8l-fast": 1.0, "har:long:hailo8l-fast": 100.0, "split:short": 2.0})
    models = tuple(Model(name, Path(name), Path("x.onnx"), None, None) for name in ("short", "long", "new"))
    for processes, expected in ((0, ["short", "long", "new"]), (2, ["new", "long", "short"])):
        request = Request(default=True, processes=processes)
        monkeypatch.setattr(workspace_module, "command_line", lambda request=request: request)
        assert [model.name for model in workspace_module._longest_first(models)] == expected
