"""Who is worse is told, who is not is not, and chance is left to chance."""

from __future__ import annotations

import numpy as np
import pytest

from build_rules.objects.found import Objects
from build_rules.objects.paired import FEW, is_worse

NOTHING = Objects(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))


def scenes(count: int, objects: int = 6, seed: int = 1) -> list[Objects]:
    random = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        low = np.arange(objects)[:, None] * [50.0, 0] + random.uniform(0, 10, (objects, 2))
        boxes = np.concatenate([low, low + random.uniform(15, 30, (objects, 2))], axis=1)
        images.append(Objects(boxes, np.linspace(0.9, 0.5, objects), np.arange(objects) % 3))
    return images


def shaken(images: list[Objects], pixels: float, seed: int) -> list[Objects]:
    random = np.random.default_rng(seed)
    return [Objects(o.boxes + random.normal(0, pixels, o.boxes.shape), o.scores, o.labels) for o in images]


def without(images: list[Objects], every: int) -> list[Objects]:
    """All images, each `every`-th without its last object."""
    return [
        Objects(o.boxes[:-1], o.scores[:-1], o.labels[:-1]) if index % every == 0 else o
        for index, o in enumerate(images)
    ]


@pytest.mark.parametrize("count", [2, FEW, 40])
def test_boxes_that_suffer_more_are_worse(count: int) -> None:
    reference = scenes(count)
    first, second = shaken(reference, 0.5, 2), shaken(reference, 2, 3)
    result = is_worse(reference, first, second)
    assert result
    assert result.low <= result.difference <= result.high < 0
    assert result.second < result.first < 1
    assert (result.images, result.objects) == (count, 6 * count)
    assert not is_worse(reference, second, first)


@pytest.mark.parametrize("seed", range(8))
def test_boxes_that_suffer_alike_are_not(seed: int) -> None:
    # By its nature such an interval misses the truth in one of twenty: not in these.
    reference = scenes(30)
    assert not is_worse(reference, shaken(reference, 1, 100 + seed), shaken(reference, 1, 200 + seed))


def test_who_is_the_same_is_not_worse() -> None:
    reference = scenes(12)
    found = shaken(reference, 1, 5)
    result = is_worse(reference, found, found)
    assert not result
    assert (result.difference, result.low, result.high) == (0, 0, 0)
    assert is_worse(reference, reference, reference).second == 1


def test_lost_and_invented_objects_are_worse() -> None:
    reference = scenes(30)
    fewer = without(reference, 2)
    assert is_worse(reference, reference, fewer)
    assert is_worse(fewer, fewer, reference)  # what the reference does not see is invented


def test_one_object_of_many_is_chance() -> None:
    reference = scenes(30)
    assert not is_worse(reference, reference, without(reference, 30))


def test_the_quality_is_that_of_its_formula() -> None:
    one = Objects(np.array([[0.0, 0, 10, 10], [50, 0, 60, 10]]), np.array([0.9, 0.8]), np.array([0, 0]))
    found = Objects(
        np.array([[0.0, 0, 10, 8], [90, 0, 99, 9], [50, 0, 60, 10]]), np.array([0.9, 0.5, 0.2]), np.array([0, 0, 0])
    )
    result = is_worse([one], [one], [found])
    assert result.first == 1
    assert result.second == pytest.approx(0.8 / (1 + 0.5 + 0.5))


def test_where_nobody_finds_anything_all_agree() -> None:
    for count in (0, 1, 20):
        result = is_worse([NOTHING] * count, [NOTHING] * count, [NOTHING] * count)
        assert (result.first, result.second, result.low, result.high) == (1, 1, 0, 0)


def test_the_same_is_told_again() -> None:
    reference = scenes(20)
    three = reference, shaken(reference, 1, 5), shaken(reference, 2, 6)
    assert is_worse(*three) == is_worse(*three)
