"""The parameter set: its members and hash against a published snapshot, and what cannot be made."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from build_rules.calibration.snapshot.parameters import Parameters, file_name, parameters_for
from build_rules.calibration.snapshot.snapshot_file import open_snapshot
from build_rules.errors import InputError
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import ModelInput, Preprocessing, TileGrid, Tiling
from tests.shared import SHARED, needs_shared

EVENDIST = TileGrid("evendist", 1, 0.1)
TILED = Parameters((64, 96), Normalization(1 / 255, (0.0,) * 3, (1.0,) * 3), resize="tiled", grid=EVENDIST)


@needs_shared
def test_the_hash_of_a_published_snapshot() -> None:
    path = next((SHARED / "corpus").glob("calibration-ds-1c8-*.safetensors"))
    published = open_snapshot(path)
    ours = Parameters(
        (320, 320),
        # The manual rounds to nine digits; so do we.
        Normalization(1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        dataset_id="ds-1c8",
        annotation_set_id="as-1c8",
        count=16,
    )
    assert ours.canonical() == published.metadata["params"]
    assert ours.param_hash == "6954670bc1c66a4a"
    assert file_name(ours) == path.name


def test_members_that_do_not_apply_are_absent() -> None:
    members = TILED.as_mapping()
    assert members["resize"] == "tiled"
    assert members["grid"] == {"algorithm": "evendist", "version": 1, "min_overlap": 0.1}
    assert members["letterbox"]["round"] == "ceil"
    assert "full_frame" not in members
    assert replace(TILED, full_frame=True).as_mapping()["full_frame"] is True
    letterbox = replace(TILED, resize="letterbox", grid=None).as_mapping()
    assert "grid" not in letterbox
    assert "letterbox" not in replace(TILED, resize="stretch", grid=None).as_mapping()


def test_the_hash_is_stable() -> None:
    # Changed hashes orphan every snapshot that was ever made.
    assert TILED.param_hash == "7bc5b151e06d8cbb"
    assert replace(TILED, full_frame=True).param_hash == "23954962508642f8"
    assert replace(TILED, color="bgr", resize="letterbox", grid=None).param_hash == "27f666f9cf11833a"
    assert TILED.canonical() == json.dumps(TILED.as_mapping(), sort_keys=True, separators=(",", ":"))


GREY = Normalization(1 / 255, (0.0,), (1.0,))
PAIR = Normalization(1 / 255, (0.0,) * 2, (1.0,) * 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"grid": None}, "resize 'tiled' with grid None"),
        ({"resize": "letterbox"}, "a grid goes with 'tiled'"),
        ({"grid": TileGrid("evendist", 2, 0.1)}, "'evendist', version 2"),
        ({"grid": TileGrid("sahi", 1, 0.1)}, "'sahi', version 1"),
        ({"resize": "stretch", "grid": None, "full_frame": True}, "full_frame"),
        ({"color": "grey"}, "'grey' has 1"),
        ({"color": "grey", "channels": 1}, "1 means"),
        ({"color": "yuyv", "channels": 2, "normalization": PAIR, "input_shape": (64, 95)}, "even width"),
    ],
)
def test_what_cannot_be_made_is_told(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        replace(TILED, **change)


def test_channels_of_the_adaptors() -> None:
    grey = replace(TILED, color="grey", channels=1, normalization=GREY)
    assert (grey.as_mapping()["color"], grey.as_mapping()["channels"]) == ("grey", 1)
    assert replace(TILED, color="yuyv", channels=2, normalization=PAIR).channels == 2


def test_parameters_for_a_model() -> None:
    image = ModelInput("images", (1, 3, 64, 96))
    pixels = Preprocessing("tiled", tiling=Tiling("tiled", True, EVENDIST))
    assert parameters_for(pixels, image, count=9, seed=3) == replace(TILED, full_frame=True, count=9, seed=3)
    plain = parameters_for(Preprocessing(tiling=Tiling("whole_frame", grid=EVENDIST), color="bgr"), image, count=1024)
    assert (plain.resize, plain.grid, plain.color, plain.full_frame) == ("letterbox", None, "bgr", False)
    with pytest.raises(InputError, match=r"tiling\.grid is missing"):
        parameters_for(replace(pixels, tiling=Tiling("tiled")), image, count=9)
    with pytest.raises(InputError, match=r"'images' has 4 channels .* input\.cameraadaptor"):
        parameters_for(replace(pixels, color=None), ModelInput("images", (1, 4, 64, 96)), count=9)
