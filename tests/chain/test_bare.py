"""An export that says nothing about itself: the graph tells where to cut, the user what the classes are called."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.chain.conftest import make_workspace, single_target
from tests.doit_runs import doit

MODEL = "models/shapes-seg"
ONNX = f"{MODEL}/shapes-seg.onnx"
PLACE = "build/shapes-seg/hailo8l-fast"
HANDMADE = """
[split]
proof = false
[[split.endpoint]]
role = "boxes"
encoding = "dfl"
tensors = {boxes}
[[split.endpoint]]
role = "scores"
activation = "sigmoid"
tensors = {scores}
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_workspace(tmp_path_factory.mktemp("bare"), ("shapes-seg",), images=8)
    single_target(folder, "shapes-seg", "calibration_count = 8")
    assert doit(folder).code == 0
    return folder


def forget(folder: Path) -> tuple[str, ...]:
    """Leave nothing of the metadata but whose export it is; return the labels."""
    model = onnx.load(folder / ONNX)
    labels: list[str] = next(json.loads(e.value) for e in model.metadata_props if e.key == "labels")
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {"author": "Ultralytics"})
    onnx.save(model, folder / ONNX)
    return tuple(labels)


def test_a_bare_export_gives_the_same_outputs(workspace: Path) -> None:
    with_hints = json.loads((workspace / PLACE / "edgefirst.json").read_text())
    cut = (workspace / "build/shapes-seg/split.onnx").read_bytes()
    labels = forget(workspace)
    run = doit(workspace)
    assert (run.code, "holds no labels" in run.err) == (3, True)

    (workspace / MODEL / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    run = doit(workspace)
    assert run.code == 0, run.err
    document = json.loads((workspace / PLACE / "edgefirst.json").read_text())
    assert document["outputs"] == with_hints["outputs"]
    assert (document["nms"], document["decoder_version"]) == ("class_aware", "yolov8")
    assert document["input"]["cameraadaptor"] == "rgb"
    assert "nms" not in run.out, "it is no lack of an export that somebody else's trainer made"
    assert (workspace / "build/shapes-seg/split.onnx").read_bytes() == cut
    split = json.loads((workspace / "build/shapes-seg/split.json").read_text())
    assert split["found_by"] == "structure"
    assert [b["name"] for b in split["hints"][0]["boundaries"]] == ["boxes", "scores", "mask_coefs"]
    assert split["proof"] == {"max_abs_error": 0.0, "inputs": 2}
    # What the graph told, and what the metadata had told, lead to the same cut: nothing after it ran again but `meta`.
    assert "har:shapes-seg" not in run.out


def test_a_cut_by_hand_overrides_everything(workspace: Path) -> None:
    split = workspace / "build/shapes-seg/split.json"
    endpoints = json.loads(split.read_text())["endpoints"]
    tensors = {role: [e["tensor"] for e in endpoints if e["role"] == role] for role in ("boxes", "scores")}
    single_target(workspace, "shapes-seg", HANDMADE.format(**{k: json.dumps(v) for k, v in tensors.items()}))
    run = doit(workspace, "split")
    assert run.code == 0, run.err
    found = json.loads(split.read_text())
    assert [e["name"] for e in found["endpoints"]] == [
        *(f"boxes_{i}" for i in range(3)),
        *(f"scores_{i}" for i in range(3)),
    ]
    assert (found["found_by"], found["proof"]) == ("model.toml", None)


def test_an_input_with_channels_last_builds(workspace: Path, tmp_path: Path) -> None:
    """As TensorFlow exports it: the same network behind a transpose gives the same tensors."""
    folder = tmp_path / "repository"
    shutil.copytree(workspace, folder)
    (folder / MODEL / "labels.txt").write_text("a\nb\nc\nd\ne\n")
    single_target(folder, "shapes-seg", "calibration_count = 8")
    scene = str(sorted((folder / "models/scenes/calibration").iterdir())[0])
    assert doit(folder).code == 0
    assert doit(folder, "infer", f"{PLACE}/model+meta.hef", scene, "-o", "first.npz").code == 0
    model = onnx.load(folder / ONNX)
    image = model.graph.input[0]
    _, channels, height, width = (dim.dim_value for dim in image.type.tensor_type.shape.dim)
    moved = onnx.helper.make_node("Transpose", ["nhwc"], [image.name], name="to_nchw", perm=[0, 3, 1, 2])
    nodes = [moved, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    image.CopyFrom(onnx.helper.make_tensor_value_info("nhwc", 1, [1, height, width, channels]))
    onnx.save(model, folder / ONNX)
    run = doit(folder)
    assert run.code == 0, run.err
    assert doit(folder, "infer", f"{PLACE}/model+meta.hef", scene, "-o", "second.npz").code == 0
    with np.load(folder / "first.npz") as first, np.load(folder / "second.npz") as second:
        assert [first[name].shape for name in first.files] == [second[name].shape for name in second.files]
        assert all(np.array_equal(first[a], second[b]) for a, b in zip(first.files, second.files, strict=True))
