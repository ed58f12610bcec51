"""Camera adaptors against OpenCV, which training converts with, and against values worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build_rules.calibration.pixels.adaptor import convert
from build_rules.errors import InputError
from build_rules.records.split_json import CAMERA_ADAPTORS

CODES = {
    "bgr": "COLOR_RGB2BGR",
    "rgba": "COLOR_RGB2RGBA",
    "bgra": "COLOR_RGB2BGRA",
    "grey": "COLOR_RGB2GRAY",
    "yuyv": "COLOR_RGB2YUV_YUYV",
}


@pytest.mark.parametrize("color", sorted(CODES))
@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), narrow=st.booleans())
def test_the_bytes_are_those_of_opencv(color: str, height: int, width: int, seed: int, narrow: bool) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    levels = [0, 1, 127, 128, 254, 255] if narrow else list(range(256))
    image = np.random.default_rng(seed).choice(np.array(levels, np.uint8), (height, 2 * width, 3))
    expected = cv2.cvtColor(image, getattr(cv2, CODES[color])).reshape(height, 2 * width, -1)
    np.testing.assert_array_equal(convert(image, color).transpose(1, 2, 0), expected)


@pytest.mark.parametrize("color", ["grey", "yuyv"])
def test_every_color_of_the_cube(color: str) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    levels = np.array([*range(0, 256, 3)], np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(86, -1, 3)
    expected = cv2.cvtColor(cube, getattr(cv2, CODES[color])).reshape(*cube.shape[:2], -1)
    np.testing.assert_array_equal(convert(cube, color).transpose(1, 2, 0), expected)


def test_channels_and_layout() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    for color, channels in CAMERA_ADAPTORS.items():
        sample = convert(image, color)
        assert sample.shape == (channels, 5, 8)
        assert sample.dtype == np.uint8
        assert sample.flags.c_contiguous
    np.testing.assert_array_equal(convert(image, "rgb"), image.transpose(2, 0, 1))
    np.testing.assert_array_equal(convert(image, "bgra")[:3], image.transpose(2, 0, 1)[::-1])
    assert set(convert(image, "bgra")[3].ravel()) == {255}


def test_known_colors() -> None:
    image = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [255, 0, 0]]], np.uint8)
    assert convert(image, "grey").tolist() == [[[0, 255, 76, 76]]]
    # Two neighbours share U (even columns) and V (odd columns); black and white have none.
    assert convert(image, "yuyv").tolist() == [[[16, 235, 82, 82]], [[128, 128, 90, 240]]]


@pytest.mark.parametrize(("color", "width"), [("nv12", 4), ("RGB", 4), ("yuyv", 5)])
def test_what_cannot_be_converted(color: Any, width: int) -> None:
    with pytest.raises(InputError, match=color):
        convert(np.zeros((2, width, 3), np.uint8), color)
