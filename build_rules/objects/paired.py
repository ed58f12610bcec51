"""Whether one network agrees worse with a reference than another one does, beyond what chance explains.

The measure is the panoptic quality of boxes (Kirillov et al., 2019): the overlaps of all pairs, over the pairs and half
of what is lost and half of what is invented. Unlike an average precision it is a quotient of sums over objects, so that
what either network does to the same object can be set against each other. Both are drawn again from the same images,
with repetition (a paired bootstrap): objects of one image are seen or lost together, and an image is what was drawn
from the world. With few images objects are drawn instead; the interval is then too narrow rather than too wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from build_rules.objects.found import Objects
from build_rules.objects.match_objects import match_objects, shown

__all__ = ["FEW", "PairedTest", "is_worse"]

FEW = 8
"""With fewer images than these, objects are drawn."""
SEED = 20261201
DRAWS, AT_ONCE = 2000, 50
INTERVAL = (2.5, 97.5)
"""Percentiles: in 95 of 100 repetitions the true difference lies between."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairedTest:
    """Agreement of two networks with the same reference, 0..1, and the `difference`, second minus first.

    It lies between `low` and `high` in 95 of 100 repetitions. True when the second one is worse.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    images: int
    objects: int

    @property
    def worse(self) -> bool:
        """Whether the second network is worse beyond chance: not even the upper end of the interval says otherwise."""
        return self.high < 0

    def __bool__(self) -> bool:
        return self.worse


def is_worse(reference: Sequence[Objects], first: Sequence[Objects], second: Sequence[Objects]) -> PairedTest:
    """Compare how well two networks agree with a reference, image by image.

    Of all three those objects count that are scored 0.25 and more. Where nobody finds anything, all agree.
    """
    images = [_units(*map(shown, three)) for three in zip(reference, first, second, strict=True)]
    objects = sum(int((image[:, (1, 3)] > 0).all(axis=1).sum()) for image in images)
    rows = [image.sum(axis=0, keepdims=True) for image in images] if len(images) >= FEW else images
    units = np.concatenate([np.zeros((0, 4)), *rows])
    random = np.random.default_rng(SEED)
    differences = np.zeros(DRAWS)
    for start in range(0, DRAWS if len(units) else 0, AT_ONCE):
        drawn = units[random.integers(0, len(units), (AT_ONCE, len(units)))].sum(axis=1)
        differences[start : start + AT_ONCE] = np.subtract(*_qualities(drawn)[::-1])
    low, high = np.percentile(differences, INTERVAL)
    of_first, of_second = map(float, _qualities(units.sum(axis=0)))
    return PairedTest(of_first, of_second, of_second - of_first, float(low), float(high), len(images), objects)


def _units(reference: Objects, first: Objects, second: Objects) -> Floats:
    """Return a row for each object of an image: what it adds to the sums of both networks, above and below the line.

    Objects of the reference come first, those that one network invents behind them.
    """
    sides = []
    for found in (first, second):
        matches = match_objects(reference, found)
        has = matches.partners >= 0
        invented = len(found.scores) - int(has.sum())
        sides.append(
            (np.stack([matches.overlaps, np.where(has, 1.0, 0.5)], axis=-1), np.tile([0.0, 0.5], (invented, 1)))
        )
    (of_first, more), (of_second, others) = sides
    shared = np.concatenate([of_first, of_second], axis=-1)
    alone = np.concatenate([np.pad(more, ((0, 0), (0, 2))), np.pad(others, ((0, 0), (2, 0)))])
    return np.concatenate([shared, alone])


def _qualities(sums: Floats) -> tuple[Floats, Floats]:
    """Return the quality of both networks of the sums [..., 4]; that of nothing is 1."""
    above, below = sums[..., 0::2], sums[..., 1::2]
    qualities = np.divide(above, below, out=np.ones_like(above), where=below > 0)
    return qualities[..., 0], qualities[..., 1]
