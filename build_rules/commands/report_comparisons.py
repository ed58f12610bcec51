"""Comparisons for the page: what was compared before, and what has to be compared now."""

from __future__ import annotations

from build_rules.comparison.measured import Comparison
from build_rules.report_page.told import ToldModel

__all__ = ["known_comparisons"]


def known_comparisons(told: ToldModel) -> tuple[Comparison, ...]:
    """Return what was compared before and still holds."""
    return ()
