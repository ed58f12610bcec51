"""Wrong input ends in one paragraph on stderr, exit code 3, and nothing half-done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from PIL import Image

from build_rules.calibration.produce import produce_snapshot
from build_rules.calibration.snapshot.parameters import Parameters
from build_rules.records.normalization import Normalization
from tests.chain.conftest import single_target
from tests.doit_runs import doit

MODEL = "models/shapes-det"
ONNX = f"{MODEL}/shapes-det.onnx"
POOL = "models/scenes/calibration"


def refused(folder: Path, *told: str, **environment: str) -> None:
    """Run doit; it must refuse with exit code 3, in one paragraph that says all of `told`, and leave nothing behind."""
    run = doit(folder, **environment)
    assert run.code == 3, run.err
    assert run.err.startswith("ERROR")
    assert run.err.count("\n") == 1, run.err
    for text in told:
        assert text in run.err
    assert not list(folder.rglob("*.partial"))
    assert not list(folder.rglob("model+meta.hef"))


def edit(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(folder / ONNX, load_external_data=False)
    change(model)
    (folder / ONNX).write_bytes(model.SerializeToString())


def edit_document(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    def apply(model: onnx.ModelProto) -> None:
        entry = next(e for e in model.metadata_props if e.key == "edgefirst")
        document = json.loads(entry.value)
        change(document)
        entry.value = json.dumps(document)

    edit(folder, apply)


def test_no_model(small: Path) -> None:
    shutil.rmtree(small / MODEL)
    refused(small, "models/ holds no model")
    shutil.rmtree(small / "models")
    refused(small, "there is no folder models/ here")


def test_two_onnx_without_a_choice(small: Path) -> None:
    shutil.copy(small / ONNX, small / MODEL / "other.onnx")
    refused(small, "2 ONNX files (other.onnx, shapes-det.onnx)", 'onnx = "FILE"')


def test_unknown_key_and_value(small: Path) -> None:
    single_target(small, "shapes-det", "calibration_cuont = 8")
    refused(small, f"{MODEL}/model.toml", "calibration_cuont", 'did you mean "calibration_count"?')
    single_target(small, "shapes-det", '[[target]]\npreset = "slow"')
    refused(small, "preset = 'slow'", '"fast", "balanced", "accurate"')


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("preset=quick",), "fast, balanced, accurate"), (("preste=fast",), "there is no variable preste")],
)
def test_wrong_variables(small: Path, arguments: tuple[str, ...], told: str) -> None:
    run = doit(small, *arguments)
    assert (run.code, run.err.count("\n")) == (3, 1)
    assert told in run.err


def test_not_onnx(small: Path) -> None:
    whole = (small / ONNX).read_bytes()
    for content in (b"", b"<html>not found</html>", whole[: len(whole) // 2], whole[:-10]):
        (small / ONNX).write_bytes(content)
        refused(small, ONNX, "not a complete ONNX file")


def test_external_data_outside_the_folder(small: Path) -> None:
    def point_outside(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../../secret.bin")

    edit(small, point_outside)
    refused(small, ONNX, "../../../secret.bin")


def test_dynamic_input(small: Path) -> None:
    def loosen(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"

    edit(small, loosen)
    edit_document(small, lambda document: document["input"].pop("shape"))
    refused(small, ONNX, "dynamic shape [1, 3, height, 256]", "[input] shape = [640, 640]", "static shape")


def test_text_from_a_file_cannot_steer_the_terminal(small: Path) -> None:
    def steer(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "h\x1b[2J\nERROR forged"

    edit(small, steer)
    edit_document(small, lambda document: document["input"].pop("shape"))
    refused(small, ONNX, "forged")
    assert "\x1b" not in doit(small).err


def test_no_metadata(small: Path) -> None:
    def forget(model: onnx.ModelProto) -> None:
        del model.metadata_props[:]

    edit(small, forget)
    refused(small, ONNX, "holds no labels", "model.toml")


def test_a_head_that_is_not_understood_brings_the_table_to_fill_in(small: Path) -> None:
    def without_activation(model: onnx.ModelProto) -> None:
        del model.metadata_props[:]
        for node in model.graph.node:
            if node.op_type == "Sigmoid" and "act" not in node.name:
                node.op_type = "Identity"

    edit(small, without_activation)
    run = doit(small)
    assert run.code == 3
    lines = run.err.splitlines()
    assert "what the channels [4, 9) of the output 'output0' are is not understood" in lines[0]
    assert lines.count("[[split.endpoint]]") == 2
    assert any(line.startswith('tensors = ["/model.22/cv3.0/cv3.0.2/Conv_output_0"') for line in lines)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("[split]\nproff = false", "[split]: unknown key proff"),
        ("[split]\nproof = 1", "[split]: proof = 1 is not possible; expected true or false"),
        ("[[split.endpoint]]\nrole = 'boxes'", "[[endpoint]] number 1: needs role and tensors"),
        ("[[split.hint]]\ntarget = 'output0'", "[[hint]] number 1: needs target and boundaries"),
    ],
)
def test_a_wrong_split_table(small: Path, table: str, told: str) -> None:
    single_target(small, "shapes-det", table)
    refused(small, f"{MODEL}/model.toml", told)


def test_a_split_table_that_does_not_fit_the_graph(small: Path) -> None:
    single_target(small, "shapes-det", "[[split.endpoint]]\nrole = 'protos'\ntensors = ['/model.22/cv2.0/cv2.0.2/Con']")
    refused(small, ONNX, "[split] of model.toml: the graph has no tensor and no node", "did you mean")


def test_labels_in_the_onnx_that_do_not_match(small: Path) -> None:
    def shorten(model: onnx.ModelProto) -> None:
        next(e for e in model.metadata_props if e.key == "labels").value = '["one", "two"]'

    edit(small, shorten)
    refused(small, ONNX, "2 classes", "5")


def test_labels_file_that_does_not_match(small: Path) -> None:
    single_target(small, "shapes-det", 'labels = "labels.txt"')
    for text, told in (("a\nb\nc\nd\n", "4 classes"), ("a\n\nc\nd\ne\n", "blank")):
        (small / MODEL / "labels.txt").write_text(text)
        refused(small, "labels.txt", told)
    (small / MODEL / "labels.txt").write_bytes(b"\xff\xfe\x00")
    refused(small, "labels.txt", "UTF-8")
    assert not (small / "build/shapes-det/split.json").exists(), "told before anything is compiled"


def test_empty_calibration_folder(small: Path) -> None:
    for image in (small / POOL).iterdir():
        image.unlink()
    refused(small, POOL, "no image")


def test_one_broken_image_is_named_and_skipped_only_when_told(small: Path) -> None:
    victim = sorted((small / POOL).iterdir())[3]
    victim.write_bytes(victim.read_bytes()[:500])
    refused(small, f"{POOL}: 1 image cannot be decoded: {victim.name} (", "skip_broken_images")
    single_target(small, "shapes-det", "calibration_count = 4", "skip_broken_images = true")
    run = doit(small)
    assert run.code == 0
    assert "   12 images: 11 usable, 1 skipped (cannot be decoded)\n" in run.out
    assert f"   skipped: {victim.name}: image file is truncated" in run.out


def snapshot(folder: Path, shape: tuple[int, int]) -> Path:
    """Make a snapshot of the pool and let the model calibrate from it."""
    path = folder / MODEL / "calibration-local.safetensors"
    parameters = Parameters(shape, Normalization(1 / 255, (0.0,) * 3, (1.0,) * 3), count=4)
    produce_snapshot(folder / POOL, parameters, path, "images")
    (folder / MODEL / "model.toml").write_text("")
    return path


def test_snapshot_damaged_or_of_another_geometry(small: Path) -> None:
    path = snapshot(small, (256, 256))
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    refused(small, "content_sha256")
    path.write_bytes(good[:-100])
    refused(small, path.name)
    snapshot(small, (192, 256))
    refused(small, "input_shape", "[192, 256]", "[256, 256]")


def test_of_several_snapshots_the_one_in_the_metadata(small: Path) -> None:
    first = snapshot(small, (256, 256))
    shutil.copy(first, first.with_name("calibration-other.safetensors"))
    refused(small, "2 snapshots (calibration-local.safetensors, calibration-other.safetensors)", "names none")
    edit_document(small, lambda document: document.update(calibration="calibration-third.safetensors"))
    refused(small, "names calibration-third.safetensors")
    edit_document(small, lambda document: document.update(calibration="calibration-other.safetensors"))
    assert doit(small).code == 0
    document = json.loads((small / "build/shapes-det/hailo8l-fast/edgefirst.json").read_text())
    assert document["hailo"]["calibration"] == "calibration-other.safetensors"


def test_a_good_snapshot_builds(small: Path) -> None:
    snapshot(small, (256, 256))
    assert doit(small).code == 0
    document = json.loads((small / "build/shapes-det/hailo8l-fast/edgefirst.json").read_text())
    assert document["hailo"]["calibration"] == "calibration-local.safetensors"
    assert document["hailo"]["calibration_geometry"] == {"resize": "letterbox", "input_shape": [256, 256]}


@pytest.mark.parametrize(
    ("tiling", "told"),
    [
        ({"version": 2, "mode": "tiled"}, "2"),
        ({"version": True, "mode": "tiled"}, "True"),
        ({"version": 1, "mode": "mosaic"}, "mosaic"),
        ([1], "[1]"),
        ({"version": 1, "mode": "tiled"}, "tiling.grid is missing"),
    ],
)
def test_unsupported_tiling(small: Path, tiling: Any, told: str) -> None:
    edit_document(small, lambda document: document.update(tiling=tiling))
    refused(small, "tiling", told)


def test_unknown_normalization(small: Path) -> None:
    edit_document(small, lambda document: document["validation"].update(normalization="spectral"))
    refused(small, ONNX, "validation.normalization = 'spectral'", "unsigned")


def test_full_disk(small: Path) -> None:
    # A limit on the size of files stands for the full disk: split.onnx fits, the snapshot does not.
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))\n"
    (small / "dodo.py").write_text(limit + (small / "dodo.py").read_text())
    refused(small, "space")


def test_infer_with_wrong_files(small: Path) -> None:
    assert doit(small).code == 0
    hef = small / "build/shapes-det/hailo8l-fast/model+meta.hef"
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(small / "black.png")
    wrong = doit(small, "infer", str(hef), "black.png")
    assert (wrong.code, wrong.err.count("\n")) == (3, 1)
    assert "--output" in wrong.err
    hef.write_bytes(hef.read_bytes()[:1000])
    damaged = doit(small, "infer", str(hef), "black.png", "--output", "out.npz")
    assert (damaged.code, damaged.err.count("\n")) == (3, 1)
    assert not (small / "out.npz").exists()


def test_a_pool_that_holds_what_is_built_from_it(small: Path) -> None:
    single_target(small, "shapes-det", "calibration_count = 8")
    assert doit(small, "calibration:shapes-det").code == 0
    (small / "models/shapes-det/model.toml").write_text('calibration = "../.."')
    told = "models/shapes-det/model.toml: calibration = '.' takes in build/shapes-det/calibration.png"
    run = doit(small)
    assert (run.code, told in run.err) == (3, True), run.err
    for command, code in ((["status"], 1), (["plan"], 0), (["why", "calibration:shapes-det"], 0)):
        run = doit(small, *command)
        assert (run.code, told in run.out) == (code, True), run.out
