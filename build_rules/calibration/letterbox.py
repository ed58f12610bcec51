"""A picture of any size at the model's input size, and boxes back to the picture; pure and deterministic.

Letterbox (EdgeFirst Studio manual, page "Calibration Snapshot"): scale so that the long side fits, round the short side
up, centre, pad with 114. Stretch: scale each side on its own. Both interpolate bilinearly between the four nearest
source pixels, with half-pixel centres and no smoothing when shrinking; a low-pass (Pillow's BILINEAR) gives softer
pixels than the runtime will feed.

The rounding is that of OpenCV's `resize(..., INTER_LINEAR)` on 8-bit images, bit for bit, because published snapshots
are made with it: positions in float32, weights as multiples of 1/2048, the horizontal sum kept with 7 fractional bits,
the vertical products each cut to 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from build_rules.errors import InputError

__all__ = ["PAD", "RESIZES", "Placement", "fit", "place", "resize_linear"]

PAD = 114
"""Grey level of the border."""

RESIZES = ("letterbox", "stretch")
"""The ways to fit a whole frame into the model's input."""

_WEIGHT_ONE = 2048


@dataclass(frozen=True)
class Placement:
    """Where a picture of `source` (height, width) lies inside an input of `target` (height, width), all in pixels.

    The picture covers `height` x `width` pixels whose first is row `top`, column `left`.
    """

    source: tuple[int, int]
    target: tuple[int, int]
    top: int
    left: int
    height: int
    width: int

    @property
    def scale(self) -> tuple[float, float]:
        """Input pixels per source pixel, (vertical, horizontal); not quite equal, as the short side is rounded up."""
        return self.height / self.source[0], self.width / self.source[1]

    def to_source(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map boxes (..., 4) as x1 y1 x2 y2 from input pixels to source pixels; nothing is clipped."""
        return np.asarray((boxes - self._offsets()) / self._scales())

    def to_target(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map boxes (..., 4) as x1 y1 x2 y2 from source pixels to input pixels."""
        return np.asarray(boxes * self._scales() + self._offsets())

    def _scales(self) -> NDArray[np.float64]:
        vertical, horizontal = self.scale
        return np.array([horizontal, vertical, horizontal, vertical])

    def _offsets(self) -> NDArray[np.float64]:
        return np.array([self.left, self.top, self.left, self.top], dtype=np.float64)


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
        return Placement(source, target, 0, 0, *target)
    if resize != "letterbox":
        raise InputError(f"resize {resize!r} is not known; use one of {', '.join(RESIZES)}.")
    # Integers: in floats, 3 * (640 / 3) rounds up to 641 on some sizes.
    if target[1] * source[0] <= target[0] * source[1]:
        height, width = -(-source[0] * target[1] // source[1]), target[1]
    else:
        height, width = target[0], -(-source[1] * target[0] // source[0])
    return Placement(source, target, (target[0] - height) // 2, (target[1] - width) // 2, height, width)


def fit(image: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
    """Return the input picture (target height, target width, C) of an image (height, width, C), uint8."""
    resized = resize_linear(image, placement.height, placement.width)
    if resized.shape[:2] == placement.target:
        return resized
    canvas = np.full((*placement.target, image.shape[2]), PAD, np.uint8)
    canvas[placement.top : placement.top + placement.height, placement.left : placement.left + placement.width] = (
        resized
    )
    return canvas


def resize_linear(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return `image` (H, W, C), uint8, at (height, width, C), rounded as OpenCV's INTER_LINEAR rounds."""
    left, right, left_weight, right_weight = _taps(width, image.shape[1])
    top, bottom, top_weight, bottom_weight = _taps(height, image.shape[0])
    # OpenCV drops the weight outside the picture for columns but keeps it (on the repeated row) for rows: the cut below
    # then differs.
    inside = (left >= 0) & (left < image.shape[1] - 1)
    left_weight, right_weight = np.where(inside, left_weight, _WEIGHT_ONE), np.where(inside, right_weight, 0)
    left, right = left.clip(0, image.shape[1] - 1), right.clip(0, image.shape[1] - 1)
    top, bottom = top.clip(0, image.shape[0] - 1), bottom.clip(0, image.shape[0] - 1)

    # Only the rows that some output row needs: at a strong reduction that is a small part of the picture.
    needed, position = np.unique(np.concatenate([top, bottom]), return_inverse=True)
    rows = image[needed]
    across = np.multiply(rows.take(left, axis=1), left_weight[:, None], dtype=np.int32)
    across += np.multiply(rows.take(right, axis=1), right_weight[:, None], dtype=np.int32)
    across >>= 4
    upper = across.take(position[:height], axis=0)
    upper *= top_weight[:, None, None]
    upper >>= 16
    lower = across.take(position[height:], axis=0)
    lower *= bottom_weight[:, None, None]
    lower >>= 16
    upper += lower
    upper += 2
    upper >>= 2
    return np.asarray(upper, dtype=np.uint8)


def _taps(new: int, old: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """For each of `new` positions: the two of `old` around it (may lie outside by one) and their weights in 1/2048."""
    step = 1.0 / (new / old)
    centre = ((np.arange(new) + 0.5) * step - 0.5).astype(np.float32)
    first = np.floor(centre).astype(np.int64)
    second_weight = centre - first.astype(np.float32)
    first_weight = np.float32(1) - second_weight
    return (
        first,
        first + 1,
        np.rint(first_weight * np.float32(_WEIGHT_ONE)).astype(np.int32),
        np.rint(second_weight * np.float32(_WEIGHT_ONE)).astype(np.int32),
    )
