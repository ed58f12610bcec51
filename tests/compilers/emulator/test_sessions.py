"""The same input gives the same bits, however many threads share the work."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from build_rules.compilers.emulator.sessions import Sums, each_sample, map_samples, sum_samples
from build_rules.compilers.in_order import MAX_WORKERS, in_order, worker_count


@pytest.mark.parametrize(("processors", "workers"), [(1, 1), (2, 2), (4, 4), (5, 4), (64, 4)])
def test_as_many_samples_at_once_as_processors_up_to_four(
    monkeypatch: pytest.MonkeyPatch, processors: int, workers: int
) -> None:
    assert MAX_WORKERS == 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(processors)), raising=False)
    assert worker_count() == workers


def test_where_nobody_tells_the_processors_two_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert worker_count() == 2


def at_once(workers: int | None, expected: int) -> bool:
    """Whether exactly `expected` samples of twice as many run at one time: each waits for that many to be there."""
    gate, most, running, lock = threading.Barrier(expected), 0, 0, threading.Lock()

    def work(sample: int) -> int:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        gate.wait(10)
        with lock:
            running -= 1
        return sample

    return map_samples(work, range(2 * expected), workers) == list(range(2 * expected)) and most == expected


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_as_many_threads_as_asked_for(workers: int) -> None:
    assert at_once(workers, workers)


def test_as_many_threads_as_there_are_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    assert at_once(None, 3)


@pytest.mark.parametrize("workers", [None, 1, 3])
def test_sums_are_those_of_the_samples_in_order_in_float64(workers: int | None) -> None:
    parts = np.random.default_rng(5).normal(scale=1e6, size=(20, 7)).astype(np.float32)

    def work(sample: int) -> Sums:
        return {"all": parts[sample]} | ({"late": parts[sample]} if sample > 10 else {})

    total = sum_samples(work, range(20), workers)
    in_order = np.zeros(7)
    for part in parts:
        in_order = in_order + part
    assert np.array_equal(total["all"], in_order)
    assert total["all"].dtype == total["late"].dtype == np.float64
    assert np.allclose(total["late"], parts[11:].sum(axis=0, dtype=np.float64))


def test_only_a_few_are_begun_before_they_are_asked_for_and_none_after_that() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return number

    results = in_order(work, range(1000), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    results.close()
    assert len(begun) <= 3 + 2 + 1


def test_an_error_comes_in_its_turn_and_ends_the_work() -> None:
    def work(number: int) -> int:
        return 6 // (3 - number)

    results = in_order(work, range(1000), workers=3)
    assert [next(results) for _ in range(3)] == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_how_far_it_is_is_told_with_the_time_left() -> None:
    told: list[str] = []
    assert list(each_sample(abs, [-4, -5], "observing", told.append)) == [4, 5]
    assert told == ["observing 1 of 2 samples, 0 s left", "observing 2 of 2 samples, 0 s left"]
