"""Numbers about one output, against formulas written down apart from them, over all images at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from build_rules.comparison.output_measures import BINS, HIGHEST_DB, Grid, OutputMeter

Floats = NDArray[np.float32]


def meter(grid: Grid, exact: Floats, delivered: Floats, weights: Floats | None = None) -> OutputMeter:
    """All images [N, H, W, C], one after the other."""
    made = OutputMeter(grid)
    for number, (x, q) in enumerate(zip(exact, delivered, strict=True)):
        made.add(x, q, None if weights is None else weights[number])
    return made


def rounded(grid: Grid, values: Floats) -> Floats:
    codes = np.clip(np.rint(values / grid.scale + grid.zero_point), 0, 2**grid.bits - 1)
    return np.asarray(grid.scale * (codes - grid.zero_point), np.float32)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.sampled_from([8, 16]), st.floats(0.01, 3))
def test_sums_over_images_are_the_formulas_over_all_of_them(seed: int, images: int, bits: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    exact = random.normal(0, spread, (images, 3, 4, 5)).astype(np.float32)
    grid = Grid(4.0 / 2**bits, 2 ** (bits - 1), bits)
    delivered = rounded(grid, exact + random.normal(0, 0.05, exact.shape).astype(np.float32))
    weights = random.random((images, 3, 4)).astype(np.float32)
    got = meter(grid, exact, delivered, weights).measured()
    x, q, w = (values.astype(np.float64) for values in (exact, delivered, weights))
    assert got.snr == pytest.approx(20 * math.log10(np.linalg.norm(x) / np.linalg.norm(x - q)))
    spreadout = np.repeat(w[..., None], 5, axis=-1)
    noise = np.average((x - q) ** 2, weights=spreadout)
    assert got.snr_at_objects == pytest.approx(10 * math.log10(np.average(x**2, weights=spreadout) / noise))
    assert got.cosine == pytest.approx(np.dot(x.ravel(), q.ravel()) / np.linalg.norm(x) / np.linalg.norm(q))
    codes = np.rint(q / grid.scale + grid.zero_point)
    assert got.range_used == pytest.approx((codes.max() - codes.min()) / (2**bits - 1), abs=1e-5)
    clipped = ((codes == 0) & (x < grid.ends[0] - grid.scale / 2)) | (
        (codes == 2**bits - 1) & (x > grid.ends[1] + grid.scale / 2)
    )
    assert got.saturated == pytest.approx(clipped.mean())
    histogram = got.histogram
    assert sum(histogram.exact) == sum(histogram.quantized) == x.size
    edges = np.linspace(histogram.low, histogram.high, BINS + 1)
    expected = np.histogram(np.clip(q, histogram.low, histogram.high), edges)[0]
    assert np.abs(np.cumsum(expected) - np.cumsum(histogram.quantized)).max() <= 0.02 * x.size + 1


def test_scores_of_zero_are_rounded_and_not_cut_off() -> None:
    grid = Grid(1 / 255, 0, 8)
    exact = np.full((1, 2, 2, 1), 1e-5, np.float32)
    assert meter(grid, exact, np.zeros_like(exact)).measured().saturated == 0
    too_large = np.array([[[[1.5], [0.5]]]], np.float32)
    assert meter(grid, too_large, rounded(grid, too_large)).measured().saturated == 0.5


def test_what_is_equal_and_what_is_nothing_have_numbers() -> None:
    grid, ones = Grid(0.5, 0, 8), np.ones((1, 2, 2, 3), np.float32)
    same = meter(grid, ones, ones).measured()
    assert (same.snr, same.snr_at_objects) == (HIGHEST_DB, None)
    assert same.cosine == pytest.approx(1)
    nothing = meter(grid, 0 * ones, 0 * ones, np.zeros((1, 2, 2), np.float32)).measured()
    assert (nothing.snr, nothing.cosine, nothing.snr_at_objects) == (0, 1, 0)
    assert meter(grid, ones, 0 * ones).measured().cosine == 0
    assert meter(grid, 0 * ones, ones).measured().snr == -HIGHEST_DB


def test_without_a_grid_nothing_is_said_of_it() -> None:
    ones = np.ones((1, 2, 2, 3), np.float32)
    got = meter(Grid(math.nan, 0, 8), ones, ones * 1.25).measured()
    assert math.isnan(got.saturated)
    assert math.isnan(got.range_used)
    assert got.snr == pytest.approx(20 * math.log10(4))


def test_values_outside_of_the_first_image_and_the_grid_are_in_the_outer_bins() -> None:
    exact = np.array([[[[0.0]]], [[[1e6]]], [[[-1e6]]]], np.float32)
    got = meter(Grid(1 / 255, 0, 8), exact, np.zeros_like(exact)).measured().histogram
    assert got.low == 0
    assert got.high == pytest.approx(1)
    assert got.exact[0] == 2
    assert got.exact[-1] == 1
