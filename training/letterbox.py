"""How a picture of any size becomes the network's square: long side scaled to fit, centred, padded with 114, plain
bilinear.

The same arithmetic is the contract of the calibration snapshot; it is written out here in `numpy` so that training and
evaluation see exactly the pixels that a runtime is asked to produce.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["PAD", "Letterbox", "fit", "letterbox", "resize_bilinear"]

PAD = 114


@dataclass(frozen=True)
class Letterbox:
    """Where the resized picture lies inside the square."""

    left: int
    top: int
    width: int
    height: int
    scale_x: float
    scale_y: float

    def to_square(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Native `x1 y1 x2 y2` rows to rows in the square."""
        scaled = boxes * np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y])
        return np.asarray(scaled + np.array([self.left, self.top, self.left, self.top]))

    def to_native(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows in the square back to native pixels."""
        moved = boxes - np.array([self.left, self.top, self.left, self.top])
        return np.asarray(moved / np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y]))


def fit(width: int, height: int, size: int) -> Letterbox:
    """The geometry for a picture; both sides round up, so no source pixel is lost to rounding."""
    long = max(width, height)
    new_width, new_height = -(-width * size // long), -(-height * size // long)
    return Letterbox(
        (size - new_width) // 2, (size - new_height) // 2, new_width, new_height, new_width / width, new_height / height
    )


def _taps(new: int, old: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """For each new pixel: the two old pixels around its centre and the weight of the second."""
    centre = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    first = np.floor(centre).astype(np.int64)
    return first, np.minimum(first + 1, old - 1), centre - first


def resize_bilinear(image: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """Bilinear with half-pixel centres and no smoothing; H x W or H x W x C."""
    tail = (1,) * (image.ndim - 2)
    top, bottom, fy = _taps(height, image.shape[0])
    left, right, fx = _taps(width, image.shape[1])
    fy, fx = fy.reshape(-1, 1, *tail), fx.reshape(1, -1, *tail)
    rows = image[top] * (1 - fy) + image[bottom] * fy
    return np.asarray(rows[:, left] * (1 - fx) + rows[:, right] * fx)


def letterbox(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """An H x W x 3 picture as a size x size x 3 square."""
    place = fit(image.shape[1], image.shape[0], size)
    square = np.full((size, size, 3), PAD, np.uint8)
    resized = np.rint(resize_bilinear(image.astype(np.float64), place.width, place.height)).astype(np.uint8)
    square[place.top : place.top + place.height, place.left : place.left + place.width] = resized
    return square
