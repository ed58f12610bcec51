"""The table of all models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from build_rules.report_page.gather_model import target_row
from build_rules.report_page.page_names import page_link
from build_rules.report_page.told import ToldModel
from build_rules.report_page.views import IndexRow, IndexView

__all__ = ["gather_index"]


def gather_index(models: Sequence[ToldModel], has_page: Callable[[str], bool]) -> IndexView:
    """Return the first page; `has_page` tells of a model whether there is a page to lead to."""
    rows, without = [], []
    for told in sorted(models, key=lambda told: told.name):
        page = page_link(told.name) if has_page(told.name) else ""
        targets = [
            IndexRow(told.name, page, told.is_old and bool(page), target_row(target, told.comparisons))
            for target in told.targets
        ]
        rows += targets
        if not targets:
            without.append((told.name, page, next(iter(told.faults), "nothing is declared to be built")))
    states = Counter(row.target.state for row in rows)
    return IndexView(
        models=len(models),
        states=tuple(sorted(states.items(), key=lambda item: (item[0] != "fresh", item[0]))),
        rows=tuple(rows),
        without_targets=tuple(without),
        emulated=any(row.target.emulated for row in rows),
    )
