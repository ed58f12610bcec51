"""Geometry against its definition; pixels against a naive reference, OpenCV (if installed), a published snapshot."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from build_rules.calibration.pixels.images import decode
from build_rules.calibration.pixels.letterbox import PAD, Placement, fit, place
from build_rules.calibration.snapshot.snapshot_file import open_snapshot, samples
from build_rules.errors import InputError
from tests.shared import SHARED, needs_shared

sides = st.integers(1, 2000)
small = st.integers(1, 24)


@given(st.tuples(sides, sides), st.tuples(sides, sides))
def test_letterbox_touches_two_borders_keeps_aspect_and_centres(
    source: tuple[int, int], target: tuple[int, int]
) -> None:
    placed = place(source, target)
    assert placed.height == target[0] or placed.width == target[1]
    assert placed.height <= target[0]
    assert placed.width <= target[1]
    # One side is exact, the other rounded up by less than a pixel.
    ratio = min(target[0] / source[0], target[1] / source[1])
    assert -1e-6 < placed.height - source[0] * ratio < 1
    assert -1e-6 < placed.width - source[1] * ratio < 1
    for free, before in ((target[0] - placed.height, placed.top), (target[1] - placed.width, placed.left)):
        assert before == free // 2


def test_known_placements() -> None:
    assert place((1080, 1920), (640, 640)) == Placement((640, 640), 140, 0, 360, 640)
    assert place((427, 640), (320, 320)) == Placement((320, 320), 53, 0, 214, 320)
    assert place((600, 331), (320, 320)) == Placement((320, 320), 0, 71, 320, 177)
    assert place((10, 10), (64, 32), "stretch") == Placement((64, 32), 0, 0, 64, 32)


@pytest.mark.parametrize("arguments", [((0, 4), (8, 8)), ((4, 4), (8, 0)), ((4, 4), (8, 8), "crop")])
def test_impossible_placements(arguments: Any) -> None:
    with pytest.raises(InputError):
        place(*arguments)


def resize_linear(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The picture at another size, without a border."""
    return fit(image, place((image.shape[0], image.shape[1]), (height, width), "stretch"))


def exact_bilinear(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float64]:
    """The definition, pixel by pixel, in double precision and without rounding."""
    result = np.zeros((height, width, image.shape[2]))
    for y in range(height):
        for x in range(width):
            sy = min(max((y + 0.5) * image.shape[0] / height - 0.5, 0), image.shape[0] - 1)
            sx = min(max((x + 0.5) * image.shape[1] / width - 0.5, 0), image.shape[1] - 1)
            y0, x0 = math.floor(sy), math.floor(sx)
            y1, x1 = min(y0 + 1, image.shape[0] - 1), min(x0 + 1, image.shape[1] - 1)
            upper = image[y0, x0] * (1 - (sx - x0)) + image[y0, x1] * (sx - x0)
            lower = image[y1, x0] * (1 - (sx - x0)) + image[y1, x1] * (sx - x0)
            result[y, x] = upper * (1 - (sy - y0)) + lower * (sy - y0)
    return result


@settings(deadline=None, max_examples=60)
@given(small, small, small, small, st.integers(0, 2**32 - 1))
def test_pixels_are_bilinear_with_half_pixel_centres(h: int, w: int, height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)
    resized = resize_linear(image, height, width)
    assert resized.dtype == np.uint8
    # Half a level of rounding, and what cutting to 2 fractional bits costs.
    assert np.abs(resized - exact_bilinear(image, height, width)).max() <= 1.0


def test_every_constant_picture_stays_constant() -> None:
    for level in range(256):
        image = np.full((7, 5, 3), level, np.uint8)
        assert set(np.unique(resize_linear(image, 13, 29))) == {level}


def test_same_size_is_the_identity() -> None:
    image = np.random.default_rng(1).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_linear(image, 37, 53), image)


def test_border_is_grey_and_the_picture_is_inside() -> None:
    image = np.random.default_rng(2).integers(0, 100, (30, 60, 3), dtype=np.uint8)
    placed = place((30, 60), (64, 64))
    canvas = fit(image, placed)
    assert canvas.shape == (64, 64, 3)
    inside = canvas[placed.top : placed.top + placed.height]
    np.testing.assert_array_equal(inside, resize_linear(image, placed.height, placed.width))
    assert set(np.unique(canvas[: placed.top])) == set(np.unique(canvas[placed.top + placed.height :])) == {PAD}


def opencv(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized).reshape(height, width, image.shape[2])


@settings(deadline=None, max_examples=200)
@given(
    st.tuples(*[st.one_of(st.integers(1, 4), st.integers(1, 200))] * 4),
    st.sampled_from([1, 3, 4]),
    st.integers(0, 2**32 - 1),
)
def test_agrees_with_opencv_bit_for_bit(sizes: tuple[int, int, int, int], channels: int, seed: int) -> None:
    h, w, height, width = sizes
    image = np.random.default_rng(seed).integers(0, 256, (h, w, channels), dtype=np.uint8)
    np.testing.assert_array_equal(resize_linear(image, height, width), opencv(image, height, width))


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((720, 1280), (360, 640)),  # both halved: OpenCV takes another way
        ((1280, 720), (640, 360)),
        ((720, 1280), (360, 641)),
        ((2160, 3840), (270, 480)),  # an eighth
        ((3000, 4000), (37, 50)),
        ((1081, 1919), (361, 640)),
        ((427, 640), (427, 640)),
        ((427, 640), (854, 1280)),
        ((33, 50), (421, 640)),
        ((1, 4000), (1, 640)),
        ((1, 1), (40, 30)),
        ((700, 1), (640, 1)),
        ((2, 2), (1, 1)),
    ],
)
def test_agrees_with_opencv_at_sizes_that_matter(source: tuple[int, int], target: tuple[int, int]) -> None:
    image = np.random.default_rng(4).integers(0, 256, (*source, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_linear(image, *target), opencv(image, *target))


def test_a_part_of_a_picture_is_read_in_place() -> None:
    image = np.random.default_rng(6).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    part = image[11:72, 7:88]
    np.testing.assert_array_equal(resize_linear(part, 100, 40), resize_linear(part.copy(), 100, 40))
    placed = place((61, 81), (64, 64))
    np.testing.assert_array_equal(fit(part, placed), fit(part.copy(), placed))


@needs_shared
def test_agrees_with_a_published_snapshot_bit_for_bit() -> None:
    # Twelve of its sixteen photographs are at hand; a photograph's number is its place in the snapshot.
    stored = samples(open_snapshot(next((SHARED / "corpus").glob("calibration-*.safetensors"))))
    numbered = [(int(path.name[:3]), path) for path in sorted((SHARED / "images").iterdir())]
    compared = [(number, path) for number, path in numbered if number < len(stored)]
    assert len(compared) == 12
    for number, path in compared:
        image = decode(path)
        fitted = fit(image, place((image.shape[0], image.shape[1]), (320, 320)))
        np.testing.assert_array_equal(fitted.transpose(2, 0, 1), stored[number], err_msg=path.name)
