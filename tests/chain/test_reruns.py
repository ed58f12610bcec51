"""The table "what re-runs" (docs/what-reruns.md): each row is a change and the tasks that a real doit executes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from tests.chain.conftest import make_workspace, single_target
from tests.doit_runs import doit

MODEL = "shapes-det"
ALL = ["alls", "calibration", "har", "hef", "meta", "parse", "split", "statistics"]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, up to date; every test works on a copy."""
    folder = make_workspace(tmp_path_factory.mktemp("fresh"), (MODEL, "shapes-attn"), images=12)
    for model in (MODEL, "shapes-attn"):
        single_target(folder, model, "calibration_count = 8")
    labels = folder / f"models/{MODEL}/labels.txt"
    labels.write_text("circle\nsquare\ntriangle\nstar\ncross\n")
    single_target(folder, MODEL, "calibration_count = 8", 'labels = "labels.txt"')
    run = doit(folder)
    assert (run.code, run.steps) == (0, sorted(ALL * 2)), run.err
    return folder


@pytest.fixture
def folder(fresh: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(fresh, copy)
    return copy


def edit_onnx(path: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def steps_after(folder: Path) -> list[str]:
    run = doit(folder)
    assert run.code == 0, run.err
    assert not [task for task in run.executed if "shapes-attn" in task], "the other model must not be touched"
    assert doit(folder).executed == []
    return run.steps


def test_nothing_changed_even_in_another_place(folder: Path) -> None:
    assert steps_after(folder) == []


def test_touch_of_every_file(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path.name[0] != ".":
            os.utime(path, (2_000_000_000, 2_000_000_000))
    assert steps_after(folder) == []


def test_labels(folder: Path) -> None:
    (folder / f"models/{MODEL}/labels.txt").write_text("disc\nsquare\ntriangle\nstar\ncross\n")
    assert steps_after(folder) == ["meta"]


def test_preset(folder: Path) -> None:
    single_target(folder, MODEL, "calibration_count = 8", 'labels = "labels.txt"', '[[target]]\npreset = "balanced"')
    assert steps_after(folder) == ["alls", "har", "hef", "meta"]


def with_lines(folder: Path, *lines: str, file: str = "") -> None:
    """Append lines of the user's to the model's script, and those of a file."""
    (folder / f"models/{MODEL}/extra.alls").write_text(file)
    table = f'[alls]\nappend = {json.dumps(lines)}\nfile = "extra.alls"'
    single_target(folder, MODEL, "calibration_count = 8", 'labels = "labels.txt"', table)


def test_lines_of_the_compile_stage(folder: Path) -> None:
    """The network is not quantized again; what the HEF is has not changed here, where nothing is placed."""
    with_lines(folder, "resources_param(max_utilization=0.8)")
    assert set(steps_after(folder)) | {"meta"} == {"alls", "hef", "meta"}
    with_lines(folder, "resources_param(max_utilization=0.7)")
    assert steps_after(folder) == ["alls", "hef"]
    assert "max_utilization=0.7" in (folder / f"build/{MODEL}/hailo8l-fast/compile.alls").read_text()


def test_lines_of_the_user_s(folder: Path) -> None:
    with_lines(folder, file="# nothing yet\n")
    assert steps_after(folder) == ["alls"], "the same scripts"
    line = "quantization_param(conv1, precision_mode=a16_w16)\n"
    with_lines(folder, file=line)
    assert steps_after(folder) == ["alls", "har", "hef", "meta"]
    with_lines(folder, file=f"# why\n{line}")
    assert steps_after(folder) == ["alls"], "a comment is in no script"
    (folder / f"models/{MODEL}/extra.alls").unlink()
    run = doit(folder)
    assert (run.code, "extra.alls does not exist" in run.err) == (1, True), "one of two models"


def test_target_added(folder: Path) -> None:
    targets = "[[target]]\n[[target]]\npreset = 'accurate'\n[[target]]\nhw_arch = 'hailo8'"
    single_target(folder, MODEL, "calibration_count = 8", 'labels = "labels.txt"', targets)
    added = ["alls", "har", "hef", "meta"]
    assert steps_after(folder) == sorted(added + added + ["parse", "statistics"])


def test_targets_from_the_command_line(folder: Path) -> None:
    run = doit(folder, "hw_arch=hailo8", "preset=balanced", f"meta:{MODEL}:hailo8-balanced")
    assert run.steps == ["alls", "har", "hef", "meta", "parse", "statistics"]
    assert steps_after(folder) == []


def test_pixels_of_a_selected_image(folder: Path) -> None:
    images = sorted((folder / "models/scenes/calibration").iterdir())
    single_target(folder, "shapes-attn", 'onnx = "shapes-attn.onnx"', "calibration_count = 8")
    shutil.copytree(folder / "models/scenes", folder / "models/other")
    text = (folder / f"models/{MODEL}/model.toml").read_text().replace("../scenes", "../other")
    (folder / f"models/{MODEL}/model.toml").write_text(text)
    assert steps_after(folder) == ["calibration"], "the same images elsewhere are the same snapshot"
    for image in images:
        copy = folder / "models/other/calibration" / image.name
        pixels = np.asarray(Image.open(copy))
        Image.fromarray(255 - pixels).save(copy, quality=90)
    assert steps_after(folder) == ["calibration", "har", "hef", "meta", "statistics"]


def test_an_image_that_is_not_selected(folder: Path) -> None:
    pool = folder / "models/scenes/calibration"
    before = (folder / f"build/{MODEL}/calibration.safetensors").read_bytes()
    # Among copies of an image that is there, the selection prefers the first; a plain copy at the end adds nothing.
    for image in sorted(pool.iterdir()):
        copy = pool / f"zz-{image.name}"
        shutil.copy(image, copy)
        run = doit(folder)
        assert run.executed[:1] == ["calibration:shapes-attn"] or run.executed[:1] == [f"calibration:{MODEL}"]
        if (folder / f"build/{MODEL}/calibration.safetensors").read_bytes() == before:
            assert run.steps == ["calibration", "calibration"], "one for each model, and nothing after them"
            return
        copy.unlink()
        doit(folder)
    pytest.fail("no image could be added without being selected")


def test_a_calibration_image_renamed(folder: Path) -> None:
    pool = folder / "models/scenes/calibration"
    last = max(pool.iterdir())
    last.rename(last.with_name("zz.jpg"))
    run = doit(folder)
    assert (run.steps, doit(folder).executed) == (["calibration", "calibration"], [])


HEIF = """
from io import BytesIO
from PIL import Image

def register_heif_opener():
    read = lambda file, name: Image.open(BytesIO(file.read()[12:]), formats=["JPEG"])
    Image.register_open("HEIF", read, lambda head: head[4:8] == b"ftyp")
"""


def test_images_that_nothing_here_decodes_until_their_library_is_installed(folder: Path) -> None:
    shutil.copytree(folder / "models/scenes", folder / "models/other")
    text = (folder / f"models/{MODEL}/model.toml").read_text().replace("../scenes", "../other")
    (folder / f"models/{MODEL}/model.toml").write_text(text.replace("count = 8", "count = 64"))
    step, snapshot = f"calibration:{MODEL}", folder / f"build/{MODEL}/calibration.safetensors"
    assert doit(folder, step).steps == ["calibration"]
    image, before = min((folder / "models/other/calibration").iterdir()), snapshot.read_bytes()
    Image.fromarray(255 - np.asarray(Image.open(image))).save(folder / "negative.jpg")
    photograph = b"\0\0\0\x18ftypheic" + (folder / "negative.jpg").read_bytes()
    (image.parent / "IMG_1.HEIC").write_bytes(photograph)
    (image.parent / "IMG_2.dng").write_bytes(photograph)
    run = doit(folder, step)
    assert (run.steps, "passed over: 1 .dng, 1 .heic (where pillow-heif" in run.out) == (["calibration"], True)
    assert snapshot.read_bytes() == before

    library = folder / "library"
    (library / "pillow_heif-1.0.dist-info").mkdir(parents=True)
    (library / "pillow_heif-1.0.dist-info/METADATA").write_text("Name: pillow-heif\nVersion: 1.0\n")
    (library / "pillow_heif.py").write_text(HEIF)
    run = doit(folder, step, "calibration:shapes-attn", PYTHONPATH=str(library))
    assert run.executed == [step], "no image of the other pool needs it"
    assert "13 of 13 images selected; passed over: 1 .dng\n" in run.out
    assert snapshot.read_bytes() != before
    assert doit(folder, step).executed == [step], "it is no longer there"
    assert snapshot.read_bytes() == before


def test_how_metadata_are_carried(folder: Path) -> None:
    single_target(folder, MODEL, "calibration_count = 8", 'labels = "labels.txt"', 'embed = "sealed"')
    assert steps_after(folder) == ["meta"]


def test_weights(folder: Path) -> None:
    def nudge(model: onnx.ModelProto) -> None:
        weights = next(t for t in model.graph.initializer if len(t.dims) == 4 and t.dims[2] == 3)
        weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(1.01), weights.name))

    edit_onnx(folder / f"models/{MODEL}/{MODEL}.onnx", nudge)
    assert steps_after(folder) == ["alls", "har", "hef", "meta", "parse", "split", "statistics"]


def test_only_metadata(folder: Path) -> None:
    def describe(model: onnx.ModelProto) -> None:
        for entry in model.metadata_props:
            if entry.key == "description":
                entry.value = "another description"
        model.doc_string = "another text"

    edit_onnx(folder / f"models/{MODEL}/{MODEL}.onnx", describe)
    assert steps_after(folder) == ["meta", "split"]


def test_the_table_metadata(folder: Path) -> None:
    lines = ("calibration_count = 8", 'labels = "labels.txt"')
    described = '[metadata]\nname = "mine"\ndescription = "of this place"\nnms = "class_agnostic"\n'
    single_target(folder, MODEL, *lines, described)
    assert steps_after(folder) == ["meta"]
    document = json.loads((folder / f"build/{MODEL}/hailo8l-fast/edgefirst.json").read_text())
    assert (document["name"], document["nms"], document["decoder_version"]) == ("mine", "class_agnostic", "yolov8")

    single_target(folder, MODEL, *lines, described, "[metadata.validation]\nscore = 0.3\n")
    assert steps_after(folder) == ["meta", "split"], "thresholds are told on; the cut stays as it was"
    single_target(folder, MODEL, *lines, described, "[metadata.validation]\nscore = 0.3\nnormalization = 'signed'\n")
    assert steps_after(folder) == ["alls", "calibration", "har", "hef", "meta", "parse", "split", "statistics"]
    document = json.loads((folder / f"build/{MODEL}/hailo8l-fast/edgefirst.json").read_text())
    assert document["validation"]["score"] == 0.3
    assert "127.5" in (folder / f"build/{MODEL}/hailo8l-fast/model.alls").read_text()


def test_split_hints(folder: Path) -> None:
    def rename(model: onnx.ModelProto) -> None:
        for entry in model.metadata_props:
            if entry.key == "edgefirst":
                assert '"activation"' in entry.value
                entry.value = entry.value.replace('"activation"', '"ignored"')

    edit_onnx(folder / f"models/{MODEL}/{MODEL}.onnx", rename)
    # Without the hint's activation no sigmoid is folded by hint; the walk finds the one in the graph all the same.
    # The hints are part of the record of the cut, so what reads that looks again; nothing is compiled again.
    assert steps_after(folder) == ["alls", "calibration", "meta", "parse", "split", "statistics"]


def test_what_is_said_of_the_input(folder: Path) -> None:
    common = ("calibration_count = 8", 'labels = "labels.txt"')
    single_target(folder, MODEL, *common, '[input]\ncolor = "rgb"')
    assert steps_after(folder) == ["split"], "it was rgb already"
    single_target(folder, MODEL, *common, "[input]\nmean = [0, 0, 0]\nstd = [254, 255, 256]")
    assert steps_after(folder) == ALL


def test_hints_that_are_taken_away(folder: Path) -> None:
    def forget(model: onnx.ModelProto) -> None:
        entry = next(e for e in model.metadata_props if e.key == "edgefirst")
        entry.value = entry.value.replace('"split_hints"', '"no_hints"', 1)

    edit_onnx(folder / f"models/{MODEL}/{MODEL}.onnx", forget)
    run = doit(folder)
    assert run.code == 0, run.err
    assert {"split", "calibration", "meta"} <= set(run.steps)
    assert not {"har", "hef"} & set(run.steps), "the script and the network are the same"


def test_weights_in_a_file_beside_the_onnx(folder: Path) -> None:
    path = folder / f"models/{MODEL}/{MODEL}.onnx"
    model = onnx.load(path)
    onnx.save_model(model, path, save_as_external_data=True, location="weights.data", size_threshold=1024)
    assert set(steps_after(folder)) <= {"split", "parse", "meta"}, "the same network"
    weights = path.with_name("weights.data")
    values = np.fromfile(weights, np.float32) * np.float32(1.01)
    values.tofile(weights)
    assert steps_after(folder) == ["alls", "har", "hef", "meta", "parse", "split", "statistics"]


def test_labels_named_for_the_first_time(folder: Path) -> None:
    (folder / "models/shapes-attn/labels.txt").write_text("a\nb\nc\nd\ne\n")
    run = doit(folder)
    assert run.executed == ["split:shapes-attn", "meta:shapes-attn:hailo8l-fast"]


@pytest.mark.parametrize(
    ("output", "step"),
    [
        ("split.onnx", "split"),
        ("split.json", "split"),
        ("calibration.safetensors", "calibration"),
        ("calibration.json", "calibration"),
        ("hailo8l/parsed.har", "parse"),
        ("hailo8l/statistics.npz", "statistics"),
        ("hailo8l-fast/model.alls", "alls"),
        ("hailo8l-fast/compile.alls", "alls"),
        ("hailo8l-fast/model.har", "har"),
        ("hailo8l-fast/model.hef", "hef"),
        ("hailo8l-fast/edgefirst.json", "meta"),
        ("hailo8l-fast/model+meta.hef", "meta"),
    ],
)
def test_an_output_deleted_or_damaged(folder: Path, output: str, step: str) -> None:
    path = folder / "build" / MODEL / output
    good = path.read_bytes()
    path.unlink()
    assert steps_after(folder) == [step]
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert steps_after(folder) == [step]
    assert path.read_bytes() == good


def test_an_edited_setting(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.build_rules]\nskip_broken_images = true\n")
    run = doit(folder)
    assert run.steps == ["calibration", "calibration"], "both models read the setting; equal bytes end it there"
    single_target(folder, MODEL, "calibration_count = 7", 'labels = "labels.txt"')
    assert steps_after(folder) == ["alls", "calibration", "har", "hef", "meta", "statistics"]


def test_source_date_epoch_is_metadata_only(folder: Path) -> None:
    run = doit(folder, SOURCE_DATE_EPOCH="1700000000")
    assert run.steps == ["meta", "meta"]
    document = (folder / f"build/{MODEL}/hailo8l-fast/edgefirst.json").read_text()
    assert '"timestamp": "2023-11-14T22:13:20Z"' in document
    assert doit(folder).steps == ["meta", "meta"]
