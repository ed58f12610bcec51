"""Which preset to take, on objects that were made up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from build_rules.comparison.choose_preset import Candidate, advise
from build_rules.objects.found import Objects
from build_rules.objects.measure_agreement import agree
from build_rules.objects.paired import is_worse

IMAGES = 24


def scenes(shift: float = 0.0, lost: int = 0, images: int = IMAGES) -> list[Objects]:
    """Three objects in each image, moved by some pixels; of every image the first `lost` are not found."""
    found = []
    for number in range(images):
        corners = np.array([[10, 10], [60, 20], [120, 90]], np.float64)[lost:] + number
        boxes = np.concatenate([corners, corners + 40], axis=1) + shift * (1 + number % 3)
        found.append(Objects(boxes, np.linspace(0.9, 0.7, len(boxes)), np.zeros(len(boxes), np.int64)))
    return found


def candidate(preset: str, objects: Sequence[Objects], built: bool = True) -> Candidate:
    return Candidate(preset, built, agree(scenes(images=len(objects)), objects, 1), objects)


def test_the_cheapest_is_taken_where_none_is_better() -> None:
    advice = advise([candidate("fast", scenes()), candidate("balanced", scenes())], scenes(), "held-out")
    assert advice.take == "fast"
    assert "no other preset agrees better" in advice.because
    assert "1.000 on 24 held-out images with 72 objects" in advice.because


def test_a_cheaper_one_that_finds_less_is_not_taken() -> None:
    candidates = [candidate("fast", scenes(lost=1)), candidate("balanced", scenes()), candidate("accurate", scenes())]
    advice = advise(candidates, scenes(), "held-out")
    assert advice.take == "balanced"
    assert "fast (0.6" in advice.because
    assert "worse beyond chance" in advice.because


def test_what_nobody_would_see_is_not_worth_a_dearer_one() -> None:
    advice = advise([candidate("fast", scenes(0.05)), candidate("balanced", scenes())], scenes(), "held-out")
    assert advice.take == "fast"
    assert advice.because.count(".") == advice.because.count("0.") + advice.because.count("1.0") + 1  # one sentence


def test_boxes_that_lie_better_are_not_paid_for_where_precision_is_the_same() -> None:
    """Beyond chance, and by more than what the test calls nothing; a third preset between the two changes nothing."""
    fast, balanced, accurate = scenes(0.1), scenes(0.09), scenes()
    assert is_worse(scenes(), accurate, fast).difference < -0.01
    candidates = [candidate("fast", fast), candidate("balanced", balanced), candidate("accurate", accurate)]
    for some in (candidates, candidates[::2]):
        assert advise(some, scenes(), "held-out").take == "fast"


def test_a_dearer_one_that_is_worse_is_not_taken() -> None:
    worst = candidate("accurate", scenes(lost=2))
    candidates = [candidate("fast", scenes(lost=1)), candidate("balanced", scenes()), worst]
    assert advise(candidates, scenes(), "held-out").take == "balanced"
    advice = advise(candidates[::2], scenes(), "held-out")
    assert advice.take == "fast"
    assert "no other preset agrees better" in advice.because


def test_one_that_nobody_has_built_is_told_to_be_built() -> None:
    candidates = [candidate("fast", scenes(lost=1)), candidate("balanced", scenes(), built=False)]
    advice = advise(candidates, scenes(), "held-out")
    assert advice.take == "balanced"
    assert 'preset = "balanced"' in advice.because


def test_it_says_where_little_or_nothing_can_be_told() -> None:
    few = advise([candidate("fast", scenes(images=2))], scenes(images=2), "calibration")
    assert "so few tell little" in few.because
    assert "only one that was compared" in few.because
    nothing = [Objects(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))] * 3
    none = advise([Candidate("fast", True, agree(nothing, nothing, 1), nothing)], nothing, "held-out")
    assert none.take is None
    assert "finds nothing" in none.because
    assert advise([Candidate("fast", True, None)], [], "held-out").take is None


def test_what_is_still_lost_is_said_to_be_for_mixed_precision() -> None:
    advice = advise([candidate("fast", scenes(lost=1)), candidate("balanced", scenes(lost=1))], scenes(), "held-out")
    assert advice.take == "fast"
    assert "--mixed" in advice.because
