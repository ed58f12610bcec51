"""How much a run tries of what is slow: a sample of every kind, or all there is.

`EXPERIMENTS=all` is every case of what kills builds and edits files under them, `PROPERTIES=all` every example of what
is tried on many.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["EVERYTHING", "EXPERIMENTS", "either", "sampled"]

EXPERIMENTS = os.environ.get("EXPERIMENTS") == "all"
EVERYTHING = os.environ.get("PROPERTIES") == "all"

Case = TypeVar("Case")


def either(few: int, many: int) -> int:
    """Return how many examples a property tries: `few` in a plain run, `many` where all is asked for."""
    return many if EVERYTHING else few


def sampled(cases: Sequence[Case], count: int, everything: bool = EVERYTHING) -> Sequence[Case]:
    """Return `count` cases, evenly spread, with the first and the last; all of them where all is asked for."""
    if everything or len(cases) <= count:
        return cases
    return [cases[index * (len(cases) - 1) // (count - 1)] for index in range(count)]
