"""A contact sheet: every sample of a snapshot as a small picture, because people look before they trust."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from build_rules.calibration.snapshot.snapshot_file import Snapshot, read_samples

__all__ = ["Thumbnail", "pictures_of", "thumbnail", "write_sheet"]

LARGE, SMALL = 96, 48
"""Sides of a picture, in pixels, for few samples and for many."""
FEW = 256
FRAME = 2
FRAME_COLOR = 32

Thumbnail = NDArray[np.uint8]


def thumbnail(sample: NDArray[np.uint8], color: str, count: int) -> Thumbnail:
    """Return a small picture (side, side, 3), RGB, of a sample (C, H, W), one of `count`; the rest is grey.

    The mean of four pixels where one stands for many: a proper reduction of each sample would take longer than writing
    it.
    """
    side = LARGE if count <= FEW else SMALL
    step = max(1, math.ceil(max(sample.shape[1:]) / side))
    half = step // 2
    height, width = ((length + step - 1) // step for length in sample.shape[1:])
    picture = np.full((side, side, 3), 114, np.uint8)
    total = np.zeros((sample.shape[0], height, width), np.uint16)
    rows, columns = (np.arange(0, length, step) for length in sample.shape[1:])
    for down, right in ((0, 0), (0, half), (half, 0), (half, half)):
        taken = sample[:, np.minimum(rows + down, sample.shape[1] - 1)]
        total += taken[:, :, np.minimum(columns + right, sample.shape[2] - 1)]
    top, left = (side - height) // 2, (side - width) // 2
    picture[top : top + height, left : left + width] = _as_rgb((total >> 2).astype(np.uint8), color)
    return picture


def _as_rgb(pixels: NDArray[np.uint8], color: str) -> NDArray[np.uint8]:
    """Return (H, W, 3) of (C, H, W); of colours that are not RGB as much as can be seen."""
    channels = {"bgr": (2, 1, 0), "bgra": (2, 1, 0)}.get(color, (0, 1, 2) if len(pixels) >= 3 else (0, 0, 0))
    return np.ascontiguousarray(pixels[list(channels)].transpose(1, 2, 0))


def pictures_of(snapshot: Snapshot, name: str) -> list[Thumbnail]:
    """Return a small picture of every sample of the tensor `name`, one sample at a time. The snapshot holds uint8."""
    tensor = snapshot.tensor(name) or snapshot.tensors[0]
    color = str(snapshot.params.get("color", "rgb"))
    return [thumbnail(sample, color, snapshot.count) for sample in read_samples(snapshot, tensor.name)]


def write_sheet(path: Path, pictures: Sequence[Thumbnail]) -> None:
    """Write the pictures in their order, row by row, as a PNG."""
    side = pictures[0].shape[0]
    cell = side + 2 * FRAME
    columns = math.ceil(math.sqrt(len(pictures)))
    sheet = np.full((math.ceil(len(pictures) / columns) * cell, columns * cell, 3), FRAME_COLOR, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = index // columns * cell, index % columns * cell
        sheet[top + FRAME : top + FRAME + side, left + FRAME : left + FRAME + side] = picture
    Image.fromarray(sheet).save(path, format="PNG", compress_level=1)
