"""Whether one network agrees worse with a reference than another one does, beyond what chance explains.

The measure is the panoptic quality of boxes (Kirillov et al., 2019): the overlaps of all pairs, over the pairs and half
of what is lost and half of what is invented. Unlike an average precision it is a quotient of sums over objects, so that
what either network does to the same object can be set against each other.

Whether the difference is chance, a permutation test tells: were both networks alike, then in every image the one could
as well stand in the place of the other, and as large a difference would come of many such exchanges. It is right for
any number of images, where the percentiles of a bootstrap err with few. How large the difference is, is bounded by such
a bootstrap: images drawn again, with repetition. Images and not objects, since those of one image are seen or lost
together; with few images objects, and then too much is told rather than too little.
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
CHANCE = 0.025
"""How often two networks that are alike may be told apart."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairedTest:
    """Agreement of two networks with the same reference, 0..1, and the `difference`, second minus first.

    In 95 of 100 repetitions it lies between `low` and `high`; by `chance`, 0..1, it would be as far below zero. True
    when the second network is worse.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    chance: float
    images: int
    objects: int

    @property
    def worse(self) -> bool:
        """Whether the second network is worse beyond chance: neither test says otherwise."""
        return self.high < 0 and self.chance < CHANCE

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
    first_quality, second_quality = map(float, _qualities(units.sum(axis=0)))
    difference = second_quality - first_quality
    low, high = np.percentile(_redrawn(units), INTERVAL)
    chance = (1 + int((_exchanged(units) <= difference).sum())) / (1 + DRAWS)
    return PairedTest(first_quality, second_quality, difference, float(low), float(high), chance, len(images), objects)


def _redrawn(units: Floats) -> Floats:
    """Return the differences of samples of the same size, drawn with repetition."""
    random = np.random.default_rng(SEED)
    differences = np.zeros(DRAWS)
    for start in range(0, DRAWS if len(units) else 0, AT_ONCE):
        drawn = units[random.integers(0, len(units), (AT_ONCE, len(units)))].sum(axis=1)
        differences[start : start + AT_ONCE] = np.subtract(*_qualities(drawn)[::-1])
    return differences


def _exchanged(units: Floats) -> Floats:
    """Return the differences of the same sample, the networks exchanged in half of it."""
    random = np.random.default_rng(SEED)
    differences = np.zeros(DRAWS)
    for start in range(0, DRAWS if len(units) else 0, AT_ONCE):
        exchanged = random.integers(0, 2, (AT_ONCE, len(units), 1), dtype=np.int8)
        drawn = np.where(exchanged, units[:, (2, 3, 0, 1)], units).sum(axis=1)
        differences[start : start + AT_ONCE] = np.subtract(*_qualities(drawn)[::-1])
    return differences


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
