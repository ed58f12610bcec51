"""What is kept of a tensor of the float network: its extremes, some of its values, the mean of each channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build_rules.compilers.emulator.observe import MASKED, Observation, _observe

INF = float("inf")


def observed(value: Any, keep: int = 64, is_maskable: bool = False, shift: int = 0) -> Observation | None:
    return _observe(np.asarray(value, np.float32), keep, is_maskable, shift)


@pytest.mark.parametrize(
    ("value", "is_maskable", "expected"),
    [
        ([[[1, 2], [3, 8]]], False, (1, 8, [1.5, 5.5], [1, 2, 3, 8], False)),
        ([[[1, -INF], [3, 8]]], False, (1, 8, [1, 5.5], [1, 3, 8], True)),
        ([[[1, 2], [-INF, -INF]]], False, (1, 2, [1.5, 0], [1, 2], True)),
        ([[[1, MASKED], [3, MASKED]]], True, (1, 3, [1, 3], [1, 3], True)),
        ([[[1, MASKED + 1], [3, 4]]], True, (MASKED + 1, 4, [(MASKED + 2) / 2, 3.5], [1, MASKED + 1, 3, 4], False)),
        ([[[1, MASKED], [3, 4]]], False, (MASKED, 4, [(MASKED + 1) / 2, 3.5], [1, MASKED, 3, 4], False)),
        ([[[3e38, 3e38], [1, 1]]], False, (1, 3e38, [3e38, 1], [3e38, 3e38, 1, 1], False)),
    ],
    ids=["finite", "a mask", "a channel that is all mask", "at the bound", "above it", "no softmax", "a large sum"],
)
def test_one_sample(value: Any, is_maskable: bool, expected: tuple[Any, ...]) -> None:
    low, high, means, values, masked = expected
    found = observed(value, is_maskable=is_maskable)
    assert found is not None
    assert (found.low, found.high, found.masked) == (np.float32(low), np.float32(high), masked)
    np.testing.assert_array_equal(found.channel_means, np.asarray(means, np.float32))
    np.testing.assert_array_equal(found.values, np.asarray(values, np.float32))


@pytest.mark.parametrize("value", [[[[1, INF]]], [[[1, np.nan]]], [[[-INF, -INF]]]])
def test_what_is_neither_finite_nor_a_mask(value: Any) -> None:
    assert observed(value) is None


@pytest.mark.parametrize(("keep", "step"), [(64, 1), (32, 3), (16, 5), (1, 65)])
def test_an_odd_number_of_values_is_stepped_over(keep: int, step: int) -> None:
    value = np.arange(64, dtype=np.float32).reshape(1, 4, 16)
    found = observed(value, keep)
    assert found is not None
    assert found.values.tolist() == list(range(0, 64, step))


def test_other_samples_show_other_places() -> None:
    value = np.arange(64, dtype=np.float32).reshape(1, 4, 16)
    seen = [observed(value, 16, shift=shift) for shift in range(5)]
    assert sorted(number for each in seen if each is not None for number in each.values) == list(range(64))
