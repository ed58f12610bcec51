"""A folder becomes a snapshot whose bytes depend on the parameters and the selected pixels, and on nothing else."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from build_rules.calibration import fitted
from build_rules.calibration.pixels import images
from build_rules.calibration.pixels.adaptor import convert
from build_rules.calibration.pixels.image_file import ImageFile
from build_rules.calibration.pixels.images import decode
from build_rules.calibration.pixels.letterbox import fit, place
from build_rules.calibration.produce import produce_snapshot
from build_rules.calibration.snapshot.geometry import check_geometry
from build_rules.calibration.snapshot.parameters import Parameters, file_name
from build_rules.calibration.snapshot.snapshot_file import open_snapshot, samples, verify_content
from build_rules.errors import InputError
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import TileGrid, Tiling
from tests.opens import opens
from tests.shared import SHARED, needs_shared

UNIT = Normalization(0.00392156863, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
SMALL = Parameters(input_shape=(32, 48), normalization=UNIT, count=6)


def draw(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(8, 60, 2)
    middle = rng.uniform(40, 200, 3)
    pixels = rng.normal(middle, rng.uniform(5, 40), (height, width, 3)).clip(0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    for number in range(24):
        draw(tmp_path / "pool" / f"{number:03}.png", number)
    return tmp_path / "pool"


def test_the_parameter_set_hashes_like_a_published_one() -> None:
    # Name and members of a snapshot that another program wrote.
    published = Parameters(
        input_shape=(320, 320), normalization=UNIT, dataset_id="ds-1c8", annotation_set_id="as-1c8", count=16, seed=42
    )
    assert file_name(published) == "calibration-ds-1c8-6954670bc1c66a4a.safetensors"
    assert file_name(SMALL) == f"calibration-local-{SMALL.param_hash}.safetensors"


def test_whole_numbers_hash_alike_however_they_are_written() -> None:
    as_integers = Normalization(0.00392156863, (0, 0, 0), (1, 1, 1))
    assert dataclasses.replace(SMALL, normalization=as_integers).param_hash == SMALL.param_hash


def test_every_parameter_changes_the_hash() -> None:
    changes: list[dict[str, Any]] = [
        {"input_shape": (48, 32)},
        {"normalization": Normalization(1.0, (0, 0, 0), (1, 1, 1))},
        {"dataset_id": "ds-1"},
        {"annotation_set_id": "as-1"},
        {"split": "val"},
        {"resize": "stretch"},
        {"color": "bgr"},
        {"full_frame": True},
        {"count": 7},
        {"seed": 43},
    ]
    hashes = {dataclasses.replace(SMALL, **change).param_hash for change in changes}
    assert len(hashes | {SMALL.param_hash}) == len(changes) + 1


@pytest.mark.parametrize(
    "change",
    [
        {"input_shape": (0, 32)},
        {"input_shape": (True, 32)},
        {"input_shape": (32,)},
        {"count": 0},
        {"count": True},
        {"resize": "tiled"},
        {"channels": 1},
        {"layout": "NHWC"},
        {"dtype": "float32"},
        {"color": "nv12"},
        {"full_frame": 2},
        {"selection": "random"},
        {"dataset_id": "../x"},
        {"dataset_id": ""},
        {"normalization": Normalization(0.0, (0, 0, 0), (1, 1, 1))},
        {"normalization": Normalization(1.0, (0, 0), (1, 1))},
        {"normalization": Normalization(1.0, (0, float("nan"), 0), (1, 1, 1))},
    ],
)
def test_impossible_parameters_are_named(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        dataclasses.replace(SMALL, **change)


def test_the_snapshot_says_what_it_is_and_holds_the_selected_pictures(pool: Path, tmp_path: Path) -> None:
    summary = produce_snapshot(pool, SMALL, tmp_path / "out.safetensors", "images")
    snapshot = open_snapshot(summary.path)
    verify_content(snapshot)
    assert (snapshot.count, summary.chosen.pool, summary.chosen.left_out) == (6, 24, ())
    assert snapshot == summary.snapshot
    assert snapshot.param_hash == SMALL.param_hash
    assert snapshot.normalization == UNIT
    check_geometry(snapshot.params, snapshot.tensors[0].shape, (32, 48))
    assert list(summary.selected) == sorted(summary.selected)
    for name, sample in zip(summary.selected, samples(snapshot), strict=True):
        image = decode(pool / name)
        expected = fit(image, place((image.shape[0], image.shape[1]), (32, 48)))
        np.testing.assert_array_equal(sample.transpose(1, 2, 0), expected)
    required = {"count_requested", "selection", "seed", "producer", "tensor_names"}
    assert required <= snapshot.metadata.keys()
    assert not {"pool", "image_ids", "studio_instance"} & snapshot.metadata.keys()
    assert str(tmp_path) not in "".join(snapshot.metadata.values())


def test_stretch_fills_the_input_and_has_no_letterbox_recipe(pool: Path, tmp_path: Path) -> None:
    summary = produce_snapshot(pool, dataclasses.replace(SMALL, resize="stretch"), tmp_path / "x", "images")
    snapshot = open_snapshot(summary.path)
    assert "letterbox" not in snapshot.params
    image = decode(pool / summary.selected[0])
    expected = fit(image, place((image.shape[0], image.shape[1]), (32, 48), "stretch"))
    np.testing.assert_array_equal(samples(snapshot)[0].transpose(1, 2, 0), expected)


def test_threads_and_places_do_not_reach_the_bytes(pool: Path, tmp_path: Path) -> None:
    first = produce_snapshot(pool, SMALL, tmp_path / "a", "images", workers=1).path.read_bytes()
    moved = pool.rename(tmp_path / "elsewhere")
    for number, workers in enumerate((2, 7)):
        again = produce_snapshot(moved, SMALL, tmp_path / f"b{number}", "images", workers=workers)
        assert again.path.read_bytes() == first


def test_an_image_that_is_not_selected_does_not_reach_the_bytes(pool: Path, tmp_path: Path) -> None:
    before = produce_snapshot(pool, SMALL, tmp_path / "a", "images")
    unused = next(name for name in (f"{number:03}.png" for number in range(24)) if name not in before.selected)
    # An ordinary picture, of which the pool has plenty: it neither holds an extremum nor fills a gap.
    Image.open(pool / unused).save(pool / "new.png", compress_level=1)
    after = produce_snapshot(pool, SMALL, tmp_path / "b", "images")
    assert after.chosen.pool == 25
    assert after.selected == before.selected
    assert after.path.read_bytes() == before.path.read_bytes()


def test_a_selected_pixel_does_reach_the_bytes(pool: Path, tmp_path: Path) -> None:
    before = produce_snapshot(pool, SMALL, tmp_path / "a", "images")
    path = pool / before.selected[0]
    pixels = decode(path).copy()
    pixels[: len(pixels) // 2] = pixels[: len(pixels) // 2, ::-1]
    Image.fromarray(pixels).save(path)
    after = produce_snapshot(pool, SMALL, tmp_path / "b", "images")
    assert after.selected == before.selected
    assert after.snapshot.content_sha256 != before.snapshot.content_sha256


def test_a_small_pool_is_used_whole(pool: Path, tmp_path: Path) -> None:
    summary = produce_snapshot(pool, dataclasses.replace(SMALL, count=1000), tmp_path / "x", "images")
    snapshot = open_snapshot(summary.path)
    assert len(summary.selected) == snapshot.count == 24
    assert snapshot.metadata["count_requested"] == "1000"
    assert snapshot.metadata["count_actual"] == "24"


def test_a_broken_image_stops_the_build_or_is_skipped_and_told(pool: Path, tmp_path: Path) -> None:
    whole = produce_snapshot(pool, SMALL, tmp_path / "a", "images")
    (pool / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (pool / "empty.png").touch()
    told = (
        r"pool: 2 images cannot be decoded: broken\.jpg \(.*\), empty\.png \(the file is empty\);.* skip_broken_images"
    )
    with pytest.raises(InputError, match=told):
        produce_snapshot(pool, SMALL, tmp_path / "b", "images")
    assert not (tmp_path / "b").exists()
    summary = produce_snapshot(pool, SMALL, tmp_path / "b", "images", skip_broken=True)
    left = [(outcome.name, outcome.kind) for outcome in summary.chosen.left_out]
    assert left == [("broken.jpg", "broken"), ("empty.png", "broken")]
    assert summary.path.read_bytes() == whole.path.read_bytes()


def test_the_same_file_counts_once(pool: Path, tmp_path: Path) -> None:
    before = produce_snapshot(pool, SMALL, tmp_path / "a", "images")
    (pool / "000.copy.png").write_bytes((pool / "000.png").read_bytes())
    (pool / "nested").mkdir()
    (pool / "nested" / "x.png").write_bytes((pool / "000.png").read_bytes())
    after = produce_snapshot(pool, SMALL, tmp_path / "b", "images")
    assert after.path.read_bytes() == before.path.read_bytes()
    told = [(outcome.name, outcome.kind, outcome.reason) for outcome in after.chosen.left_out]
    same = "the same file as 000.copy.png"  # which comes before 000.png
    assert told == [("000.png", "duplicate", same), ("nested/x.png", "duplicate", same)]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that are decoded from now on, one entry each time."""
    decoded: list[str] = []
    load = images._load

    def counting(file: ImageFile, held: ExitStack) -> Image.Image:
        decoded.append(file.path.name)
        return load(file, held)

    monkeypatch.setattr(images, "_load", counting)
    return decoded


def test_what_was_found_out_before_is_not_found_out_again(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, place = tmp_path / "known.db", tmp_path / "a"
    decoded = counted(monkeypatch)
    first = produce_snapshot(pool, SMALL, place, "images", database=known)
    assert len(decoded) == 24 + 6
    decoded.clear()
    # For another model, from files that lie elsewhere.
    moved = pool.rename(tmp_path / "moved")
    second = produce_snapshot(moved, SMALL, tmp_path / "b", "images", database=known)
    assert decoded == []
    assert second.path.read_bytes() == first.path.read_bytes()
    draw(moved / "new.png", 99)
    third = produce_snapshot(moved, SMALL, tmp_path / "c", "images", database=known)
    assert set(decoded) == {"new.png"}
    fresh = produce_snapshot(moved, SMALL, tmp_path / "d", "images")
    assert third.path.read_bytes() == fresh.path.read_bytes()


@pytest.mark.parametrize(
    "change",
    [{"input_shape": (48, 32)}, {"resize": "stretch"}, {"normalization": Normalization(1.0, (0, 0, 0), (1, 1, 1))}],
)
def test_what_is_remembered_belongs_to_its_recipe(pool: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    known = tmp_path / "known.db"
    produce_snapshot(pool, SMALL, tmp_path / "a", "images", database=known)
    other = dataclasses.replace(SMALL, **change)
    found = produce_snapshot(pool, other, tmp_path / "b", "images", database=known)
    assert found.path.read_bytes() == produce_snapshot(pool, other, tmp_path / "c", "images").path.read_bytes()


def test_a_file_that_was_touched_is_looked_at_again(pool: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.db"
    for path in pool.iterdir():
        os.utime(path)
    time.sleep(0.05)
    first = produce_snapshot(pool, SMALL, tmp_path / "a", "images", database=known)
    path = pool / first.selected[0]
    before, content = path.stat(), path.read_bytes()
    other = pool / next(name for name in first.selected if name != first.selected[0])
    path.write_bytes(other.read_bytes())  # now a duplicate
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = produce_snapshot(pool, SMALL, tmp_path / "b", "images", database=known)
    assert [outcome.kind for outcome in second.chosen.left_out] == ["duplicate"]
    assert second.path.read_bytes() == produce_snapshot(pool, SMALL, tmp_path / "c", "images").path.read_bytes()
    path.write_bytes(content)
    third = produce_snapshot(pool, SMALL, tmp_path / "d", "images", database=known)
    assert third.path.read_bytes() == first.path.read_bytes()


def test_times_that_lie_hide_no_other_pixels(pool: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.db"
    for path in pool.iterdir():
        os.utime(path, ns=(0, 0))
    produce_snapshot(pool, SMALL, tmp_path / "a", "images", database=known)
    for number, path in enumerate(sorted(pool.iterdir())):
        draw(path, 500 + number)
        os.utime(path, ns=(0, 0))
    found = produce_snapshot(pool, SMALL, tmp_path / "b", "images", database=known)
    assert found.path.read_bytes() == produce_snapshot(pool, SMALL, tmp_path / "c", "images").path.read_bytes()


@pytest.mark.parametrize("count", [12, 24])
def test_a_file_that_changes_while_it_is_read_poisons_nothing(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """An image is replaced after its digest was computed: its own pixels are used, or the run fails."""
    parameters, known = dataclasses.replace(SMALL, count=count), tmp_path / "known.db"
    first = produce_snapshot(pool, parameters, tmp_path / "a", "images")
    clean, path = first.path.read_bytes(), pool / first.selected[0]
    content, other = path.read_bytes(), (pool / first.selected[1]).read_bytes()
    load = images._load

    def replacing(file: ImageFile, held: ExitStack) -> Image.Image:
        if file.path == path:
            path.with_suffix(".new").write_bytes(other)
            path.with_suffix(".new").replace(path)
        return load(file, held)

    monkeypatch.setattr(images, "_load", replacing)
    if count < 24:
        with pytest.raises(InputError, match=rf"{path.name}: changed while it was read"):
            produce_snapshot(pool, parameters, tmp_path / "b", "images", database=known)
    else:
        assert produce_snapshot(pool, parameters, tmp_path / "b", "images", database=known).path.read_bytes() == clean
    monkeypatch.setattr(images, "_load", load)
    path.write_bytes(content)
    again = produce_snapshot(pool, parameters, tmp_path / "c", "images", database=known)
    assert again.path.read_bytes() == clean


def test_each_image_is_opened_for_its_digest_and_for_its_pixels(pool: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.db"
    with opens() as counts:
        chosen = produce_snapshot(pool, SMALL, tmp_path / "a", "images", database=known).selected
    assert {path.name: counts[path] for path in pool.iterdir()} == {
        path.name: 2 if path.name in chosen else 1 for path in pool.iterdir()
    }
    with opens() as counts:
        produce_snapshot(pool, SMALL, tmp_path / "b", "images", database=known)
    assert {counts[path] for path in pool.iterdir()} == {1}


@pytest.mark.parametrize("tiled", [False, True])
def test_what_is_sure_to_be_wanted_is_decoded_once(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiled: bool
) -> None:
    """A pool that is selected whole; of a tiled model the images that were selected for their extremes."""
    parameters = TILED if tiled else dataclasses.replace(SMALL, count=24)
    decoded = counted(monkeypatch)
    with opens() as counts:
        once = produce_snapshot(pool, parameters, tmp_path / "a", "images").path.read_bytes()
    assert {counts[path] for path in pool.iterdir()} == ({1, 2} if tiled else {1})
    assert len(decoded) == 24 + (6 if tiled else 0)
    # Where memory holds three samples, the others are made in their turn.
    monkeypatch.setattr(fitted, "KEPT_BYTES", 3 * 3 * 32 * 48)
    decoded.clear()
    assert produce_snapshot(pool, parameters, tmp_path / "b", "images").path.read_bytes() == once
    if not tiled:
        assert len(decoded) == 2 * 24 - 3


def test_broken_images_are_decoded_once(pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (pool / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    known = tmp_path / "known.db"
    first = produce_snapshot(pool, SMALL, tmp_path / "a", "images", database=known, skip_broken=True)
    read = counted(monkeypatch)
    second = produce_snapshot(pool, SMALL, tmp_path / "b", "images", database=known, skip_broken=True)
    assert (read, second.chosen.left_out) == ([], first.chosen.left_out)
    with pytest.raises(InputError, match=r"pool: 1 image cannot be decoded: broken\.jpg \("):
        produce_snapshot(pool, SMALL, tmp_path / "c", "images", database=known)


def test_an_empty_pool(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of its 0 images"):
        produce_snapshot(tmp_path, SMALL, tmp_path / "x", "images", pool=())


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "other", "pipe"])
def test_a_sample_that_is_no_longer_what_it_was_is_made_again(pool: Path, tmp_path: Path, damage: str) -> None:
    known, old = tmp_path / "known.db", tmp_path / "a"
    whole = produce_snapshot(pool, SMALL, old, "images", database=known).path.read_bytes()
    if damage == "changed":
        old.write_bytes(bytes([*whole[:-1], whole[-1] ^ 1]))
    elif damage == "cut":
        old.write_bytes(whole[:-1])
    elif damage == "other":
        old.write_bytes(bytes(len(whole)))
    else:
        old.unlink()
    if damage == "pipe":
        os.mkfifo(old)
    assert produce_snapshot(pool, SMALL, tmp_path / "b", "images", database=known).path.read_bytes() == whole


GRID = TileGrid("evendist", 1, 0.1)
TILED = dataclasses.replace(SMALL, input_shape=(16, 16), resize="tiled", grid=GRID, full_frame=True)


def test_tiles(pool: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.db"
    summary = produce_snapshot(pool, TILED, tmp_path / "a", "images", database=known)
    snapshot = open_snapshot(summary.path)
    check_geometry(
        snapshot.params,
        snapshot.tensors[0].shape,
        (16, 16),
        Tiling("tiled", full_frame=True),
    )
    assert snapshot.count == sum(image.samples for image in summary.chosen.images) >= 2 * 6
    assert snapshot.metadata["count_requested"] == "6"
    stored = samples(snapshot)
    # The extremes of the pool are extremes of the file, pixel by pixel.
    everything = np.concatenate([decode(path).reshape(-1, 3) for path in sorted(pool.iterdir())])
    assert (stored.min(axis=(0, 2, 3)) == everything.min(axis=0)).all()
    assert (stored.max(axis=(0, 2, 3)) == everything.max(axis=0)).all()
    last = summary.chosen.images[-1]
    image = decode(pool / last.name)
    whole = fit(image, place((image.shape[0], image.shape[1]), (16, 16)))
    np.testing.assert_array_equal(stored[-1].transpose(1, 2, 0), whole)
    again = produce_snapshot(pool, TILED, tmp_path / "b", "images", database=known)
    assert again.path.read_bytes() == summary.path.read_bytes()


@pytest.mark.parametrize(("color", "channels"), [("bgr", 3), ("grey", 1), ("rgba", 4), ("bgra", 4), ("yuyv", 2)])
def test_camera_adaptors(pool: Path, tmp_path: Path, color: str, channels: int) -> None:
    normalization = Normalization(1 / 255, (0.0,) * channels, (1.0,) * channels)
    parameters = dataclasses.replace(SMALL, color=color, channels=channels, normalization=normalization)
    known = tmp_path / "known.db"
    produce_snapshot(pool, SMALL, tmp_path / "rgb", "images", database=known)
    summary = produce_snapshot(pool, parameters, tmp_path / "a", "images", database=known)
    name, stored = summary.selected[0], samples(open_snapshot(summary.path))
    image = decode(pool / name)
    fitted = fit(image, place((image.shape[0], image.shape[1]), (32, 48)))
    np.testing.assert_array_equal(stored[0], convert(fitted, color))
    assert len(summary.pictures) == 6


def test_every_choice_has_its_reason(pool: Path, tmp_path: Path) -> None:
    many = dataclasses.replace(SMALL, count=12)
    chosen = produce_snapshot(pool, many, tmp_path / "a", "images").chosen
    assert sorted(image.order for image in chosen.images) == list(range(12))
    assert chosen.snapshot == file_name(many)
    told = [part for image in chosen.images for part in image.why.split(", ")]
    everything = np.concatenate([decode(path).reshape(-1, 3) for path in pool.iterdir()])
    for channel, word in enumerate(("red", "green", "blue")):
        assert f"{word} minimum {everything[:, channel].min()}" in told
        assert f"{word} maximum {everything[:, channel].max()}" in told
    assert any(re.fullmatch(r"closer to the pool's histogram: [\d.]+ -> [\d.]+", part) for part in told)


def test_how_far_it_is(pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("build_rules.calibration.pool.ordered.TELL_SECONDS", 0.0)
    told: list[str] = []
    produce_snapshot(pool, SMALL, tmp_path / "a", "images", tell=told.append)
    assert len(told) == 24 + 6
    assert re.fullmatch(r"12 of 24 images, [\d,]+ a second, 0 s left", told[11])
    assert re.fullmatch(r"6 of 6 selected images, [\d,]+ a second, 0 s left", told[-1])


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "x.png").touch()
    with pytest.raises(InputError, match="none of its 1 images"):
        produce_snapshot(tmp_path / "pool", SMALL, tmp_path / "x", "images", skip_broken=True)


def test_importing_the_room_is_free() -> None:
    code = "import sys, build_rules.calibration; sys.exit('numpy' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@needs_shared
def test_real_photographs(tmp_path: Path) -> None:
    parameters = Parameters(input_shape=(320, 320), normalization=UNIT, count=8)
    summary = produce_snapshot(SHARED / "images", parameters, tmp_path / file_name(parameters), "images")
    verify_content(open_snapshot(summary.path))
    assert (len(summary.selected), summary.chosen.pool) == (8, 24)
