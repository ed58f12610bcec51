"""The calibration step as a user meets it: what it writes and says, what an interrupt leaves, what is known then."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from tests.chain.conftest import make_workspace, single_target
from tests.doit_runs import doit, start_doit

STEP = "calibration:shapes-det"
SNAPSHOT = "build/shapes-det/calibration.safetensors"


def test_what_it_writes_and_says(small: Path) -> None:
    pool = small / "models/scenes/calibration"
    (pool / "copy.jpg").write_bytes(next(pool.iterdir()).read_bytes())
    run = doit(small, STEP)
    assert run.code == 0
    assert "   13 images: 12 usable, 1 duplicate\n" in run.out
    assert "   duplicate: copy.jpg: the same file as 0" in run.out or "the same file as copy.jpg" in run.out
    assert "8 of 12 images selected" in run.out
    with Image.open(small / "build/shapes-det/calibration.png") as sheet:
        assert sheet.size == (300, 300)
    facts = json.loads(doit(small, "inspect", "--json", SNAPSHOT).out)
    assert (facts["samples"], facts["selected"], facts["selected_from"], facts["requested"]) == (8, 8, 12, 8)
    assert [left["kind"] for left in facts["left_out"]] == ["duplicate"]
    told = doit(small, "inspect", SNAPSHOT).out
    assert "red minimum" in told
    assert "closer to the pool's histogram" in told
    assert doit(small, STEP).executed == []


def test_fewer_than_wanted_is_a_warning(small: Path) -> None:
    single_target(small, "shapes-det", "calibration_count = 13")
    told = "12 calibration images, 13 wanted: the compiler takes the ranges of all tensors from these alone"
    run = doit(small, STEP)
    assert f"   warning: {told}" in run.out
    single_target(small, "shapes-det", "calibration_count = 12")
    assert "warning" not in doit(small, STEP).out


def looked_at(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "build/.images.db")) as connection:
        return int(connection.execute("select count(*) from looks").fetchone()[0])


def test_an_interrupt_leaves_nothing_but_what_was_found_out(tmp_path: Path) -> None:
    folder = make_workspace(tmp_path, ("shapes-det",))
    single_target(folder, "shapes-det", "calibration_count = 288")
    process = start_doit(folder, "-r", "events", STEP)
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if (event["event"], event.get("task")) == ("run", STEP):
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert not (folder / SNAPSHOT).exists()
    assert list(folder.rglob("*.partial")) == []
    assert doit(folder, STEP).code == 0
    assert looked_at(folder) == 288
    undisturbed = (folder / SNAPSHOT).read_bytes()
    (folder / SNAPSHOT).unlink()
    (folder / "build/.images.db").unlink()
    assert doit(folder, STEP).code == 0
    assert (folder / SNAPSHOT).read_bytes() == undisturbed


def test_another_model_with_the_same_images(small: Path) -> None:
    shutil.copytree(small / "models/shapes-det", small / "models/other")
    assert doit(small, STEP).code == 0
    assert looked_at(small) == 12
    assert doit(small, "-n", "2", "calibration:other").code == 0
    assert (small / "build/other/calibration.safetensors").read_bytes() == (small / SNAPSHOT).read_bytes()
    assert looked_at(small) == 12


def as_bgr(path: Path) -> None:
    """Turn an export into one that takes its colours in the other order and gives the same results."""
    model = onnx.load(path)
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == first.input[1])
    turned = numpy_helper.to_array(weights)[:, ::-1].copy()
    weights.CopyFrom(numpy_helper.from_array(turned, weights.name))
    (metadata,) = (entry for entry in model.metadata_props if entry.key == "edgefirst")
    document = json.loads(metadata.value)
    document.setdefault("input", {})["cameraadaptor"] = "bgr"
    metadata.value = json.dumps(document)
    onnx.save(model, path)


def test_a_network_that_takes_other_colours(small: Path) -> None:
    """The same network in BGR, calibrated and run on the same photographs, says nearly the same."""
    scene = str(small / "models/scenes/calibration/0003.jpg")
    hef = "build/shapes-det/hailo8l-fast/model+meta.hef"
    assert doit(small).code == 0
    assert doit(small, "infer", hef, scene, "-o", "rgb.npz").code == 0
    rgb_samples = (small / SNAPSHOT).read_bytes()
    (export,) = (small / "models/shapes-det").glob("*.onnx")
    as_bgr(export)
    assert doit(small).code == 0
    assert doit(small, "infer", hef, scene, "-o", "bgr.npz").code == 0
    assert (small / SNAPSHOT).read_bytes() != rgb_samples
    rgb, bgr = np.load(small / "rgb.npz"), np.load(small / "bgr.npz")
    assert sorted(rgb) == sorted(bgr)
    assert max(rgb[name].std() for name in rgb) > 10
    for name in rgb:
        difference = np.abs(rgb[name].astype(int) - bgr[name].astype(int))
        assert difference.mean() < 1.0, name


@pytest.mark.parametrize("jobs", [(), ("-n", "2")], ids=["n1", "n2"])
def test_names_that_the_terminal_cannot_write(small: Path, jobs: tuple[str, ...]) -> None:
    pool = small / "models/scenes/calibration"
    (pool / "Пример.jpg").write_bytes((pool / "0000.jpg").read_bytes())
    (pool / "сломан.jpg").write_bytes(b"broken")
    single_target(small, "shapes-det", "calibration_count = 8", "skip_broken_images = true")
    run = doit(small, *jobs, STEP, PYTHONIOENCODING="latin-1")
    assert run.code == 0, run.err
    assert "14 images: 12 usable, 1 duplicate, 1 skipped (cannot be decoded)" in run.out
    assert "\\u041f\\u0440\\u0438\\u043c\\u0435\\u0440.jpg" in run.out
