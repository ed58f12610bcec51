"""Bars and histograms: from numbers to places in a picture. Rounded, so that equal numbers give equal text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from build_rules.comparison.measured import Histogram
from build_rules.report_page.views import HistogramView

__all__ = ["HEIGHT", "WIDTH", "axis_start", "draw_histogram", "part_of_axis"]

WIDTH, HEIGHT = 240.0, 56.0
"""Of a histogram, in the picture's units."""


def draw_histogram(histogram: Histogram) -> HistogramView | None:
    """Return the curves of a histogram; heights are logarithms of counts, since most values lie at one place.

    None when it has no bins or its two sides have different ones.
    """
    bins = len(histogram.exact)
    most = max((*histogram.exact, *histogram.quantized), default=0)
    if bins == 0 or bins != len(histogram.quantized) or most <= 0:
        return None
    top = math.log1p(most)
    exact = _steps([math.log1p(max(0, count)) / top for count in histogram.exact])
    quantized = _steps([math.log1p(max(0, count)) / top for count in histogram.quantized])
    area = f"M0 {HEIGHT:g} {exact} L{WIDTH:g} {HEIGHT:g} Z"
    return HistogramView(area, f"M0 {HEIGHT:g} {quantized}", f"{histogram.low:.4g}", f"{histogram.high:.4g}")


def _steps(parts: Sequence[float]) -> str:
    """Return one horizontal line for each bin, joined by vertical ones."""
    wide = WIDTH / len(parts)
    lines = []
    for number, part in enumerate(parts):
        y = _short(HEIGHT - part * (HEIGHT - 2))
        lines.append(f"L{_short(number * wide)} {y} L{_short((number + 1) * wide)} {y}")
    return " ".join(lines)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def axis_start(values: Sequence[float]) -> float:
    """Return where an axis of shares (0..1) begins that ends at 1: such that differences between `values` show.

    The largest of 0, 0.5, 0.8, 0.9, 0.95 from which on at least a fifth of the axis lies below the smallest value.
    """
    smallest = min(values, default=0.0)
    fitting = [start for start in (0.5, 0.8, 0.9, 0.95) if smallest >= start + 0.2 * (1 - start)]
    return max(fitting, default=0.0)


def part_of_axis(value: float, start: float) -> float:
    """Return where a value is on the axis from `start` to 1, as a part of it."""
    return min(1.0, max(0.0, (value - start) / (1 - start)))
