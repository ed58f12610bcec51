"""One broken model does not stop the others, and what a step does not need does not stop it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.doit_runs import doit

ONNX = "models/shapes-det/shapes-det.onnx"
SETTINGS = "models/bare/model.toml"


@pytest.fixture
def mixed(small: Path) -> Path:
    """A sound model between a folder that nobody can call by its name, and one with nothing to calibrate from."""
    for folder in ("a:b", "bare"):
        (small / "models" / folder).mkdir()
        shutil.copy(small / ONNX, small / "models" / folder)
    return small


def test_the_others_are_built_and_the_broken_ones_told_before_and_after(mixed: Path) -> None:
    run = doit(mixed, "--continue")
    assert run.code == 1
    assert (mixed / "build/shapes-det/hailo8l-fast/model+meta.hef").exists()
    first, second = run.err.splitlines()
    assert first.startswith("ERROR in split:a%3Ab: models/a:b: a model's folder name")
    assert second.startswith("ERROR in calibration:bare: models/bare: there is nothing to calibrate from")
    assert "10 run, 2 failed, 12 not reached in" in run.out
    assert [line[:26] for line in run.out.splitlines()[-2:]] == [
        "failed: split:a%3Ab: model",
        "failed: calibration:bare: ",
    ]

    status = doit(mixed, "status")
    assert status.out.splitlines() == [
        "a%3Ab:hailo8l-fast       broken       split:a%3Ab: models/a:b: a model's folder name becomes part of task "
        "names, so it may hold letters, digits, blanks and ._-+@ only, and not begin with -",
        "bare:hailo8l-fast        broken       calibration:bare: models/bare: there is nothing to calibrate from",
        "shapes-det:hailo8l-fast  fresh",
        "1 fresh, 2 broken",
    ]
    again = doit(mixed, "-n", "2")
    assert (again.code, again.executed, again.err.count("ERROR in ")) == (1, [], 2)
    assert doit(mixed, "ignore", "split:a%3Ab", "calibration:bare").code == 0
    assert doit(mixed).code == 0
    assert doit(mixed, "forget", "split:a%3Ab", "calibration:bare").code == 0
    assert "wrong  calibration:bare" in doit(mixed, "plan").out
    assert "bare cannot run because of what is declared:" in doit(mixed, "why", "calibration:bare").out
    (mixed / SETTINGS).write_text('calibration = "../scenes/calibration"')
    assert doit(mixed, "calibration:bare").code == 0


def test_a_broken_model_asked_for_by_name(mixed: Path) -> None:
    run = doit(mixed, "split")  # of these only one cannot run, and what it would end comes before it
    assert (run.code, set(run.executed)) == (1, {"split:bare", "split:shapes-det"}), "without images to calibrate from"
    run = doit(mixed, "calibration:bare")
    assert (run.code, run.err.count("nothing to calibrate"), run.out.count("nothing to calibrate")) == (3, 1, 0)
    (mixed / SETTINGS).write_text("[[targets")
    for task in ("split:bare", "meta:bare:hailo8-accurate"):
        run = doit(mixed, task)
        assert (run.code, run.err.count("\n")) == (3, 1)
        assert "models/bare/model.toml: not valid TOML" in run.err
    run = doit(mixed, "split:bare", "split:shapes-det")
    assert (run.code, "1 up to date, 1 failed" in run.out) == (1, True)
    (mixed / SETTINGS).write_text('compiler = "prebuilt"\nhef = "no.hef"')
    row, count = doit(mixed, "status", "bare").out.splitlines()
    assert row.startswith("bare:hailo8l-prebuilt  broken       meta:bare:hailo8l-prebuilt: models/bare/model.toml: hef")
    assert count == "1 broken"
    (mixed / "pyproject.toml").write_text("[tool.build_rules]\ncolour = 3")
    run = doit(mixed)
    assert (run.code, run.executed, "colour" in run.err) == (3, [], True), "what concerns everybody stops everybody"
