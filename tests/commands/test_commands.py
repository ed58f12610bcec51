"""`doit inspect` and `doit infer` on files from anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from build_rules.commands.render import render_text
from tests.chain.conftest import MODELS, REPOSITORY, make_workspace, single_target
from tests.doit_runs import doit
from tests.shared import SHARED, needs_shared


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_workspace(tmp_path_factory.mktemp("commands"), ("shapes-seg",), images=8)
    single_target(folder, "shapes-seg", '[[target]]\npreset = "balanced"')
    run = doit(folder)
    assert run.code == 0, run.err
    return folder


def inspect(folder: Path, name: str) -> dict[str, object]:
    run = doit(folder, "inspect", name, "--json")
    assert run.code == 0, run.err
    facts: dict[str, object] = json.loads(run.out)
    text = doit(folder, "inspect", name)
    assert text.code == 0
    assert len(text.out.splitlines()) > 3
    return facts


def test_every_kind_of_file(built: Path) -> None:
    place = "build/shapes-seg/hailo8l-balanced"
    hef = inspect(built, f"{place}/model+meta.hef")
    assert (hef["for"], hef["emulated"], hef["metadata problems"]) == ("hailo8l", True, [])
    assert hef["zip members"] == {
        "edgefirst.json": len((built / place / "edgefirst.json").read_bytes()),
        "labels.txt": 34,
    }
    assert inspect(built, f"{place}/model.har")["state"] == "quantized_model"
    assert inspect(built, "build/shapes-seg/hailo8l/parsed.har")["state"] == "hailo_model"
    assert inspect(built, f"{place}/model.alls")["kind"] == "model script"
    assert inspect(built, "build/shapes-seg/calibration.safetensors")["samples"] == 8
    onnx = inspect(built, "models/shapes-seg/shapes-seg.onnx")
    endpoints = onnx["endpoints"]
    assert isinstance(endpoints, list)
    assert [e["endpoint"] for e in endpoints][-1] == "protos"
    assert len(endpoints) == 10


def test_infer_gives_physical_tensors(built: Path) -> None:
    hef = "build/shapes-seg/hailo8l-balanced/model+meta.hef"
    scenes = [str(MODELS / f"scenes/heldout/000{i}.jpg") for i in range(2)]
    run = doit(built, "infer", hef, *scenes, "--output", "out.npz")
    assert run.code == 0, run.err
    assert "emulated" in run.out
    with np.load(built / "out.npz") as outputs:
        shapes = {name: (array.dtype.name, array.shape) for name, array in outputs.items()}
    document = json.loads((built / "build/shapes-seg/hailo8l-balanced/edgefirst.json").read_text())
    told = {
        child["name"]: (child["dtype"], (2, *child["shape"][1:]))
        for output in document["outputs"]
        for child in output["outputs"]
    }
    assert shapes == told
    assert {dtype for dtype, _ in shapes.values()} == {"uint8", "uint16"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("inspect",), "exactly one file"),
        (("inspect", "nothing.hef"), "no such file"),
        (("inspect", "dodo.py"), "kind of file"),
        (("infer", "a.hef"), "--output"),
        (("infer", "models/shapes-seg/model.toml", "b.png", "--output", "o.npz"), "model.toml"),
    ],
)
def test_wrong_calls(built: Path, arguments: tuple[str, ...], told: str) -> None:
    run = doit(built, *arguments)
    assert (run.code, run.err.count("\n")) == (3, 1)
    assert told in run.err


@needs_shared
def test_a_real_hef_from_anywhere(tmp_path: Path) -> None:
    hef = SHARED / "hefs/v1_yolov5n_seg_h8_rpicam.hef"
    facts = inspect(tmp_path, str(hef))
    assert (facts["for"], facts["emulated"]) == ("hailo8", False)
    run = doit(tmp_path, "infer", str(hef), str(MODELS / "scenes/heldout/0000.jpg"), "--output", "out.npz")
    assert run.code == 3
    assert "only emulated HEFs" in run.err


def test_names_from_files_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in render_text({"name": "a\x1b[31mb", "rows": [{"x": "\x1b]0;"}]})


def test_the_example_dodo_is_one_line() -> None:
    assert (REPOSITORY / "dodo.py").read_text() == "from build_rules.dodo import *\n"
