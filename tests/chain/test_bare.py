"""An export that says nothing about itself: the graph tells where to cut, the user what the classes are called."""

from __future__ import annotations

import json
from pathlib import Path

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
    """Delete the metadata of the model; return its labels."""
    model = onnx.load(folder / ONNX)
    labels: list[str] = next(json.loads(e.value) for e in model.metadata_props if e.key == "labels")
    del model.metadata_props[:]
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
