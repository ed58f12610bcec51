"""What the trainer's document says about pixels."""

from __future__ import annotations

from typing import Any

import pytest

from build_rules.errors import InputError
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import Preprocessing, TileGrid, Tiling
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.preprocessing import read_preprocessing


def test_silence_means_letterbox_and_unit_range() -> None:
    assert read_preprocessing(TrainerDocument(), 3) == Preprocessing(
        "letterbox", Normalization(1 / 255, (0.0,) * 3, (1.0,) * 3)
    )
    assert read_preprocessing(TrainerDocument({"validation": None}), 1) == Preprocessing(
        "letterbox", Normalization(1 / 255, (0.0,), (1.0,)), color="grey"
    )


def test_signed_pixels_reach_from_minus_one_to_one() -> None:
    pixels = read_preprocessing(TrainerDocument({"validation": {"normalization": "signed"}}), 1).normalization
    assert [(pixel * pixels.scale - pixels.mean[0]) / pixels.std[0] for pixel in (0, 255)] == [-1.0, 1.0]


def test_tiling_decides_the_geometry() -> None:
    tiled = read_preprocessing(
        TrainerDocument({"tiling": {"version": 1, "mode": "tiled", "full_frame": {"enabled": True}}}), 3
    )
    assert (tiled.resize, tiled.tiling) == ("tiled", Tiling("tiled", full_frame=True))
    whole = read_preprocessing(
        TrainerDocument({"tiling": {"version": 1, "mode": "whole_frame"}, "validation": {"preprocessing": "stretch"}}),
        3,
    )
    assert (whole.resize, whole.tiling) == ("letterbox", Tiling("whole_frame"))


def tiling_of(section: dict[str, Any]) -> Tiling | None:
    return read_preprocessing(TrainerDocument({"tiling": section}), 3).tiling


def test_the_grid_of_tiles() -> None:
    grid = {"algorithm": "evendist", "version": 1, "min_overlap": 0.1, "note": "more"}
    tiling = {"version": 1, "mode": "tiled", "grid": grid, "training": {}}
    assert tiling_of(tiling) == Tiling("tiled", grid=TileGrid("evendist", 1, 0.1))
    newer = {**tiling, "grid": {**grid, "version": 2}}
    assert tiling_of(newer) == Tiling("tiled", grid=TileGrid("evendist", 2, 0.1))


@pytest.mark.parametrize(
    "change", [{"min_overlap": 1}, {"min_overlap": "0.1"}, {"min_overlap": True}, {"version": 1.0}, {"algorithm": None}]
)
def test_a_grid_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    grid = {"algorithm": "evendist", "version": 1, "min_overlap": 0.1, **change}
    with pytest.raises(InputError, match=r"tiling\.grid"):
        read_preprocessing(TrainerDocument({"tiling": {"version": 1, "mode": "tiled", "grid": grid}}), 3)
    with pytest.raises(InputError, match=r"tiling\.grid"):
        read_preprocessing(TrainerDocument({"tiling": {"version": 1, "mode": "tiled", "grid": "evendist"}}), 3)


@pytest.mark.parametrize(
    ("section", "channels", "color"),
    [
        ({}, 3, "rgb"),
        ({}, 1, "grey"),
        ({}, 2, None),
        ({}, 4, None),
        ({"cameraadaptor": "bgr"}, 3, "bgr"),
        ({"cameraadaptor": "YUYV"}, 2, "yuyv"),
        ({"color_adaptor": "rgba"}, 4, "rgba"),
        ({"camera_adaptor": "grey"}, 1, "grey"),
        ({"cameraadaptor": "bgr", "color_adaptor": "rgb"}, 3, "bgr"),
        ("640x640", 3, "rgb"),
    ],
)
def test_the_camera_adaptor(section: Any, channels: int, color: str | None) -> None:
    assert read_preprocessing(TrainerDocument({"input": section}), channels).color == color


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_normalization_has_the_channels_of_the_input(channels: int) -> None:
    pixels = read_preprocessing(TrainerDocument({"validation": {"normalization": "signed"}}), channels).normalization
    assert len(pixels.mean) == len(pixels.std) == channels


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"validation": {"normalization": "zscore"}}, "validation.normalization = 'zscore'.*unsigned"),
        ({"validation": {"preprocessing": "crop"}}, "validation.preprocessing = 'crop'.*letterbox, stretch"),
        ({"validation": {"normalization": "imagenet"}}, "imagenet"),
        ({"tiling": {"version": 2, "mode": "tiled"}}, "only the integer 1"),
        ({"input": {"cameraadaptor": "nv12"}}, "input.cameraadaptor = 'nv12'.*rgb, bgr"),
        ({"input": {"cameraadaptor": ["rgb"]}}, "input.cameraadaptor = .*rgb, bgr"),
        ({"input": {"cameraadaptor": "rgb"}}, "'rgb', which has 3 channels, but the network's input has 1"),
    ],
)
def test_unknown_words_are_refused(document: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_preprocessing(TrainerDocument(document), 1)
