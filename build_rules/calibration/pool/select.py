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
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["Choice", "Extreme", "ImageStatistics", "describe", "max_dynamic_range_v1"]

BINS = 64
_UNIT = 1 << 20
# Candidates measured at once: their differences (chunk x 192 x 8 bytes) stay in a core's second-level cache.
_CHUNK = 256
_FAR = np.iinfo(np.int64).max


@dataclass(frozen=True)
class ImageStatistics:
    """One image at native size: per channel its darkest and brightest level, and a histogram (C, 64) in 2**-20."""

    minimum: tuple[int, ...]
    maximum: tuple[int, ...]
    histogram: NDArray[np.int64]


@dataclass(frozen=True)
class Extreme:
    """A darkest (`minimum`) or brightest (`maximum`) level of the whole pool in one channel, in [0, 255]."""

    channel: int
    kind: str
    level: int


@dataclass(frozen=True)
class Choice:
    """An image that was chosen, and why: `index` is its place in the pool, `order` when it was chosen, from 0.

    `reason` is `extremum` (it is here for the levels in `extremes`), `gain` (it brought the mean histogram of the
    chosen closest to the pool's: from `distance_before` to `distance_after`), `fill` (drawn at random when no image
    could) or `all` (the pool holds no more than was asked for). Distances are sums over the channels of the L1
    distance of two normalized histograms, so from 0 to 2 per channel.
    """

    index: int
    reason: str
    order: int
    extremes: tuple[Extreme, ...] = ()
    distance_before: float | None = None
    distance_after: float | None = None


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


def max_dynamic_range_v1(pool: Sequence[ImageStatistics], count: int, seed: int) -> tuple[Choice, ...]:
    """Return the `count` chosen images, each with its reason, by ascending index; all when the pool is not larger."""
    if not pool:
        return ()
    extremes = _extremes(pool)
    choices = [_seeded(pool, *item) for item in extremes.items()][:count]
    if len(pool) <= count:
        choices += [Choice(index, "all", 0) for index in range(len(pool)) if index not in extremes]
    else:
        choices += _cover(pool, [choice.index for choice in choices], count - len(choices))
        drawn = _fill(pool, {choice.index for choice in choices}, count - len(choices), seed)
        choices += [Choice(index, "fill", 0) for index in drawn]
    ordered = (replace(choice, order=order) for order, choice in enumerate(choices))
    return tuple(sorted(ordered, key=lambda choice: choice.index))


def _seeded(pool: Sequence[ImageStatistics], index: int, held: Sequence[tuple[int, str]]) -> Choice:
    image = pool[index]
    levels = {"minimum": image.minimum, "maximum": image.maximum}
    return Choice(index, "extremum", 0, tuple(Extreme(channel, kind, levels[kind][channel]) for channel, kind in held))


def _extremes(pool: Sequence[ImageStatistics]) -> dict[int, list[tuple[int, str]]]:
    """The first image that holds each channel's darkest and brightest level, and for which of them it is here."""
    minima = np.array([image.minimum for image in pool])
    maxima = np.array([image.maximum for image in pool])
    held: dict[int, list[tuple[int, str]]] = {}
    for channel, pair in enumerate(zip(minima.argmin(axis=0), maxima.argmax(axis=0), strict=True)):
        for index, kind in zip(pair, ("minimum", "maximum"), strict=True):
            held.setdefault(int(index), []).append((channel, kind))
    return held


def _cover(pool: Sequence[ImageStatistics], chosen: Sequence[int], count: int) -> list[Choice]:
    """Up to `count` more images, each the one that brings the mean histogram of all chosen closest to the pool's.

    With N images, k of them chosen, S the sum of the chosen histograms and P the sum of all, the distance of the means
    is |S/k - P/N| = |N*S - k*P| / (k*N); the numerator is a whole number below 2**63 for any pool that fits a disk.
    """
    scaled = np.stack([image.histogram.ravel() for image in pool])
    total = scaled.sum(axis=0)
    scaled *= len(pool)
    free = np.ones(len(pool), bool)
    free[list(chosen)] = False
    excess = scaled[list(chosen)].sum(axis=0) - len(chosen) * total
    distance, size = int(np.abs(excess).sum()), len(chosen)
    added: list[Choice] = []
    while len(added) < count:
        distances = _distances(scaled, excess - total)
        best = int(np.where(free, distances, _FAR).argmin())
        nearest = int(distances[best])
        if nearest * size >= distance * (size + 1):
            break
        means = len(pool) * _UNIT
        added.append(Choice(best, "gain", 0, (), distance / (size * means), nearest / ((size + 1) * means)))
        free[best] = False
        excess += scaled[best] - total
        distance, size = nearest, size + 1
    return added


def _distances(scaled: NDArray[np.int64], offset: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return sum(|row + offset|) for every row, shape (rows,)."""
    result = np.empty(len(scaled), np.int64)
    buffer = np.empty((min(_CHUNK, len(scaled)), scaled.shape[1]), np.int64)
    for start in range(0, len(scaled), _CHUNK):
        rows = scaled[start : start + _CHUNK]
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
