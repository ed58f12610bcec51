"""Builds from snapshots that exist already: used where they lie, found by name, older ones converted."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from build_rules.calibration.snapshot.snapshot_file import canonical_json, hash_params, open_snapshot, verify_content
from tests.chain.conftest import make_workspace
from tests.chain.test_bad_input import edit_document, refused
from tests.doit_runs import doit

MODEL = "models/shapes-det"
BUILT = "build/shapes-det/calibration.safetensors"
NAME = "calibration-ds-1-0123456789abcdef.safetensors"
ALL = ["alls", "calibration", "har", "hef", "meta", "parse", "split", "statistics"]
PIXELS = np.random.default_rng(1).integers(0, 256, (4, 3, 256, 256), dtype=np.uint8)
OTHER = PIXELS // 3
AFTER_PIXELS = ["calibration", "har", "hef", "meta", "statistics"]


def store(path: Path, pixels: NDArray[Any] = PIXELS, name: str = "images", **changes: Any) -> Path:
    """Write a snapshot as a trainer would; `changes` replace members of its string map."""
    tensors = changes.pop("tensors", {name: pixels})
    names = changes.pop("names", [name])
    params = canonical_json({"input_shape": list(pixels.shape[2:]), "resize": "letterbox", "dtype": str(pixels.dtype)})
    metadata = {
        "params": params,
        "param_hash": hash_params(params),
        "tensor_names": json.dumps(names),
        "dtype": str(pixels.dtype),
        "value_range": "[0, 255]" if pixels.dtype == np.uint8 else "[0.0, 1.0]",
        "layout": "NCHW",
        "normalization": '{"mean":[0,0,0],"scale":0.00392156863,"std":[1,1,1]}',
        "content_sha256": hashlib.sha256(b"".join(tensors[key].tobytes() for key in names)).hexdigest(),
        "image_ids": '["a", "b"]',
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {**metadata, **changes})
    return path


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """`shapes-det` with one target and nothing to calibrate from."""
    folder = make_workspace(tmp_path, ("shapes-det",), images=1)
    (folder / MODEL / "model.toml").unlink(missing_ok=True)
    shutil.rmtree(folder / "models/scenes")
    return folder


def steps(folder: Path) -> list[str]:
    run = doit(folder)
    assert run.code == 0, run.err
    assert doit(folder).executed == []
    assert doit(folder, "calibration").executed == []
    return run.steps


def recorded(folder: Path) -> Any:
    return json.loads((folder / "build/shapes-det/calibration.json").read_text())


def test_a_snapshot_is_used_where_it_lies(bare: Path) -> None:
    given = store(bare / MODEL / NAME)
    assert steps(bare) == ALL
    assert (bare / BUILT).samefile(given)
    assert recorded(bare)["file_name"] == NAME
    document = json.loads((bare / "build/shapes-det/hailo8l-fast/edgefirst.json").read_text())
    assert document["hailo"]["calibration"] == NAME
    # Written over in place, under the same inode, and replaced by another file.
    store(bare / "other", OTHER)
    given.write_bytes((bare / "other").read_bytes())
    assert steps(bare) == AFTER_PIXELS
    assert (bare / BUILT).samefile(given)
    given.unlink()
    store(given, PIXELS // 2)
    assert steps(bare) == AFTER_PIXELS
    assert (bare / BUILT).samefile(given)
    moved = bare / "elsewhere" / NAME
    moved.parent.mkdir()
    given.rename(moved)
    (bare / MODEL / "model.toml").write_text(f'calibration = "../../elsewhere/{NAME}"')
    assert steps(bare) == ["calibration"], "the same content under another name"
    assert (bare / BUILT).samefile(moved)


def test_images_after_a_snapshot_leave_the_snapshot_alone(bare: Path) -> None:
    given = store(bare / MODEL / NAME)
    content = given.read_bytes()
    assert doit(bare).code == 0
    (bare / MODEL / "model.toml").write_text('calibration = "../scenes/calibration"\ncalibration_count = 8')
    shutil.copytree(
        Path(__file__).resolve().parents[2] / "models/scenes/calibration", bare / "models/scenes/calibration"
    )
    for image in sorted((bare / "models/scenes/calibration").iterdir())[12:]:
        image.unlink()
    assert "calibration" in steps(bare)
    assert given.read_bytes() == content
    assert given.stat().st_nlink == 1


def test_a_damaged_snapshot_is_refused_and_stays(bare: Path) -> None:
    given = store(bare / MODEL / NAME)
    content = bytearray(given.read_bytes())
    content[-1] ^= 1
    given.write_bytes(content)
    refused(bare, NAME, "content_sha256")
    assert given.read_bytes() == content
    assert not (bare / BUILT).exists()


# Found by the name that the metadata gives.


def names_snapshot(folder: Path, name: Any, place: str = "snapshots") -> None:
    edit_document(folder, lambda document: document.update(calibration=name))
    (folder / "pyproject.toml").write_text(f'[tool.build_rules]\ncalibration_folder = "{place}"\n')


@pytest.mark.parametrize("absolute", [False, True])
def test_the_metadata_name_a_snapshot_in_the_folder(bare: Path, absolute: bool) -> None:
    place = bare / "snapshots"
    names_snapshot(bare, NAME, str(place) if absolute else "snapshots")
    given = store(place / NAME)
    for number in range(20):
        (place / f"calibration-{number}.safetensors").write_bytes(b"never looked at")
    assert steps(bare) == ALL
    assert (bare / BUILT).samefile(given)
    assert recorded(bare)["file_name"] == NAME
    (place / "calibration-3.safetensors").write_bytes(b"changed, and still not looked at")
    assert steps(bare) == []
    store(given, OTHER)
    assert steps(bare) == AFTER_PIXELS


def test_what_lies_beside_the_model_comes_first(bare: Path) -> None:
    names_snapshot(bare, NAME)
    store(bare / "snapshots" / NAME)
    assert doit(bare).code == 0
    beside = store(bare / MODEL / "calibration-own.safetensors", OTHER)
    assert steps(bare) == ["alls", *AFTER_PIXELS], "calibration.json has the name of the snapshot in it"
    assert (bare / BUILT).samefile(beside)
    beside.unlink()
    assert "calibration" in steps(bare)
    assert (bare / BUILT).samefile(bare / "snapshots" / NAME)


def test_a_named_snapshot_that_is_not_there(bare: Path) -> None:
    names_snapshot(bare, NAME)
    refused(bare, "snapshots: there is no such folder", "calibration_folder")
    (bare / "snapshots").mkdir()
    refused(bare, NAME, "neither beside the model nor in snapshots", "`calibration`")
    store(bare / "snapshots" / NAME)
    assert steps(bare)


def test_a_snapshot_that_goes_away_is_missed(bare: Path) -> None:
    names_snapshot(bare, NAME)
    given = store(bare / "snapshots" / NAME)
    assert doit(bare).code == 0
    given.unlink()
    run = doit(bare)
    assert run.code == 3
    assert NAME in run.err


@pytest.mark.parametrize("name", ["../snapshots/x", "\ud800"])  # further ones in tests/calibration/snapshot
def test_a_name_that_leads_elsewhere(bare: Path, name: str) -> None:
    names_snapshot(bare, name)
    (bare / "snapshots").mkdir()
    # A lone surrogate is no text: the document that holds it is refused before its members are looked at.
    refused(bare, *(["'edgefirst'"] if name == "\ud800" else ["not the plain name of a file", "`calibration`"]))


@pytest.mark.parametrize("name", [None, ["x"]])
def test_no_name_at_all(bare: Path, name: Any) -> None:
    refused(bare, MODEL, "there is nothing to calibrate from", "calibration-*.safetensors")
    names_snapshot(bare, name)
    refused(bare, "there is nothing to calibrate from", "calibration-*.safetensors", "snapshots")


def test_the_folder_is_a_setting_of_the_repository(bare: Path) -> None:
    (bare / MODEL / "model.toml").write_text('calibration_folder = "x"')
    refused(bare, "unknown key calibration_folder")


# Scaled samples.


def scaled(pixels: NDArray[np.uint8] = PIXELS) -> NDArray[np.float32]:
    return np.asarray(pixels / 255, np.float32)


def test_scaled_samples_become_pixels(bare: Path) -> None:
    given = store(bare / MODEL / NAME, scaled())
    assert steps(bare) == ALL
    built = open_snapshot(bare / BUILT)
    verify_content(built)
    assert (built.dtype, built.value_range, built.count) == ("uint8", (0.0, 255.0), 4)
    np.testing.assert_array_equal(load_file(bare / BUILT)["images"], PIXELS)
    source = open_snapshot(given)
    assert (built.params, built.param_hash) == (source.params, source.param_hash)
    assert built.metadata["converted_from"] == source.content_sha256
    assert built.metadata["image_ids"] == source.metadata["image_ids"]
    facts = recorded(bare)
    assert (facts["file_name"], facts["scale"]) == (NAME, 0.00392156863)
    # The same pixels as uint8 are the same build, but for the file that it was made from.
    har = bare / "build/shapes-det/hailo8l-fast/model.har"
    before = har.read_bytes()
    store(given)
    assert "calibration" in steps(bare)
    assert har.read_bytes() == before


@pytest.mark.parametrize("value", [float("nan"), 1.001])
def test_values_that_are_not_scaled(bare: Path, value: float) -> None:
    wrong = scaled()
    wrong[2, 1, 7, 9] = value
    store(bare / MODEL / NAME, wrong)
    refused(bare, NAME, "sample 2", "'value_range' is [0, 1]")
    assert not (bare / BUILT).exists()


def test_scaled_samples_that_do_not_say_so(bare: Path) -> None:
    store(bare / MODEL / NAME, scaled(), value_range="[0, 255]")
    refused(bare, NAME, "'value_range'")
    store(bare / MODEL / NAME, scaled(), dtype="uint8", value_range="[0, 255]")
    refused(bare, NAME, "'dtype'")
    store(bare / MODEL / NAME, scaled(), normalization='{"mean":[1,1,1],"scale":0.00784313725,"std":[1,1,1]}')
    refused(bare, NAME, "'normalization' has scale 0.00784313725", "uint8")


# Several inputs.


def test_of_several_tensors_the_models_input(bare: Path) -> None:
    depth = np.zeros((4, 1, 8, 8), np.uint8)
    store(bare / MODEL / NAME, tensors={"images": PIXELS, "depth": depth}, names=["depth", "images"])
    assert steps(bare) == ALL
    har = (bare / "build/shapes-det/hailo8l-fast/model.har").read_bytes()
    (bare / MODEL / NAME).unlink()
    store(bare / MODEL / NAME)
    assert "calibration" in steps(bare)
    assert (bare / "build/shapes-det/hailo8l-fast/model.har").read_bytes() == har


def test_a_tensor_of_another_name_is_not_guessed_at(bare: Path) -> None:
    store(bare / MODEL / NAME, name="image")
    refused(bare, NAME, "tensor_names", "'images'", "image")
