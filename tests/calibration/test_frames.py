"""What one frame contributes: which tiles, in which order, and their pixels."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build_rules.calibration.frames import FramePlan, cut_samples, first_position, plan_frame
from build_rules.calibration.pixels.adaptor import convert
from build_rules.calibration.pixels.letterbox import PAD, fit, place
from build_rules.calibration.pixels.tiles import grid
from build_rules.calibration.pool.select import describe, max_dynamic_range_v1
from build_rules.calibration.snapshot.geometry import check_geometry
from build_rules.calibration.snapshot.parameters import Parameters, file_name
from build_rules.calibration.snapshot.snapshot_file import open_snapshot, samples, write_snapshot
from build_rules.errors import InputError
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import TileGrid, Tiling

UNIT = Normalization(1 / 255, (0.0,) * 3, (1.0,) * 3)
WHOLE = Parameters((40, 60), UNIT)
TILED = replace(WHOLE, resize="tiled", grid=TileGrid("evendist", 1, 0.25))


def picture(height: int, width: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(1, 255, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_without_tiles_a_frame_is_one_sample(resize: str) -> None:
    image, parameters = picture(33, 71), replace(WHOLE, resize=resize)
    plan = plan_frame((33, 71), parameters, 5, [(3, 4)])
    assert plan == FramePlan((), True)
    assert len(plan) == 1
    (sample,) = cut_samples(image, plan, parameters)
    np.testing.assert_array_equal(sample.transpose(1, 2, 0), fit(image, place((33, 71), (40, 60), resize)))


def test_a_letterboxed_model_that_runs_whole_frames_has_them_once() -> None:
    assert len(plan_frame((33, 71), replace(WHOLE, full_frame=True), 5)) == 1


def test_another_frame_draws_one_tile() -> None:
    tiles = grid((200, 300), (40, 60), 0.25)
    drawn = {}
    for position in range(200):
        plan = plan_frame((200, 300), TILED, position)
        digest = hashlib.sha256(f"42:{position}".encode()).hexdigest()
        assert plan == FramePlan((int(digest, 16) % len(tiles),), False)
        drawn[position] = plan.tiles[0]
    assert len(set(drawn.values())) > len(tiles) / 2
    # Known values: the choice may never change, on any machine.
    assert [drawn[position] for position in range(6)] == [39, 47, 45, 9, 26, 32]
    assert plan_frame((200, 300), replace(TILED, seed=43), 0) != plan_frame((200, 300), TILED, 0)


def test_tiles_of_extremes_come_once_and_ascending() -> None:
    tiles = grid((200, 300), (40, 60), 0.25)
    extremes = [(199, 299), (0, 0), (1, 2), (100, 150)]
    plan = plan_frame((200, 300), replace(TILED, full_frame=True), 7, extremes)
    assert plan.tiles == (0, tiles.first_holding(100, 150), len(tiles) - 1)
    assert plan.whole_frame
    assert len(plan) == 4


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 130), st.integers(1, 130), st.booleans(), st.integers(0, 10_000))
def test_the_extreme_pixel_is_in_the_snapshot(height: int, width: int, full_frame: bool, seed: int) -> None:
    image = picture(height, width, seed)
    rng = np.random.default_rng(seed)
    row, column = int(rng.integers(height)), int(rng.integers(width))
    image[row, column, 1] = 255
    parameters = replace(TILED, full_frame=full_frame)
    position = first_position(image, 1, 255)
    assert position == (row, column)
    plan = plan_frame((height, width), parameters, 0, [position])
    cut = cut_samples(image, plan, parameters)
    assert len(cut) == len(plan) == 1 + full_frame
    for sample in cut:
        assert sample.shape == (3, 40, 60)
        assert sample.flags.c_contiguous
    if height >= 40 and width >= 60:
        tile = grid((height, width), (40, 60), 0.25).tile(plan.tiles[0])
        cropped = image[tile.top : tile.top + 40, tile.left : tile.left + 60]
        np.testing.assert_array_equal(cut[0].transpose(1, 2, 0), cropped)
        assert cut[0][1].max() == 255
    if full_frame:
        np.testing.assert_array_equal(cut[-1].transpose(1, 2, 0), fit(image, place((height, width), (40, 60))))


def test_a_frame_narrower_than_a_tile_is_letterboxed_into_it() -> None:
    image = picture(200, 30)
    plan = plan_frame((200, 30), TILED, 3)
    (sample,) = cut_samples(image, plan, TILED)
    tile = grid((200, 30), (40, 60), 0.25).tile(plan.tiles[0])
    assert (tile.height, tile.width) == (40, 30)
    np.testing.assert_array_equal(sample[:, :, 15:45].transpose(1, 2, 0), image[tile.top : tile.top + 40])
    assert set(np.unique(sample[:, :, :15])) == {PAD}


def test_colors_are_converted_last() -> None:
    image = picture(10, 60)
    parameters = replace(WHOLE, color="yuyv", channels=2, normalization=Normalization(1 / 255, (0.0,) * 2, (1.0,) * 2))
    (sample,) = cut_samples(image, plan_frame((10, 60), parameters, 0), parameters)
    np.testing.assert_array_equal(sample, convert(fit(image, place((10, 60), (40, 60))), "yuyv"))
    # The border is grey 114 in RGB, so it has no colour in YUV.
    assert sample[1, 0, 0] == 128


def test_first_positions() -> None:
    image = np.full((150, 7, 3), 9, np.uint8)
    image[[70, 70, 149], [6, 3, 0], 2] = 8
    assert first_position(image, 2, 8) == (70, 3)
    assert first_position(image, 0, 9) == (0, 0)
    with pytest.raises(InputError, match="level 8 in channel 0"):
        first_position(image, 0, 8)


def test_a_tiled_snapshot_keeps_the_extremes_of_its_pool_and_fits_the_model(tmp_path: Path) -> None:
    parameters = replace(TILED, count=6, full_frame=True)
    pool = [picture(int(120 + 7 * seed), int(150 + 5 * seed), seed) // 2 + 40 for seed in range(14)]
    pool[3][100, 140] = (0, 255, 10)
    pool[11][5, 5] = (255, 1, 254)
    counts = [np.stack([np.bincount(image[..., c].ravel(), minlength=256) for c in range(3)]) for image in pool]
    plans = []
    for choice in max_dynamic_range_v1([describe(count) for count in counts], parameters.count, parameters.seed):
        image = pool[choice.index]
        extremes = [first_position(image, extreme.channel, extreme.level) for extreme in choice.extremes]
        plans.append((image, plan_frame((image.shape[0], image.shape[1]), parameters, choice.index, extremes)))
    total = sum(len(plan) for _, plan in plans)
    assert total >= 2 * parameters.count
    content = (sample for image, plan in plans for sample in cut_samples(image, plan, parameters))
    path = tmp_path / file_name(parameters)
    metadata = {
        "params": parameters.canonical(),
        "param_hash": parameters.param_hash,
        "tensor_names": '["images"]',
        "dtype": "uint8",
        "value_range": "[0, 255]",
        "layout": "NCHW",
        "normalization": '{"scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]}',
        "count_actual": str(total),
    }
    write_snapshot(path, "images", (total, 3, 40, 60), content, metadata)
    snapshot = open_snapshot(path)
    tiling = Tiling("tiled", full_frame=True)
    geometry = check_geometry(snapshot.params, snapshot.tensors[0].shape, (40, 60), tiling)
    assert geometry.as_mapping() == {"resize": "tiled", "input_shape": [40, 60], "full_frame": True}
    stored = samples(snapshot)
    for channel in range(3):
        assert stored[:, channel].min() == min(image[..., channel].min() for image in pool)
        assert stored[:, channel].max() == max(image[..., channel].max() for image in pool)
