"""The contact sheet: every sample is there, in its place, small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from build_rules.calibration.sheet import FEW, FRAME, LARGE, SMALL, pictures_of, thumbnail, write_sheet
from build_rules.calibration.snapshot.snapshot_file import open_snapshot
from tests.shared import SHARED, needs_shared


def plain(level: int, height: int = 640, width: int = 640, channels: int = 3) -> np.ndarray:
    return np.full((channels, height, width), level, np.uint8)


@pytest.mark.parametrize(("height", "width"), [(640, 640), (20, 30), (97, 96), (1, 1), (384, 640), (1000, 7)])
@pytest.mark.parametrize(("count", "side"), [(FEW, LARGE), (FEW + 1, SMALL)])
def test_a_plain_sample_stays_plain(height: int, width: int, count: int, side: int) -> None:
    picture = thumbnail(plain(200, height, width), "rgb", count)
    assert picture.shape == (side, side, 3)
    assert {*np.unique(picture)} <= {114, 200}
    inside = (picture == 200).all(axis=2)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    # One block, as long as the longer side allows.
    assert inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert abs(len(rows) * width - len(columns) * height) <= max(height, width) * 2
    assert max(len(rows), len(columns)) >= min(side // 2, max(height, width))


@pytest.mark.parametrize(
    ("color", "sample", "seen"),
    [
        ("rgb", (10, 20, 30), (10, 20, 30)),
        ("bgr", (10, 20, 30), (30, 20, 10)),
        ("rgba", (10, 20, 30, 255), (10, 20, 30)),
        ("bgra", (10, 20, 30, 255), (30, 20, 10)),
        ("grey", (10,), (10, 10, 10)),
        ("yuyv", (10, 128), (10, 10, 10)),
    ],
)
def test_colours_look_as_they_are(color: str, sample: tuple[int, ...], seen: tuple[int, ...]) -> None:
    pixels = np.stack([np.full((96, 96), level, np.uint8) for level in sample])
    assert (thumbnail(pixels, color, 1) == seen).all()


def test_every_sample_has_its_place(tmp_path: Path) -> None:
    pictures = [thumbnail(plain(10 * number), "rgb", 5) for number in range(5)]
    for name in ("a", "b"):
        write_sheet(tmp_path / name, pictures)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with Image.open(tmp_path / "a") as image:
        assert image.format == "PNG"
        sheet = np.asarray(image)
    cell = LARGE + 2 * FRAME
    assert sheet.shape == (2 * cell, 3 * cell, 3)
    middles = [sheet[cell // 2 + row * cell, cell // 2 + column * cell, 0] for row in range(2) for column in range(3)]
    assert middles[:5] == [0, 10, 20, 30, 40]


@needs_shared
def test_a_snapshot_that_was_given() -> None:
    (path,) = (SHARED / "corpus").glob("calibration-*.safetensors")
    pictures = pictures_of(open_snapshot(path), "images")
    assert len(pictures) == 16
    assert all(picture.std() > 1 for picture in pictures)
