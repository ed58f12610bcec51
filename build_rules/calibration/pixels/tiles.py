"""The grid of tiles in which a tiled model sees a frame: `evendist`, version 1; a pure function of three sizes.

Along each axis there are as few tiles as the smallest allowed overlap permits; they are spread evenly, so that the
first begins at the frame's first pixel and the last ends at its last. An axis on which the frame is not larger than the
tile has one tile, the whole of it. Tiles are numbered row by row.

Source: the behaviour of `tile_grid` in EdgeFirst's HAL 0.28, which cuts frames at runtime. The overlap is a 32-bit
float there (0.1 becomes a little more), a step is the tile without it, rounded down (so 575 of 640 pixels, not 576),
and positions are computed in 32-bit floats. All of it shows in the grids of real frames.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from build_rules.errors import InputError

__all__ = ["Grid", "Tile", "grid"]


@dataclass(frozen=True)
class Tile:
    """A rectangle of a frame, in its pixels: the first row and column, and the size."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Grid:
    """The tiles of one frame: the first row of each row of tiles, the first column of each column, their one size."""

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def tile(self, index: int) -> Tile:
        """Return the tile of that number; they are counted from 0, row by row."""
        row, column = divmod(index, len(self.lefts))
        return Tile(self.tops[row], self.lefts[column], self.height, self.width)

    def first_holding(self, row: int, column: int) -> int:
        """Return the lowest number of a tile that holds the frame's pixel (row, column)."""
        return bisect_right(self.tops, row - self.height) * len(self.lefts) + bisect_right(
            self.lefts, column - self.width
        )


def grid(frame: tuple[int, int], tile: tuple[int, int], min_overlap: float) -> Grid:
    """Return the tiles of a frame; `frame` and `tile` are (height, width) in pixels.

    `min_overlap` is the part of a tile that neighbours share at least, in [0, 1). Raises `InputError` for another one,
    and for a side that is not positive.
    """
    if min(*frame, *tile) < 1:
        raise InputError(
            f"cannot cut a frame of {frame[0]}x{frame[1]} into tiles of {tile[0]}x{tile[1]} (height x width); "
            "both need positive sides."
        )
    if not 0 <= min_overlap < 1 or np.float32(min_overlap) >= 1:
        raise InputError(f"cannot cut tiles that overlap by {min_overlap!r}; it must be at least 0 and less than 1.")
    return Grid(
        tops=_origins(frame[0], tile[0], min_overlap),
        lefts=_origins(frame[1], tile[1], min_overlap),
        height=min(frame[0], tile[0]),
        width=min(frame[1], tile[1]),
    )


def _origins(frame: int, tile: int, min_overlap: float) -> tuple[int, ...]:
    if frame <= tile:
        return (0,)
    last = frame - tile
    longest_step = max(math.floor(tile * (1 - float(np.float32(min_overlap)))), 1)
    steps = -(-last // longest_step)
    # Two roundings to 32 bits, as the runtime's product and quotient are; then to whole pixels, halves up.
    exact = np.arange(steps + 1, dtype=np.float32) * np.float32(last) / np.float32(steps)
    return tuple(math.floor(float(position) + 0.5) for position in exact)
