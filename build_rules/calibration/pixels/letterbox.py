"""A picture of any size at the model's input size, and boxes back to the picture; pure and deterministic.

Letterbox (EdgeFirst Studio manual, page "Calibration Snapshot"): scale so that the long side fits, round the short side
up, centre, pad with 114. Stretch: scale each side on its own. Both interpolate bilinearly between the four nearest
source pixels, with half-pixel centres and no smoothing when shrinking; a low-pass (Pillow's BILINEAR) gives softer
pixels than the runtime will feed.

The rounding is that of OpenCV's `resize(..., INTER_LINEAR)` on 8-bit images, bit for bit, because published snapshots
are made with it: positions in float32, weights as multiples of 1/2048, the horizontal sum kept with 7 fractional bits,
the vertical products each cut to 2. OpenCV takes means of 2 x 2 pixels instead when both sides are halved exactly; the
rounding above gives the same bytes there. Compared with OpenCV 4.10 and 5.0 on sides from 1 to 4000 pixels, no byte of
a picture of one, three or four channels differs (of two channels, halved exactly, some differ by 1; none here has two).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from build_rules.errors import InputError

__all__ = ["PAD", "RESIZES", "Placement", "fit", "place"]

PAD = 114
"""Grey level of the border."""

RESIZES = ("letterbox", "stretch")
"""The ways to fit a whole frame into the model's input."""

_WEIGHT_ONE = 2048
# Values of a block at the new width: 256 KiB as 32-bit integers, which any core's second-level cache holds.
_BLOCK = 64 * 1024


@dataclass(frozen=True)
class Placement:
    """Where a picture lies inside an input of `target` (height, width), in pixels.

    The picture covers `height` x `width` pixels whose first is row `top`, column `left`.
    """

    target: tuple[int, int]
    top: int
    left: int
    height: int
    width: int


def place(source: tuple[int, int], target: tuple[int, int], resize: str = "letterbox") -> Placement:
    """Return where a picture of `source` (height, width) goes in an input of `target` (height, width).

    `resize` is one of `RESIZES`. Raises `InputError` for another one, and for a side that is not positive.
    """
    if min(*source, *target) < 1:
        raise InputError(
            f"cannot fit a picture of {source[0]}x{source[1]} into an input of {target[0]}x{target[1]} "
            f"(height x width); both need positive sides."
        )
    if resize == "stretch":
        return Placement(target, 0, 0, *target)
    if resize != "letterbox":
        raise InputError(f"resize {resize!r} is not known; use one of {', '.join(RESIZES)}.")
    # Integers: in floats, 3 * (640 / 3) rounds up to 641 on some sizes.
    if target[1] * source[0] <= target[0] * source[1]:
        height, width = -(-source[0] * target[1] // source[1]), target[1]
    else:
        height, width = target[0], -(-source[1] * target[0] // source[0])
    return Placement(target, (target[0] - height) // 2, (target[1] - width) // 2, height, width)


def fit(image: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
    """Return the input picture (target height, target width, C) of an image (height, width, C), uint8."""
    bottom, right = placement.top + placement.height, placement.left + placement.width
    canvas = np.empty((*placement.target, image.shape[2]), np.uint8)
    if (placement.height, placement.width) != placement.target:
        canvas.fill(PAD)
    _resize(image, canvas[placement.top : bottom, placement.left : right])
    return canvas


def _resize(image: NDArray[np.uint8], result: NDArray[np.uint8]) -> None:
    """Fill `result` (height, width, C), rounded as OpenCV's INTER_LINEAR rounds.

    It goes block by block of rows: what a block needs stays in a core's own cache.
    """
    height, width, channels = result.shape
    if result.shape == image.shape:
        result[:] = image
        return
    columns, rows = _columns(width, image.shape[1], channels), _rows(height, image.shape[0])
    step = max(1, _BLOCK // (2 * width * channels))
    for start in range(0, height, step):
        stop = min(start + step, height)
        first, last = int(rows.first[start]), int(rows.second[stop - 1])
        if last - first < 2 * (stop - start):
            across = _across(image[first : last + 1], columns)
            upper, lower = (
                across.take(rows.first[start:stop] - first, 0),
                across.take(rows.second[start:stop] - first, 0),
            )
        else:  # at a strong reduction most rows are needed by none
            across = _across(image[np.concatenate([rows.first[start:stop], rows.second[start:stop]])], columns)
            upper, lower = across[: stop - start], across[stop - start :]
        upper *= rows.first_weight[start:stop, None]
        upper >>= 16
        lower *= rows.second_weight[start:stop, None]
        lower >>= 16
        upper += lower
        upper += 2
        upper >>= 2
        result[start:stop] = upper.reshape(-1, width, channels)


def _across(rows: NDArray[np.uint8], columns: _Taps) -> NDArray[np.int32]:
    """Return rows (n, W, C) at the new width with 7 fractional bits: (n, width * C)."""
    flat = rows.reshape(len(rows), -1)
    across = np.multiply(flat.take(columns.first, 1), columns.first_weight, dtype=np.int32)
    across += np.multiply(flat.take(columns.second, 1), columns.second_weight, dtype=np.int32)
    across >>= 4
    return across


@dataclass(frozen=True)
class _Taps:
    """For each new position: the two old ones that it lies between, and their weights in 1/2048."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    first_weight: NDArray[np.int32]
    second_weight: NDArray[np.int32]


# A pool has few sizes, and the arrays of one are small.
@lru_cache(maxsize=64)
def _columns(new: int, old: int, channels: int) -> _Taps:
    """The taps of the values of a row: `new` and `old` pixels of `channels` values each."""
    taps = _taps(new, old)
    # OpenCV drops the weight outside the picture for columns but keeps it (on the repeated row) for rows.
    inside = (taps.first >= 0) & (taps.first < old - 1)
    offsets = np.arange(channels)
    return _Taps(
        first=(taps.first.clip(0, old - 1)[:, None] * channels + offsets).ravel(),
        second=(taps.second.clip(0, old - 1)[:, None] * channels + offsets).ravel(),
        first_weight=np.where(inside, taps.first_weight, _WEIGHT_ONE).astype(np.int32).repeat(channels),
        second_weight=np.where(inside, taps.second_weight, 0).astype(np.int32).repeat(channels),
    )


@lru_cache(maxsize=64)
def _rows(new: int, old: int) -> _Taps:
    taps = _taps(new, old)
    return replace(taps, first=taps.first.clip(0, old - 1), second=taps.second.clip(0, old - 1))


def _taps(new: int, old: int) -> _Taps:
    """The taps of `new` positions among `old`; both may lie outside by one."""
    step = 1.0 / (new / old)
    centre = ((np.arange(new) + 0.5) * step - 0.5).astype(np.float32)
    first = np.floor(centre).astype(np.int64)
    second_weight = centre - first.astype(np.float32)
    first_weight = np.float32(1) - second_weight
    return _Taps(
        first,
        first + 1,
        np.rint(first_weight * np.float32(_WEIGHT_ONE)).astype(np.int32),
        np.rint(second_weight * np.float32(_WEIGHT_ONE)).astype(np.int32),
    )
