"""`max_dynamic_range_v1` against the same definition in exact fractions, and its promises."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build_rules.calibration.pool.select import BINS, Extreme, ImageStatistics, describe, max_dynamic_range_v1


def random_image(rng: np.random.Generator) -> ImageStatistics:
    counts = np.zeros((3, 256), np.int64)
    for channel in counts:
        levels = rng.integers(0, 256, rng.integers(1, 6))
        np.add.at(channel, levels, rng.integers(1, 50, len(levels)))
        # The same number of pixels in every channel, as in a picture.
        channel[levels[0]] += 300 - channel.sum()
    return describe(counts)


def random_pool(size: int, seed: int) -> list[ImageStatistics]:
    rng = np.random.default_rng(seed)
    return [random_image(rng) for _ in range(size)]


def selected_of(pool: Sequence[ImageStatistics], count: int, seed: int) -> tuple[int, ...]:
    return tuple(choice.index for choice in max_dynamic_range_v1(pool, count, seed))


def distance(pool: Sequence[ImageStatistics], chosen: Sequence[int]) -> Fraction:
    """L1 distance of the two mean histograms, exactly."""
    histograms = [[int(value) for value in image.histogram.ravel()] for image in pool]
    return sum(
        (
            abs(
                Fraction(sum(histograms[i][b] for i in chosen), len(chosen))
                - Fraction(sum(h[b] for h in histograms), len(pool))
            )
            for b in range(len(histograms[0]))
        ),
        Fraction(0),
    )


def by_definition(pool: Sequence[ImageStatistics], count: int) -> tuple[list[int], bool]:
    """Seed and greedy steps as the manual tells them; the second value says whether coverage saturated."""
    indices = range(len(pool))
    chosen: list[int] = []
    for channel in range(3):
        for index in (
            min(indices, key=lambda i: pool[i].minimum[channel]),
            max(indices, key=lambda i: pool[i].maximum[channel]),
        ):
            if index not in chosen and len(chosen) < count:
                chosen.append(index)
    while len(chosen) < count:
        best = min((i for i in indices if i not in chosen), key=lambda i: distance(pool, [*chosen, i]))
        if distance(pool, [*chosen, best]) >= distance(pool, chosen):
            return chosen, True
        chosen.append(best)
    return chosen, False


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 14), st.integers(1, 12), st.integers(0, 10_000))
def test_agrees_with_the_definition(size: int, count: int, seed: int) -> None:
    pool = random_pool(size, seed)
    selected = selected_of(pool, count, seed=42)
    assert len(selected) == min(size, count)
    assert list(selected) == sorted(set(selected))
    if size <= count:
        assert selected == tuple(range(size))
        return
    expected, saturated = by_definition(pool, count)
    assert set(expected) <= set(selected)
    assert saturated or sorted(expected) == list(selected)


def test_the_extremes_of_the_pool_are_kept() -> None:
    pool = random_pool(300, 5)
    chosen = [pool[index] for index in selected_of(pool, 12, seed=0)]
    for channel in range(3):
        assert min(image.minimum[channel] for image in chosen) == min(image.minimum[channel] for image in pool)
        assert max(image.maximum[channel] for image in chosen) == max(image.maximum[channel] for image in pool)


def by_reason(pool: Sequence[ImageStatistics], count: int) -> dict[str, list[int]]:
    """Indices by reason, each list in the order of choice."""
    found: dict[str, list[int]] = {}
    for choice in sorted(max_dynamic_range_v1(pool, count, seed=42), key=lambda choice: choice.order):
        found.setdefault(choice.reason, []).append(choice.index)
    return found


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 14), st.integers(1, 12), st.integers(0, 10_000))
def test_reasons_agree_with_the_definition(size: int, count: int, seed: int) -> None:
    pool = random_pool(size, seed)
    choices = max_dynamic_range_v1(pool, count, seed=42)
    assert sorted(choice.order for choice in choices) == list(range(len(choices)))
    reasons = by_reason(pool, count)
    if size <= count:
        assert set(reasons) <= {"extremum", "all"}
        return
    expected, saturated = by_definition(pool, count)
    assert reasons["extremum"] + reasons.get("gain", []) == expected
    assert ("fill" in reasons) == saturated
    for choice in choices:
        if choice.reason == "gain":
            before = expected[: choice.order]
            unit = 1 << 20
            assert choice.distance_before == pytest.approx(float(distance(pool, before)) / unit)
            assert choice.distance_after == pytest.approx(float(distance(pool, [*before, choice.index])) / unit)
        else:
            assert choice.distance_before is None


@pytest.mark.parametrize("count", [6, 300])
def test_every_extreme_has_the_first_image_that_holds_it(count: int) -> None:
    pool = random_pool(100, 5)
    held = {
        extreme: choice.index for choice in max_dynamic_range_v1(pool, count, seed=0) for extreme in choice.extremes
    }
    assert len(held) == 6
    for channel in range(3):
        lowest = min(image.minimum[channel] for image in pool)
        highest = max(image.maximum[channel] for image in pool)
        first = next(i for i, image in enumerate(pool) if image.minimum[channel] == lowest)
        assert held[Extreme(channel, "minimum", lowest)] == first
        first = next(i for i, image in enumerate(pool) if image.maximum[channel] == highest)
        assert held[Extreme(channel, "maximum", highest)] == first


def test_the_choice_never_changes() -> None:
    # Snapshots are named by their parameters alone: another choice under the same name would shadow this one.
    selected = selected_of(random_pool(3000, 11), 200, seed=42)
    assert hashlib.sha256(repr(selected).encode()).hexdigest()[:16] == "8757f0ae8313eaa4"
    assert max_dynamic_range_v1([], 4, seed=42) == ()


def test_ties_go_to_the_lowest_index() -> None:
    pool = [random_pool(1, 7)[0]] * 9
    assert selected_of(pool, 1, seed=0) == (0,)


def test_the_fill_follows_the_seed_and_not_the_place() -> None:
    # Equal histograms saturate at once; what is left to choose from differs in its extremes only.
    histogram = describe(np.ones((3, 256), np.int64)).histogram
    pool = [ImageStatistics((level,) * 3, (200 - level,) * 3, histogram) for level in range(100)]
    first = selected_of(pool, 20, seed=1)
    assert first == selected_of(pool, 20, seed=1)
    assert first != selected_of(pool, 20, seed=2)
    # An image that is not selected, wherever it stands, changes none of the others.
    left_out = next(index for index in range(1, 100) if index not in first)
    shorter = pool[:left_out] + pool[left_out + 1 :]
    assert [shorter[index] for index in selected_of(shorter, 20, seed=1)] == [pool[index] for index in first]


def test_statistics_of_an_image() -> None:
    counts = np.zeros((3, 256), np.int64)
    counts[0, 3] = 4
    counts[1, [0, 255]] = 2
    counts[2, [10, 11, 12, 200]] = 1
    image = describe(counts)
    assert image.minimum == (3, 0, 10)
    assert image.maximum == (3, 255, 200)
    assert image.histogram.shape == (3, BINS)
    unit = 1 << 20
    assert image.histogram[0, 0] == unit
    assert image.histogram[1, 0] == image.histogram[1, 63] == unit // 2
    assert image.histogram[2, 2] == unit // 2
    assert image.histogram[2, 3] == image.histogram[2, 50] == unit // 4
