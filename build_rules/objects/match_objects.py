"""Which object that one network finds is which one that another finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from build_rules.objects.found import Objects
from build_rules.objects.suppress import box_iou

__all__ = ["SAME", "SHOWN", "Matches", "match_objects", "shown"]

SHOWN = 0.25
"""The score from which on an object counts as found: what Ultralytics' `predict` and EdgeFirst's tools begin with."""
SAME = 0.5
"""The least overlap of two boxes of one object."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs of one image: for each object of the reference the index of its partner, -1 without, and their overlap."""

    partners: NDArray[np.int64]
    overlaps: NDArray[np.float64]


def shown(objects: Objects) -> Objects:
    """Return the objects that somebody would be shown: those scored `SHOWN` and more."""
    is_shown = objects.scores >= SHOWN
    return Objects(objects.boxes[is_shown], objects.scores[is_shown], objects.labels[is_shown])


def match_objects(reference: Objects, found: Objects) -> Matches:
    """Pair objects of one image, one to one: each found one, best score first, takes the free object that it overlaps
    most, of its class and by at least `SAME`. Of equal overlaps the first is taken."""
    partners = np.full(len(reference.scores), -1, np.int64)
    overlaps = np.zeros(len(partners))
    ious = box_iou(found.boxes, reference.boxes)
    ious[found.labels[:, None] != reference.labels[None]] = 0
    for index in np.argsort(-found.scores, kind="stable"):
        free = np.where(partners < 0, ious[index], 0)
        if len(free) and free.max() >= SAME:
            taken = int(free.argmax())
            partners[taken], overlaps[taken] = index, free[taken]
    return Matches(partners, overlaps)
