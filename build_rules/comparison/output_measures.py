"""What quantizing does to one output: sums in float64 in the order of the images, of which no tensor is kept.

Formulas, x what float gives, q what is delivered, w the weight of a cell, over all values of all images:
SNR = 10 log10(sum x^2 / sum (x - q)^2), at objects 10 log10(sum w x^2 / sum w (x - q)^2); cosine = sum xq / sqrt(sum
x^2 sum q^2). That SNR is what Hailo's layer analysis and ONNX Runtime's `qdq_loss_debug` call signal-to-noise ratio.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log10, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from build_rules.comparison.measured import Histogram

__all__ = ["BINS", "HIGHEST_DB", "Grid", "Measured", "OutputMeter"]

BINS = 64
HIGHEST_DB = 200.0
"""What is told where nothing differs at all; float32 holds 150 dB."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """The grid of a delivered tensor: real = scale * (code - zero_point), codes of `bits`. Scale NaN: unknown."""

    scale: float
    zero_point: float
    bits: int

    @property
    def ends(self) -> tuple[float, float]:
        """The real values of its first and its last code."""
        return -self.scale * self.zero_point, self.scale * (2**self.bits - 1 - self.zero_point)


@dataclass(frozen=True)
class Measured:
    """The numbers of `OutputMeasure` that are measured. Without a known grid `saturated` and `range_used` are NaN."""

    snr: float
    snr_at_objects: float | None
    cosine: float
    saturated: float
    range_used: float
    histogram: Histogram


class OutputMeter:
    """Adds up one output of one network. The first image and the grid decide the range of the histogram; values outside
    are counted in its first and its last bin."""

    def __init__(self, grid: Grid) -> None:
        self._grid, self._known = grid, isfinite(grid.scale) and grid.scale > 0
        self._count = self._clipped = 0
        self._signal = self._noise = self._product = self._delivered = 0.0
        self._weighted: list[float] | None = None
        self._low, self._high = np.inf, -np.inf
        self._edges: tuple[float, float] | None = None
        self._bins = np.zeros((2, BINS), np.int64)

    def add(self, exact: Floats, delivered: Floats, weights: Floats | None) -> None:
        """Add one image: both [H, W, C] in real values; `weights` [H, W], None where nobody knows where objects are."""
        x, q = exact.astype(np.float64), delivered.astype(np.float64)
        squares, errors = x * x, (x - q) ** 2
        self._count += x.size
        self._signal += float(squares.sum())
        self._noise += float(errors.sum())
        self._product += float((x * q).sum())
        self._delivered += float((q * q).sum())
        if weights is not None:
            of_cells = weights.astype(np.float64)
            sums = [float((of_cells * values.sum(axis=-1)).sum()) for values in (squares, errors)]
            self._weighted = (
                sums if self._weighted is None else [a + b for a, b in zip(self._weighted, sums, strict=True)]
            )
        self._low, self._high = min(self._low, float(q.min())), max(self._high, float(q.max()))
        if self._known:
            self._clipped += self._beyond(x, q)
        self._add_to_bins(x, q)

    def _beyond(self, x: NDArray[np.float64], q: NDArray[np.float64]) -> int:
        """Count values at an end of the grid where float's lie beyond it: scores of 0 are rounded, not cut off."""
        half = self._grid.scale / 2
        first, last = self._grid.ends
        clipped = ((q < first + half) & (x < first - half)) | ((q > last - half) & (x > last + half))
        return int(np.count_nonzero(clipped))

    def _add_to_bins(self, x: NDArray[np.float64], q: NDArray[np.float64]) -> None:
        if self._edges is None:
            ends = self._grid.ends if self._known else ()
            low, high = min(float(x.min()), float(q.min()), *ends), max(float(x.max()), float(q.max()), *ends)
            self._edges = low, high if high > low else low + 1.0
        low, high = self._edges
        for row, values in enumerate((x, q)):
            places = ((values - low) * (BINS / (high - low))).clip(0, BINS - 1).astype(np.int64)
            self._bins[row] += np.bincount(places.ravel(), minlength=BINS)

    def measured(self) -> Measured:
        """Return what was measured so far, of one image at least."""
        steps = (2**self._grid.bits - 1) * self._grid.scale
        low, high = self._edges or (0.0, 1.0)
        exact, quantized = (tuple(map(int, row)) for row in self._bins)
        return Measured(
            snr=decibels(self._signal, self._noise),
            snr_at_objects=None if self._weighted is None else decibels(*self._weighted),
            cosine=_cosine(self._product, self._signal, self._delivered),
            saturated=self._clipped / max(self._count, 1) if self._known else nan,
            range_used=min(1.0, (self._high - self._low) / steps) if self._known else nan,
            histogram=Histogram(low, high, exact, quantized),
        )


def decibels(signal: float, noise: float) -> float:
    """Return a ratio of powers in dB, within `HIGHEST_DB` on both sides; 0 where there is neither signal nor noise."""
    if noise <= 0:
        return HIGHEST_DB if signal > 0 else 0.0
    return max(-HIGHEST_DB, min(HIGHEST_DB, 10 * log10(signal / noise))) if signal > 0 else -HIGHEST_DB


def _cosine(product: float, first: float, second: float) -> float:
    """Return the cosine of two vectors; that of two zeros is 1, of one of them 0."""
    if first <= 0 or second <= 0:
        return 1.0 if first <= 0 and second <= 0 else 0.0
    return max(-1.0, min(1.0, product / sqrt(first) / sqrt(second)))
