"""Samples that were scaled to [0, 1] become the pixels that they were; what they cannot have been is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from build_rules.calibration.snapshot.from_float import write_pixels
from build_rules.calibration.snapshot.snapshot_file import open_snapshot, read_samples, verify_content
from build_rules.errors import InputError
from tests.chain.test_given_snapshots import store

PIXELS = np.arange(2 * 3 * 16 * 16, dtype=np.uint8).reshape(2, 3, 16, 16)


def converted(folder: Path, values: NDArray[Any], **changes: Any) -> list[NDArray[np.uint8]]:
    write_pixels(open_snapshot(store(folder / "given", values, **changes)), "images", folder / "out")
    made = open_snapshot(folder / "out")
    verify_content(made)
    assert (made.dtype, made.value_range) == ("uint8", (0.0, 255.0))
    return list(read_samples(made))


def scaled() -> NDArray[np.float32]:
    return np.asarray(PIXELS / 255, np.float32)


def test_every_pixel_comes_back(tmp_path: Path) -> None:
    assert np.array_equal(converted(tmp_path, scaled()), PIXELS)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -0.001, 1.001])
def test_values_that_are_not_scaled(tmp_path: Path, value: float) -> None:
    wrong = scaled()
    wrong[1, 2, 7, 9] = value
    with pytest.raises(InputError, match=rf"sample 1 of tensor 'images' holds {value}.*'value_range' is \[0, 1\]"):
        converted(tmp_path, wrong)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_ends_of_the_range_are_pixels(tmp_path: Path, value: float) -> None:
    assert np.array_equal(converted(tmp_path, np.full_like(scaled(), value))[0], np.full_like(PIXELS[0], value * 255))


@pytest.mark.parametrize(
    ("scale", "is_told"), [("0.00392156863", True), ("1", True), ("0.0078431", False), ("2", False)]
)
def test_the_scale_says_that_they_were_scaled_or_that_nothing_is_left_to_do(
    tmp_path: Path, scale: str, is_told: bool
) -> None:
    told = f'{{"mean":[0,0,0],"scale":{scale},"std":[1,1,1]}}'
    if is_told:
        converted(tmp_path, scaled(), normalization=told)
        assert open_snapshot(tmp_path / "out").normalization.scale == pytest.approx(1 / 255, rel=1e-6)
    else:
        with pytest.raises(InputError, match=f"'normalization' has scale {scale}"):
            converted(tmp_path, scaled(), normalization=told)
