"""The checklist passes what is right, fails what is wrong, and says what nobody knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from build_rules.comparison.checklist import (
    CheckFacts,
    FirstLayer,
    KernelFacts,
    LayerRange,
    SampleFacts,
    run_checklist,
)
from build_rules.comparison.measured import Check
from build_rules.objects.agreement import Precision
from build_rules.records.split_json import Proof

SUBJECTS = (
    "float good to begin with",
    "cut and normalization equal the original",
    "first layer fed with the same bytes",
    "calibration: enough images",
    "calibration: diverse",
    "calibration: in the domain",
    "convolutions have batch normalization",
    "no layers with wide ranges",
)
FLOAT, CUT, FIRST, ENOUGH, DIVERSE, DOMAIN, NORMS, RANGES = range(8)


def seen(layer: str, used: float, high: float = 9.0) -> LayerRange:
    return LayerRange(layer, -1.0, high, used)


GOOD = CheckFacts(
    proof=Proof(0.0, 2),
    pixels_proven=True,
    count=1024,
    samples=SampleFacts(1024, 2, 0, 100),
    first_layer=FirstLayer(4),
    kernels=KernelFacts(10, 10, (), "/conv3", 3.0),
    ranges=(seen("net/conv1", 0.9), seen("net/conv2", 0.5), seen("net/const", 0, -1.0)),
    calibration_scores=(0.9, 0.8) * 10,
    held_out_scores=(0.9, 0.7) * 10,
    float_truth=Precision(64, 200, 0.91, 0.7),
)


def check(index: int, **changes: object) -> Check:
    return run_checklist(replace(GOOD, **changes))[index]  # type: ignore[arg-type]


def test_everything_good_passes_and_asks_for_nothing() -> None:
    checks = run_checklist(GOOD)
    assert tuple(one.subject for one in checks) == SUBJECTS
    assert {one.state for one in checks} == {"passed"}
    assert {one.advice for one in checks} == {""}


def test_of_nothing_nothing_is_known() -> None:
    assert {one.state for one in run_checklist(CheckFacts())} == {"not known"}


@pytest.mark.parametrize(
    ("index", "changes", "words"),
    [
        (FLOAT, {"float_truth": Precision(64, 200, 0.1, 0.05)}, "mAP50 0.100 against the truth, 200 objects"),
        (FLOAT, {"float_truth": None, "held_out_scores": (0.1,) * 9}, "something in 0 of 9 images"),
        (FIRST, {"first_layer": FirstLayer(4, ("a.jpg", "b.jpg"))}, "a.jpg, b.jpg give other bytes"),
        (ENOUGH, {"count": 63}, "63; the compiler takes its ranges of 64"),
        (DIVERSE, {"samples": SampleFacts(100, 11, 0, 11)}, "of 100 samples 11 are the same as others"),
        (DIVERSE, {"samples": SampleFacts(100, 0, 1, 0)}, "1 have one colour alone"),
        (DIVERSE, {"samples": SampleFacts(100, 0, 0, 51)}, "51 look like another one, as the frames of one film"),
        (DOMAIN, {"calibration_scores": (0.1,) * 20}, "0.10 in the median calibration image, 0.90 held out"),
        (
            NORMS,
            {"kernels": KernelFacts(9, 0, ("/a", "/b", "/c", "/d"), "/e", 40)},
            "/a, /b, /c and 1 more; the channels",
        ),
        (RANGES, {"ranges": (seen("n/conv1", 0.2), seen("n/conv2", 0.05))}, "n/conv2 (5% of -1 to 9), n/conv1 (20%"),
    ],
)
def test_what_is_wrong_fails_with_advice(index: int, changes: dict[str, object], words: str) -> None:
    result = check(index, **changes)
    assert result.state == "failed"
    assert words in result.text
    assert result.advice


@pytest.mark.parametrize(
    ("index", "changes", "words"),
    [
        (CUT, {"proof": None}, "switched off"),
        (CUT, {"pixels_proven": False}, "the normalization is proven when a target is built"),
        (FIRST, {"first_layer": FirstLayer(unknown="the snapshot was given")}, "the snapshot was given"),
        (DOMAIN, {"held_out_scores": (0.9,) * 7}, "scores on 8 held-out images and more would tell"),
        (NORMS, {"kernels": KernelFacts(9, 4, ())}, "5 of 9 have a bias"),
        (
            FLOAT,
            {"float_truth": Precision(4, 0, None, None), "calibration_scores": (), "held_out_scores": ()},
            "not run",
        ),
    ],
)
def test_what_cannot_be_known_is_said_to_be_so(index: int, changes: dict[str, object], words: str) -> None:
    result = check(index, **changes)
    assert result.state == "not known"
    assert words in result.text


def test_a_float_network_that_finds_something_is_not_said_to_be_right() -> None:
    result = check(FLOAT, float_truth=None)
    assert result.state == "passed"
    assert "20 of 20 images; whether it is right, no truth says" in result.text


def test_images_that_are_easier_than_those_held_out_are_of_the_domain() -> None:
    assert check(DOMAIN, calibration_scores=(0.95,) * 20, held_out_scores=(0.5,) * 20).state == "passed"


def test_a_difference_that_may_be_chance_is_none() -> None:
    few = {"calibration_scores": (0.2,) * 4 + (0.9,) * 4, "held_out_scores": (0.9,) * 8}
    assert check(DOMAIN, **few).state == "passed"


def test_fewer_images_than_the_fine_tune_wants_pass_with_advice() -> None:
    result = check(ENOUGH, count=256)
    assert (result.state, result.advice) == ("passed", "for `accurate` take 1024")
