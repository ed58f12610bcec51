"""The best box of each object stays: judged by a plain reference, in bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build_rules.objects.suppress import MAX_CANDIDATES, box_iou, suppress
from tests.metadata.synthetic import Array
from tests.profiles import either


def plain_iou(a: Array, b: Array) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    both = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return float(both / union) if union > 0 else 0.0


def plain(boxes: Array, scores: Array, labels: Array, overlap: float) -> list[int]:
    kept: list[int] = []
    for one in sorted(range(len(scores)), key=lambda index: (-scores[index], index)):
        if all(labels[one] != labels[k] or plain_iou(boxes[one], boxes[k]) <= overlap for k in kept):
            kept.append(one)
    return kept


def scattered(seed: int, count: int, classes: int, field: int = 60) -> tuple[Array, Array, Array]:
    """Boxes that overlap often, with scores of which many are equal."""
    random = np.random.default_rng(seed)
    low = random.integers(0, field, (count, 2))
    boxes = np.concatenate([low, low + random.integers(0, 30, (count, 2))], axis=1).astype(np.float64)
    return boxes, random.integers(1, 20, count) / 20, random.integers(0, classes, count)


@settings(max_examples=either(30, 300), deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 300), st.integers(1, 4), st.sampled_from([0.1, 0.45, 0.7, 1.0]))
def test_those_stay_that_a_plain_loop_keeps(seed: int, count: int, classes: int, overlap: float) -> None:
    boxes, scores, labels = scattered(seed, count, classes)
    kept = suppress(boxes, scores, labels, overlap, count + 1)
    assert kept.tolist() == plain(boxes, scores, labels, overlap)
    assert suppress(boxes, scores, labels, overlap, 7).tolist() == kept[:7].tolist()


def test_overlap_is_intersection_over_union() -> None:
    boxes, _, _ = scattered(1, 40, 1)
    expected = [[plain_iou(a, b) for b in boxes] for a in boxes]
    np.testing.assert_allclose(box_iou(boxes, boxes), expected)
    assert box_iou(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2]]))[0, 0] == pytest.approx(1 / 3)


def test_sides_the_wrong_way_round_overlap_nothing() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [10, 10, 0, 0], [8, 0, 2, 10]])
    np.testing.assert_array_equal(box_iou(boxes, boxes), np.diag([1.0, 0, 0]))


def test_memory_does_not_grow_with_the_square() -> None:
    boxes, scores, labels = scattered(2, MAX_CANDIDATES + 5000, 1, 100_000)
    tracemalloc.start()
    try:
        kept = suppress(boxes, scores, labels, 0.5, 300)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept) == 300
    assert peak < 20e6


def test_no_more_are_looked_at_than_ultralytics_does() -> None:
    count = MAX_CANDIDATES + 10
    boxes = np.repeat(np.array([[0.0, 0, 9, 9]]), count, axis=0)
    boxes[-1] += 100  # the worst: not looked at
    kept = suppress(boxes, np.linspace(1, 0.5, count), np.zeros(count, np.int64), 0.5, 300)
    assert kept.tolist() == [0]
