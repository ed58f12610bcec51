"""One decoded frame becomes the samples of a snapshot: which ones (known before a pixel is fitted), and their pixels.

Without tiles a frame is one sample: letterboxed or stretched whole. Of a tiled model it contributes tiles of the grid
that the runtime will cut, at native scale, and the whole frame too when the runtime runs that. Source: EdgeFirst Studio
manual, page "Calibration Snapshot", section "Tiled models". Where it leaves room:

* the generator that draws a tile is the SHA-256 of `seed:position`, read as a number, modulo the number of tiles;
* a frame that is smaller than a tile is letterboxed by the recipe in the parameters, which rounds the short side up.
  EdgeFirst's HAL 0.28 rounds to the nearest pixel: its picture can be one row or column smaller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from build_rules.calibration.pixels.adaptor import convert
from build_rules.calibration.pixels.letterbox import fit, place
from build_rules.calibration.pixels.tiles import Grid, grid
from build_rules.calibration.snapshot.parameters import Parameters
from build_rules.errors import InputError

__all__ = ["FramePlan", "cut_samples", "first_position", "plan_frame"]

# Rows compared at once: an extreme level mostly lies near the top, and a block stays in the cache.
_ROWS = 64


@dataclass(frozen=True)
class FramePlan:
    """The samples of one frame in file order: tiles by ascending number in the grid, then the whole frame."""

    tiles: tuple[int, ...]
    whole_frame: bool

    def __len__(self) -> int:
        return len(self.tiles) + self.whole_frame


def plan_frame(
    frame: tuple[int, int], parameters: Parameters, position: int, extremes: Iterable[tuple[int, int]] = ()
) -> FramePlan:
    """Return which samples a frame of (height, width) pixels contributes.

    `position` is its place in the pool; `extremes` are the first pixels (row, column) that hold the levels for which
    selection seeded this frame, in any order. Only tiled parameters ask for either.
    """
    if parameters.grid is None:
        return FramePlan((), True)
    tiles = _grid(frame, parameters)
    wanted = {tiles.first_holding(row, column) for row, column in extremes}
    return FramePlan(tuple(sorted(wanted or {_draw(parameters.seed, position, len(tiles))})), parameters.full_frame)


def _draw(seed: int, position: int, count: int) -> int:
    # The format wants the place in the pool here. So one image more or less at the front moves all that follow to other
    # tiles, although the selection itself does not care.
    return int.from_bytes(hashlib.sha256(f"{seed}:{position}".encode()).digest(), "big") % count


def first_position(image: NDArray[np.uint8], channel: int, level: int) -> tuple[int, int]:
    """Return (row, column) of the first pixel in row-major order of (H, W, C) that has `level` in `channel`.

    Raises `InputError` when there is none: the image is not the one that was measured.
    """
    for top in range(0, image.shape[0], _ROWS):
        found = np.flatnonzero(image[top : top + _ROWS, :, channel] == level)
        if len(found):
            row, column = divmod(int(found[0]), image.shape[1])
            return top + row, column
    raise InputError(
        f"no pixel has level {level} in channel {channel}, though one had when the image was measured; leave the "
        "images alone while they are read, and run doit again."
    )


def cut_samples(image: NDArray[np.uint8], plan: FramePlan, parameters: Parameters) -> list[NDArray[np.uint8]]:
    """Return the samples of a frame (H, W, 3), uint8 RGB, in file order: (C, height, width) each, uint8, contiguous."""
    frame = (image.shape[0], image.shape[1])
    resize = "letterbox" if parameters.resize == "tiled" else parameters.resize
    pictures = []
    if plan.tiles:
        tiles = _grid(frame, parameters)
        for index in plan.tiles:
            tile = tiles.tile(index)
            pictures.append(image[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width])
    if plan.whole_frame:
        pictures.append(image)
    return [_sample(picture, resize, parameters) for picture in pictures]


def _sample(picture: NDArray[np.uint8], resize: str, parameters: Parameters) -> NDArray[np.uint8]:
    placement = place((picture.shape[0], picture.shape[1]), parameters.input_shape, resize)
    return convert(fit(picture, placement), parameters.color)


def _grid(frame: tuple[int, int], parameters: Parameters) -> Grid:
    if parameters.grid is None:
        raise ValueError("tiles are cut by the parameters' grid, and there is none")
    return grid(frame, parameters.input_shape, parameters.grid.min_overlap)
