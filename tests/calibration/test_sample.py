"""One real sample, as the network takes it: from a snapshot or from images, or none at all."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from build_rules.calibration import sample
from build_rules.calibration.pixels.adaptor import convert
from build_rules.calibration.pixels.images import decode
from build_rules.calibration.pixels.letterbox import fit, place
from build_rules.calibration.sample import read_sample
from build_rules.records.choices import AUTOMATIC
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import load_split
from build_rules.steps import split
from tests.calibration.snapshot.test_snapshot_file import PIXELS, store
from tests.graph.graphs import CLASSES, Builder

SHAPE = (3, 6, 4)
UNIT = Normalization(1 / 255, (0.0,) * 3, (1.0,) * 3)
IMAGENET = Normalization(1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def draw(path: Path, seed: int = 0, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def by_hand(pixels: NDArray[np.uint8], normalization: Normalization) -> NDArray[np.float64]:
    """What the metadata's formula gives for pixels (C, H, W), channel by channel."""
    planes = zip(pixels.astype(np.float64), normalization.mean, normalization.std, strict=True)
    return np.stack([(plane * normalization.scale - mean) / std for plane, mean, std in planes])[None]


def check(found: NDArray[np.float32] | None, expected: NDArray[np.float64]) -> None:
    assert found is not None
    assert (found.dtype.name, found.shape) == ("float32", expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


# From a snapshot.


def test_a_snapshot_gives_its_first_sample_by_its_own_normalization(tmp_path: Path) -> None:
    """(pixel * 0.5 - (1, 2, 3)) / (1, 1, 2), whatever the metadata of the model says."""
    path = store(tmp_path / "calibration.safetensors")
    own = Normalization(0.5, (1.0, 2.0, 3.0), (1.0, 1.0, 2.0))
    check(read_sample(path, SHAPE, "letterbox", IMAGENET), by_hand(PIXELS[0], own))


def test_a_snapshot_of_scaled_samples_is_not_scaled_again(tmp_path: Path) -> None:
    scaled = (PIXELS / 255).astype(np.float32)
    digest = hashlib.sha256(scaled.tobytes()).hexdigest()
    tensors: dict[str, NDArray[Any]] = {"images": scaled}
    changes = {"dtype": "float32", "value_range": "[0.0, 1.0]", "content_sha256": digest}
    path = store(tmp_path / "calibration.safetensors", tensors, **changes)
    own = Normalization(1 / 255, (1.0, 2.0, 3.0), (1.0, 1.0, 2.0))
    check(read_sample(path, SHAPE, "letterbox", UNIT), by_hand(PIXELS[0], own))


def test_of_a_snapshot_for_several_inputs_the_one_that_is_asked_for(tmp_path: Path) -> None:
    tensors: dict[str, NDArray[Any]] = {"images": PIXELS, "mask": PIXELS + 1}
    path = store(tmp_path / "calibration.safetensors", tensors, tensor_names='["mask", "images"]')
    own = Normalization(0.5, (1.0, 2.0, 3.0), (1.0, 1.0, 2.0))
    check(read_sample(path, SHAPE, "letterbox", IMAGENET, name="images"), by_hand(PIXELS[0], own))
    assert read_sample(path, SHAPE, "letterbox", IMAGENET, name="other") is None


def test_of_several_snapshots_the_first_that_fits(tmp_path: Path) -> None:
    (tmp_path / "calibration-a.safetensors").write_bytes(b"broken")
    other: dict[str, NDArray[Any]] = {"images": PIXELS[:, :, :5].copy()}
    store(tmp_path / "calibration-b.safetensors", other)
    store(tmp_path / "calibration-c.safetensors", {"images": PIXELS + 1})
    found = read_sample(tmp_path, SHAPE, "letterbox", UNIT)
    check(found, by_hand((PIXELS + 1)[0], Normalization(0.5, (1.0, 2.0, 3.0), (1.0, 1.0, 2.0))))


@pytest.mark.parametrize("shape", [(3, 4, 6), (1, 6, 4), (4, 6, 4), (3, 6, 5)])
def test_a_snapshot_of_another_shape_gives_none(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    path = store(tmp_path / "calibration.safetensors")
    assert read_sample(path, shape, "letterbox", UNIT) is None


# From images.


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize("normalization", [UNIT, IMAGENET, Normalization(1 / 127.5, (1.0,) * 3, (1.0,) * 3)])
def test_an_image_is_fitted_and_normalized(tmp_path: Path, resize: str, normalization: Normalization) -> None:
    path = draw(tmp_path / "pool" / "a.png")
    fitted = fit(decode(path), place((9, 7), SHAPE[1:], resize)).transpose(2, 0, 1)
    check(read_sample(tmp_path / "pool", SHAPE, resize, normalization), by_hand(fitted, normalization))


def test_of_tiles_the_whole_frame_is_shown(tmp_path: Path) -> None:
    draw(tmp_path / "pool" / "a.png")
    tiled, whole = (read_sample(tmp_path / "pool", SHAPE, resize, UNIT) for resize in ("tiled", "letterbox"))
    assert tiled is not None
    np.testing.assert_array_equal(tiled, whole)


def test_the_first_image_is_taken_and_always_the_same(tmp_path: Path) -> None:
    for number in range(3):
        draw(tmp_path / "pool" / f"{number}.png", number)
    first = read_sample(tmp_path / "pool", SHAPE, "stretch", UNIT)
    draw(tmp_path / "alone" / "0.png", 0)
    alone = read_sample(tmp_path / "alone", SHAPE, "stretch", UNIT)
    assert first is not None
    np.testing.assert_array_equal(first, alone)


def broken(path: Path) -> None:
    path.write_bytes(draw(path).read_bytes()[:60])


def empty(path: Path) -> None:
    path.touch()


def text(path: Path) -> None:
    path.write_text("not an image")


@pytest.mark.parametrize("make", [broken, empty, text])
def test_a_first_image_that_cannot_be_decoded_is_passed_over(tmp_path: Path, make: Any) -> None:
    pool = tmp_path / "pool"
    path = draw(pool / "b.png", 1)
    make(pool / "a.png")
    fitted = fit(decode(path), place((9, 7), SHAPE[1:], "stretch")).transpose(2, 0, 1)
    check(read_sample(pool, SHAPE, "stretch", UNIT), by_hand(fitted, UNIT))


def test_a_pool_that_is_refused_gives_none(tmp_path: Path) -> None:
    draw(tmp_path / "pool" / "b.png", 1)
    (tmp_path / "pool" / "a.png").symlink_to("gone.png")
    assert read_sample(tmp_path / "pool", SHAPE, "stretch", UNIT) is None


@pytest.mark.parametrize("calibration", ["photos.txt", "*/*.png"])
def test_lists_and_patterns_are_images_too(tmp_path: Path, calibration: str) -> None:
    path = draw(tmp_path / "pool" / "b.png", 1)
    (tmp_path / "photos.txt").write_text("pool/b.png\n")
    fitted = fit(decode(path), place((9, 7), SHAPE[1:], "stretch")).transpose(2, 0, 1)
    check(read_sample(tmp_path / calibration, SHAPE, "stretch", UNIT), by_hand(fitted, UNIT))


def test_a_pool_of_broken_images_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    for number in range(100):
        (pool / f"{number:03}.png").touch()
    draw(pool / "zzz.png")
    tried: list[Path] = []

    def counted(path: Path) -> NDArray[np.uint8]:
        tried.append(path)
        return decode(path)

    monkeypatch.setattr(sample, "decode", counted)
    assert read_sample(pool, SHAPE, "letterbox", UNIT) is None
    assert len(tried) == sample.MAX_TRIED


def test_a_grey_image_is_one_of_three_equal_channels(tmp_path: Path) -> None:
    draw(tmp_path / "pool" / "a.png", mode="L")
    found = read_sample(tmp_path / "pool", SHAPE, "stretch", UNIT)
    assert found is not None
    np.testing.assert_array_equal(found[:, :1], found[:, 1:2])


@pytest.mark.parametrize(("color", "channels"), [("bgr", 3), ("grey", 1), ("yuyv", 2), ("rgba", 4)])
def test_an_image_in_the_colours_of_the_network(tmp_path: Path, color: str, channels: int) -> None:
    image = decode(draw(tmp_path / "pool" / "a.png"))
    flat = Normalization(1 / 255, (0.0,) * channels, (1.0,) * channels)
    found = read_sample(tmp_path / "pool", (channels, 6, 4), "stretch", flat, color)
    check(found, by_hand(convert(fit(image, place((9, 7), (6, 4), "stretch")), color), flat))
    assert read_sample(tmp_path / "pool", (channels, 6, 4), "stretch", flat, None) is None


@pytest.mark.parametrize("channels", [1, 4])
def test_images_for_a_network_of_other_channels_give_none(tmp_path: Path, channels: int) -> None:
    draw(tmp_path / "pool" / "a.png")
    flat = Normalization(1 / 255, (0.0,) * channels, (1.0,) * channels)
    assert read_sample(tmp_path / "pool", (channels, 6, 4), "letterbox", flat) is None


# Nothing to read.


@pytest.mark.parametrize("name", ["absent", "absent.safetensors", "empty", "notes", "text.safetensors", "leaving"])
def test_without_anything_usable_there_is_none(tmp_path: Path, name: str) -> None:
    """What is wrong with it is told by the step that calibrates."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("x")
    (tmp_path / "text.safetensors").write_text("x")
    (tmp_path / "leaving").mkdir()
    (tmp_path / "leaving" / "a.png").symlink_to(draw(tmp_path / "outside.png"))
    assert read_sample(tmp_path / name, SHAPE, "letterbox", UNIT) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_snapshot_that_may_not_be_read_gives_none(tmp_path: Path) -> None:
    path = store(tmp_path / "calibration.safetensors")
    path.chmod(0)
    assert read_sample(path, SHAPE, "letterbox", UNIT) is None


def test_a_folder_with_the_name_of_a_snapshot_gives_none(tmp_path: Path) -> None:
    (tmp_path / "calibration.safetensors").mkdir()
    assert read_sample(tmp_path, SHAPE, "letterbox", UNIT) is None


# Through the step.


def network(folder: Path, *image: int, kind: int = TensorProto.FLOAT, **validation: str) -> Path:
    """A network whose map is 8 times smaller than its image [1, 3, 32, 64] or [1, 32, 64, 3]."""
    b = Builder(image=image)
    b.inputs = [helper.make_tensor_value_info("image", kind, list(image))]
    name = "image" if image[1] == 3 else b.op("Transpose", "image", perm=[0, 3, 1, 2])
    name = name if kind == TensorProto.FLOAT else b.op("Cast", name, to=TensorProto.FLOAT)
    b.op("Sigmoid", b.reshape(b.conv(name, 3, CLASSES, 8, "map"), image[0], CLASSES, -1), name="output0")
    model = b.model("output0")
    metadata = json.dumps({"schema_version": 2, "validation": validation})
    labels = json.dumps([f"class {number}" for number in range(CLASSES)])
    helper.set_model_props(model, {"edgefirst": metadata, "labels": labels})
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def proven_inputs(folder: Path, onnx: Path, calibration: Path) -> int:
    split.run(onnx, folder / "s.onnx", folder / "s.json", "m", AUTOMATIC, None, str(calibration))
    proof = load_split(folder / "s.json").proof
    assert proof is not None
    return proof.inputs


@pytest.mark.parametrize("image", [(1, 3, 32, 64), (1, 32, 64, 3), (2, 3, 32, 64), (2, 32, 64, 3)])
@pytest.mark.parametrize("normalization", ["unsigned", "imagenet"])
def test_the_proof_is_over_a_real_image_too(tmp_path: Path, image: tuple[int, ...], normalization: str) -> None:
    draw(tmp_path / "pool" / "a.png")
    onnx = network(tmp_path, *image, normalization=normalization)
    assert proven_inputs(tmp_path, onnx, tmp_path / "pool") == 2


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.UINT8])
def test_the_proof_takes_images_in_the_networks_own_type(tmp_path: Path, kind: int) -> None:
    draw(tmp_path / "pool" / "a.png")
    onnx = network(tmp_path, 1, 3, 32, 64, kind=kind, normalization="raw")
    assert proven_inputs(tmp_path, onnx, tmp_path / "pool") == 2


def test_the_proof_does_without_calibration_that_is_not_usable(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "a.png").touch()
    assert proven_inputs(tmp_path, network(tmp_path, 1, 3, 32, 64), tmp_path / "pool") == 1


def test_which_sample_it_was_does_not_show(tmp_path: Path) -> None:
    onnx, contents = network(tmp_path, 1, 3, 32, 64), []
    for seed in (1, 2):
        draw(tmp_path / "pool" / "a.png", seed)
        proven_inputs(tmp_path, onnx, tmp_path / "pool")
        contents.append((tmp_path / "s.json").read_bytes())
    assert contents[0] == contents[1]
