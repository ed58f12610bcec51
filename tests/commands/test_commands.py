"""`doit inspect` and `doit infer` on files from anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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


def inspect(folder: Path, name: str) -> dict[str, Any]:
    run = doit(folder, "inspect", name, "--json")
    assert run.code == 0, run.err
    facts: dict[str, Any] = json.loads(run.out)
    text = doit(folder, "inspect", name)
    assert text.code == 0
    assert len(text.out.splitlines()) > 3
    return facts


def test_every_kind_of_file(built: Path) -> None:
    place = "build/shapes-seg/hailo8l-balanced"
    hef = inspect(built, f"{place}/model+meta.hef")
    assert (hef["hw_arch"], hef["emulated"], hef["problems"]) == ("hailo8l", True, [])
    assert hef["zip_members"] == [
        {"name": "edgefirst.json", "bytes": len((built / place / "edgefirst.json").read_bytes())},
        {"name": "labels.txt", "bytes": 34},
    ]
    assert inspect(built, f"{place}/model.har")["state"] == "quantized_model"
    assert inspect(built, "build/shapes-seg/hailo8l/parsed.har")["state"] == "hailo_model"
    assert inspect(built, f"{place}/model.alls")["kind"] == "model script"
    assert inspect(built, "build/shapes-seg/calibration.safetensors")["samples"] == 8
    onnx = inspect(built, "models/shapes-seg/shapes-seg.onnx")
    endpoints = onnx["endpoints"]
    assert isinstance(endpoints, list)
    assert [e["name"] for e in endpoints][-1] == "protos"
    assert len(endpoints) == 10
    assert "endpoints_not_found" not in onnx
    split = inspect(built, "build/shapes-seg/split.onnx")
    assert (split["metadata_keys"], split["endpoints"], len(split["outputs"])) == ([], [], 10)
    assert "it is a map, and neither a split hint nor the graph says of what" in split["endpoints_not_found"]


def test_a_hef_has_stable_keys(built: Path) -> None:
    hef = inspect(built, "build/shapes-seg/hailo8l-balanced/model+meta.hef")
    assert list(hef) == [
        *("file", "bytes", "kind", "header_version", "hw_arch", "silicon", "hailort_architectures", "compiler"),
        *("sdk_version", "emulated", "timestamp_ms", "created", "extensions", "unknown", "compiled_bytes", "embedding"),
        *("sections", "oldest_hailort", "oldest_hailort_without_zip", "loaders"),
        *("networks", "zip_members", "metadata", "build", "warnings", "described", "problems"),
    ]
    (network,) = hef["networks"]
    assert (network["name"], network["contexts"], len(network["outputs"])) == ("shapes-seg", 1, 10)
    stream = [
        *("name", "order", "shape", "padded_shape", "dtype", "bytes", "scale", "zero_point", "per_feature", "limits"),
        "original_names",
    ]
    assert all(list(one) == stream for one in (*network["inputs"], *network["outputs"]))
    assert hef["metadata"]["labels"] == 5
    assert [pair["differs"] for pair in hef["described"]] == [""] * 10
    assert [(one["reader"], one["loads"]) for one in hef["loaders"]] == [
        ("HailoRT 4.x", False),
        ("HailoRT 5.x", True),
        ("EdgeFirst (readers that cut off the ZIP)", True),
    ]
    assert sum(section["bytes"] for section in hef["sections"]) == hef["bytes"]
    assert [output["type"] for output in hef["metadata"]["outputs"]] == ["boxes", "scores", "mask_coefs", "protos"]


def test_infer_gives_physical_tensors(built: Path) -> None:
    hef = "build/shapes-seg/hailo8l-balanced/model+meta.hef"
    scenes = [str(MODELS / f"scenes/heldout/000{i}.jpg") for i in range(2)]
    run = doit(built, "infer", hef, *scenes, "-o", "out.npz")
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
    har = hef.replace("model+meta.hef", "model.har")
    assert doit(built, "infer", har, *scenes, "-o", "har.npz").code == 0
    with np.load(built / "out.npz") as outputs, np.load(built / "har.npz") as before:
        grids = {child["name"]: child["quantization"] for output in document["outputs"] for child in output["outputs"]}
        for name, array in outputs.items():
            scale, zero = np.float32(grids[name]["scale"]), np.float32(grids[name]["zero_point"])
            assert (before[name] == scale * (array.astype(np.float32) - zero)).all(), "what is compiled is what ran"
    assert {dtype for dtype, _ in shapes.values()} == {"uint8", "uint16"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("inspect",), "exactly one file"),
        (("inspect", "nothing.hef"), "no such file"),
        (("inspect", "dodo.py"), "kind of file"),
        (("infer", "a.hef"), "--output"),
        (("infer", "a.hef", "b.png", "--output"), "--output needs a value"),
        (("infer", "a.hef", "b.png", "-o", "--", "c.png"), "-o needs a value"),
        (("infer", "a.hef", "b.png", "--frob", "x"), "there is no option --frob"),
        (("inspect", "-jx", "a.hef"), "there is no option -j"),
        (("inspect", "--json=3", "a.hef"), "--json takes no value"),
        (("--frob",), "doit run: option --frob not recognized; `doit help run` tells more."),
        (("clean", "-Q"), "doit clean: option -Q not recognized"),
        (("infer", "a.hef", "b.png", "-oc.npz"), "a.hef: there is no such file"),
        (("infer", "dodo.py", "b.png", "-oc.npz"), "b.png: there is no such file"),
        (("inspect", "--", "--json"), "--json: there is no such file"),
        (("inspect", "models"), "not a regular file"),
        (("infer", "models/shapes-seg/model.toml", "dodo.py", "--output", "o.npz"), "model.toml: is not a HEF"),
        (("infer", "build/shapes-seg/hailo8l-balanced/model.hef", "dodo.py", "-oo.npz"), "not an image"),
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
    assert (facts["hw_arch"], facts["emulated"]) == ("hailo8", False)
    run = doit(tmp_path, "infer", str(hef), str(MODELS / "scenes/heldout/0000.jpg"), "--output", "out.npz")
    assert run.code == 3
    assert "holds code for a Hailo device, and runs there alone" in run.err


@pytest.mark.parametrize("command", ["infer", "inspect"])
def test_help_is_an_answer(tmp_path: Path, command: str) -> None:
    told = doit(tmp_path, "help", command)
    assert "USAGE" in told.out
    for arguments in (("--help",), ("-h",), ("x.hef", "--help")):
        run = doit(tmp_path, command, *arguments)
        assert (run.code, run.out, run.err) == (0, told.out, "")


@pytest.mark.parametrize("command", ["run", "clean", "list", "status"])
def test_help_is_an_answer_of_commands_on_steps_too(built: Path, command: str) -> None:
    run = doit(built, command, "--help")
    assert (run.code, run.err) == (0, "")
    assert run.out.startswith("PURPOSE\n")


def test_the_example_dodo_is_one_line() -> None:
    assert (REPOSITORY / "dodo.py").read_text() == "from build_rules.dodo import *\n"
