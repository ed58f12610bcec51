"""Real exported architectures, whole: ONNX and photographs in, executables that both decoders read out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from build_rules.hef import read_hef, read_members
from build_rules.objects.suppress import box_iou
from tests.decoders import DECODERS, physical_outputs
from tests.doit_runs import doit
from tests.profiles import EVERYTHING
from tests.shared import SHARED, corpus_model, corpus_truth, needs_shared

pytestmark = needs_shared

PHOTOGRAPHS = 6
SNAPSHOT = "calibration-ds-1c8-6954670bc1c66a4a.safetensors"


def workspace(folder: Path, name: str) -> Path:
    """A repository with one corpus model, calibrated from the snapshot when that fits, else from photographs."""
    model = folder / "models" / name
    model.mkdir(parents=True)
    (folder / "dodo.py").write_text("from build_rules.dodo import *\n")
    shutil.copy(corpus_model(name), model)
    if name.endswith("_320"):
        shutil.copyfile(SHARED / "corpus" / SNAPSHOT, model / SNAPSHOT)
        return folder
    (model / "calibration").mkdir()
    for image in sorted((SHARED / "images").glob("*.jpg"))[:PHOTOGRAPHS]:
        shutil.copyfile(image, model / "calibration" / image.name)
    return folder


# A snapshot, masks, an attention block with direct boxes that the graph suppresses; the others are much like these.
KINDS = ["yolov8n_320", "yolov8n-seg", "yolo26n_e2e", *(["yolo11n", "yolo26n"] if EVERYTHING else [])]


@pytest.mark.parametrize("name", KINDS)
def test_builds_and_both_decoders_accept_it(tmp_path: Path, name: str) -> None:
    folder = workspace(tmp_path, name)
    run = doit(folder)
    assert run.code == 0, run.err
    hef = folder / f"build/{name}/hailo8l-fast/model+meta.hef"
    document = json.loads(read_members(hef)["edgefirst.json"])
    check_against_truth(document, hef, corpus_truth()[name])
    photograph = sorted((SHARED / "images").glob("*.jpg"))[0]
    assert doit(folder, "infer", str(hef), str(photograph), "--output", "out.npz").code == 0
    with np.load(folder / "out.npz") as arrays:
        tensors = dict(arrays)
    assert {physical["name"] for physical in physical_outputs(document)} == set(tensors)
    # Noise weights find nothing in particular, with many equal scores, of which the two suppress different ones; so
    # nothing is suppressed, and every box of one has to be a box of the other.
    found = {label: decode(document, tensors, score=0.001, iou=1.0) for label, decode in DECODERS.items()}
    first, second = found.values()
    assert len(first.scores) > 10
    overlaps = box_iou(first.boxes.astype(np.float64), second.boxes.astype(np.float64))
    same = overlaps * (first.classes[:, None] == second.classes[None, :])
    assert np.mean(same.max(axis=1) > 0.99) > 0.98


def check_against_truth(document: dict[str, Any], hef: Path, truth: dict[str, Any]) -> None:
    """The compiled streams come from the endpoints that the corpus says are right."""
    (group,) = read_hef(hef).network_groups
    nodes = {name for stream in group.outputs for name in stream.original_names}
    for endpoint in truth["endpoints"] + truth.get("proto", []):
        assert endpoint["node"] in nodes, endpoint
    assert document["hailo"]["emulated"] is True
    labels = read_members(hef)["labels.txt"].decode().splitlines()
    scores = next(output for output in document["outputs"] if output["name"] == "scores")
    assert len(labels) == scores["shape"][1]
