"""What the trainer's document says about pixels."""

from __future__ import annotations

from typing import Any

import pytest

from build_rules.endpoints import Preprocessing
from build_rules.errors import InputError
from build_rules.metadata.preprocessing import read_preprocessing


def test_silence_means_letterbox_and_unit_range() -> None:
    assert read_preprocessing({}, 3) == Preprocessing("letterbox", 1 / 255, (0.0,) * 3, (1.0,) * 3)
    assert read_preprocessing({"validation": None}, 1) == Preprocessing("letterbox", 1 / 255, (0.0,), (1.0,))


def test_signed_pixels_reach_from_minus_one_to_one() -> None:
    pixels = read_preprocessing({"validation": {"normalization": "signed"}}, 1)
    assert [(pixel * pixels.scale - pixels.mean[0]) / pixels.std[0] for pixel in (0, 255)] == [-1.0, 1.0]


def test_tiling_decides_the_geometry() -> None:
    tiled = read_preprocessing({"tiling": {"version": 1, "mode": "tiled", "full_frame": {"enabled": True}}}, 3)
    assert (tiled.resize, tiled.tiling_mode, tiled.full_frame) == ("tiled", "tiled", True)
    whole = read_preprocessing({"tiling": {"version": 1, "mode": "whole_frame"}}, 3)
    assert (whole.resize, whole.tiling_mode, whole.full_frame) == ("letterbox", "whole_frame", False)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"validation": {"normalization": "zscore"}}, "validation.normalization = 'zscore'.*unsigned"),
        ({"validation": {"preprocessing": "crop"}}, "validation.preprocessing = 'crop'.*letterbox, stretch"),
        ({"validation": {"normalization": "imagenet"}}, "imagenet"),
        ({"tiling": {"version": 2, "mode": "tiled"}}, "only the integer 1"),
    ],
)
def test_unknown_words_are_refused(document: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_preprocessing(document, 1)
