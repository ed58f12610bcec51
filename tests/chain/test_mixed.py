"""`mixed_precision = "auto"` in real builds: a step of its own, that runs again when what it is about changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.compilers.nets import images
from tests.doit_runs import doit
from tests.mixed.nets import LOUD, loud_detector

MODEL = """{first}
calibration_count = 12
[[target]]
preset = "accurate"
[input]
normalization = "unsigned"
[[split.endpoint]]
role = "boxes"
tensors = ["{boxes}"]
encoding = "direct"
[[split.endpoint]]
role = "scores"
tensors = ["{scores}"]
activation = "sigmoid"
{last}
"""
AUTO = 'mixed_precision = "auto"'


def declare(folder: Path, first: str = AUTO, last: str = "") -> None:
    boxes, scores = (folder / "ends").read_text().split()
    (folder / "models/loud/model.toml").write_text(MODEL.format(first=first, boxes=boxes, scores=scores, last=last))


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loud")
    made = loud_detector(tmp_path_factory.mktemp("net"))
    pool = folder / "models/loud/calibration"
    pool.mkdir(parents=True)
    shutil.copy(made.onnx, folder / "models/loud/loud.onnx")
    (folder / "models/loud/labels.txt").write_text("a\nb\nc\n")
    (folder / "dodo.py").write_text("from build_rules.dodo import *\n")
    (folder / "ends").write_text(" ".join(output.name for output in made.model.graph.output))
    for number, pixels in enumerate(images(12)):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(pool / f"{number:02}.png")
    declare(folder)
    run = doit(folder)
    assert run.code == 0, run.err
    assert run.steps == ["alls", "alls", "calibration", "har", "hef", "meta", "mixed", "parse", "split"]
    return folder


@pytest.fixture
def folder(built_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(built_once, tmp_path / "copy")
    return tmp_path / "copy"


def steps_after(folder: Path) -> list[str]:
    run = doit(folder)
    assert run.code == 0, run.err
    return run.steps


def test_the_layer_is_found_proven_and_told(folder: Path) -> None:
    record = json.loads((folder / "build/loud/hailo8l/mixed.json").read_text())
    assert [(layer["node"], layer["mode"]) for layer in record["layers"]] == [(LOUD, "a8_w8_a16")]
    assert record["after"]["map50_95"] > record["before"]["map50_95"] + 0.3
    script = (folder / "build/loud/hailo8l-accurate/model.alls").read_text()
    assert f"# mixed precision: {LOUD} makes" in script
    assert "quantization_param(loud/conv2, precision_mode=a8_w8_a16)" in script
    for task in ("mixed:loud:hailo8l", "alls:loud:hailo8l-accurate", "har:loud:hailo8l-accurate"):
        told = doit(folder, "why", task).out
        assert "mixed precision: 1 of 5 layers in 16 bits bring the agreement" in told
        assert LOUD in told
    status = doit(folder, "status")
    assert "mixed precision: 1 of 5 layers" in status.out
    row = json.loads(doit(folder, "status", "--json").out)[0]
    assert LOUD in row["mixed_precision"][1]


def test_the_search_runs_again_when_what_it_is_about_changes_and_for_nothing_else(folder: Path) -> None:
    assert steps_after(folder) == []
    declare(folder, last='[alls]\nappend = ["quantization_param(conv1, precision_mode=a8_w8_a16)"]')
    assert steps_after(folder) == ["alls", "har", "hef", "meta"]
    (folder / "models/loud/labels.txt").write_text("a\nb\nd\n")
    assert steps_after(folder) == ["meta"]
    next((folder / "models/loud/calibration").glob("*.png")).unlink()
    assert "mixed" in steps_after(folder)


def test_switched_off_there_is_no_such_step(folder: Path) -> None:
    declare(folder, first="")
    assert steps_after(folder) == ["alls", "har", "hef", "meta"]
    assert "mixed precision" not in (folder / "build/loud/hailo8l-accurate/model.alls").read_text()
    assert "mixed precision" not in doit(folder, "status", "loud").out
    assert "mixed:" not in doit(folder, "list", "--all").out


def test_what_is_not_possible_is_an_error_of_the_model(folder: Path) -> None:
    declare(folder, first='mixed_precision = "on"')
    run = doit(folder)
    assert run.code == 3
    assert 'mixed_precision = \'on\' is not possible; expected one of: "off", "auto"' in run.err
