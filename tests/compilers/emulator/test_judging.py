"""What is kept is better where objects are, hardly worse elsewhere, and finds as much."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from build_rules.compilers.emulator.judging import Verdict
from build_rules.objects.agreement import Agreement

SHARES = {"boxes": 1.0}


def agreement(precision: float, lost: int = 0, invented: int = 0) -> Agreement:
    return Agreement(8, 20, precision, precision, 0.9, 0.0, lost, invented)


def verdict(at_objects: npt.ArrayLike, plain: float = 1.0, agreed: Agreement | None = None) -> Verdict:
    errors = np.asarray(at_objects, np.float64)
    return Verdict({"boxes": errors}, {"boxes": np.full(len(errors), plain)}, agreed)


BEFORE = verdict([1.0, 1.1, 0.9, 1.0], agreed=agreement(0.9, lost=1))
SMALLER = [0.7, 0.8, 0.65, 0.7]


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        (verdict(SMALLER, agreed=agreement(0.9, lost=1)), True),
        (verdict(SMALLER, plain=3.0, agreed=agreement(0.9, lost=1)), False),
        (verdict(SMALLER, agreed=agreement(0.89, lost=1)), False),
        (verdict(SMALLER, agreed=agreement(0.95, lost=1, invented=1)), False),
        (verdict([0.2, 1.3, 1.1, 1.2], agreed=agreement(0.95)), False),
        (verdict([1.0, 1.1, 0.9, 1.0], agreed=agreement(0.95)), False),
        (verdict(SMALLER), True),
    ],
    ids=["better", "background ruined", "agrees less", "finds what is not there", "by luck", "the same", "no objects"],
)
def test_what_is_kept(after: Verdict, kept: bool) -> None:
    assert after.is_better(BEFORE, SHARES) is kept
