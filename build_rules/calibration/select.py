"""Which images of a pool make the calibration set: `max_dynamic_range_v1`, a pure function of pixel statistics.

Source: EdgeFirst Studio manual, page "Calibration Snapshot", section "Selection: Maximizing Dynamic Range". Where it
leaves room:

* a histogram is kept in units of 2**-20 and all sums and comparisons are whole numbers, so the choice is the same on
  every machine;
* the distance adds up over all channels; coverage is saturated when no image makes it smaller;
* when the count cannot hold every image with an extremum, they are taken channel by channel, minimum before maximum;
* the random fill orders the images by a hash of the seed and their statistics, not of their place in the pool: an image
  added to the pool does not reshuffle the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImageStatistics", "describe", "max_dynamic_range_v1"]

BINS = 64
_UNIT = 1 << 20
# Candidates measured at once: their differences (chunk x 192 x 8 bytes) stay in a core's second-level cache.
_CHUNK = 256


@dataclass(frozen=True)
class ImageStatistics:
    """One image at native size: per channel its darkest and brightest level, and a histogram (C, 64) in 2**-20."""

    minimum: tuple[int, ...]
    maximum: tuple[int, ...]
    histogram: NDArray[np.int64]


def describe(level_counts: NDArray[np.int64]) -> ImageStatistics:
    """Return the statistics of an image from its number of pixels per channel and level, shape (C, 256)."""
    present = level_counts > 0
    pixels = level_counts.sum(axis=1, keepdims=True)
    binned = level_counts.reshape(level_counts.shape[0], BINS, -1).sum(axis=2)
    return ImageStatistics(
        minimum=tuple(int(level) for level in present.argmax(axis=1)),
        maximum=tuple(int(level) for level in 255 - present[:, ::-1].argmax(axis=1)),
        histogram=(binned * (2 * _UNIT) + pixels) // (2 * pixels),
    )


def max_dynamic_range_v1(pool: Sequence[ImageStatistics], count: int, seed: int) -> tuple[int, ...]:
    """Return the ascending indices of the `count` chosen images; all of them when the pool is not larger."""
    if len(pool) <= count:
        return tuple(range(len(pool)))
    chosen = _extremes(pool)[:count]
    chosen += _cover(np.stack([image.histogram.ravel() for image in pool]), chosen, count - len(chosen))
    chosen += _fill(pool, set(chosen), count - len(chosen), seed)
    return tuple(sorted(chosen))


def _extremes(pool: Sequence[ImageStatistics]) -> list[int]:
    """The first image that holds each channel's darkest and brightest level, without repetition."""
    minima = np.array([image.minimum for image in pool])
    maxima = np.array([image.maximum for image in pool])
    pairs = zip(minima.argmin(axis=0), maxima.argmax(axis=0), strict=True)
    return list(dict.fromkeys(int(index) for pair in pairs for index in pair))


def _cover(histograms: NDArray[np.int64], chosen: Sequence[int], count: int) -> list[int]:
    """Up to `count` more indices, each the one that brings the mean histogram of all chosen closest to the pool's.

    With N images, k of them chosen, S the sum of the chosen histograms and P the sum of all, the distance of the means
    is |S/k - P/N| = |N*S - k*P| / (k*N); the numerator is a whole number below 2**63 for any pool that fits a disk.
    """
    total = histograms.sum(axis=0)
    scaled = histograms * len(histograms)
    candidates = np.setdiff1d(np.arange(len(histograms)), chosen)
    remaining = scaled[candidates]
    excess = scaled[list(chosen)].sum(axis=0) - len(chosen) * total
    distance, size = int(np.abs(excess).sum()), len(chosen)
    added: list[int] = []
    while len(added) < count:
        distances = _distances(remaining, excess - total)
        best = int(distances.argmin())
        if int(distances[best]) * size >= distance * (size + 1):
            break
        added.append(int(candidates[best]))
        excess += remaining[best] - total
        distance, size = int(distances[best]), size + 1
        # Order carries the tie rule (lowest index first), so close the gap instead of swapping in the last.
        remaining[best:-1] = remaining[best + 1 :]
        remaining, candidates = remaining[:-1], np.delete(candidates, best)
    return added


def _distances(remaining: NDArray[np.int64], offset: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return sum(|row + offset|) for every row, shape (rows,)."""
    result = np.empty(len(remaining), np.int64)
    buffer = np.empty((min(_CHUNK, len(remaining)), remaining.shape[1]), np.int64)
    for start in range(0, len(remaining), _CHUNK):
        rows = remaining[start : start + _CHUNK]
        difference = buffer[: len(rows)]
        np.add(rows, offset, out=difference)
        np.abs(difference, out=difference)
        difference.sum(axis=1, out=result[start : start + len(rows)])
    return result


def _fill(pool: Sequence[ImageStatistics], taken: set[int], count: int, seed: int) -> list[int]:
    """`count` of the images not taken, in an order that only the seed and the images' own statistics decide."""

    def draw(index: int) -> bytes:
        image = pool[index]
        levels = bytes((*image.minimum, *image.maximum))
        return hashlib.sha256(f"{seed}:".encode() + levels + image.histogram.astype("<i8").tobytes()).digest()

    return sorted((index for index in range(len(pool)) if index not in taken), key=draw)[:count] if count else []
