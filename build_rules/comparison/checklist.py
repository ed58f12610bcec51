"""The accuracy checklist of Hailo's support, answered from what is known; what cannot be known is said to be so.

Source: the checklist that Hailo's engineers ask for in their forum before they look at a network that has lost its
accuracy: is the float network right, does the cut one with its normalization equal it, is the calibration set of the
domain, diverse and large enough, is the first layer fed with the same bytes, are there convolutions without batch
normalization, and layers with wide ranges.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

from build_rules.comparison.measured import Check
from build_rules.objects.agreement import Precision
from build_rules.records.split_json import Proof

__all__ = ["CheckFacts", "FirstLayer", "KernelFacts", "LayerRange", "SampleFacts", "run_checklist"]

CALIBRATED_ON, TUNED_ON = 64, 1024
"""Images of which Hailo's compiler takes ranges by default, and of which its fine-tune learns."""
REPEATED = 0.1
"""Share of samples that may be the same as others."""
ALIKE = 0.5
"""Share of samples that may look like another one: more are the frames of one film."""
LEAST_IMAGES = 8
"""Of fewer nothing is told of a distribution."""
APART, CERTAIN = 0.4, 1.95
"""Kolmogorov's distance that matters, and the factor by which it is no chance (one in a thousand)."""
NARROW = 0.25
"""Share of a range in which nearly all values lie: two of eight bits are spent on the rest."""
LEAST_PRECISION = 0.25
"""mAP50 of a network that detects something."""
SHOWN = 3


@dataclass(frozen=True)
class SampleFacts:
    """Of `looked_at` calibration samples: `repeated` ones equal another byte for byte, `flat` ones have one colour, and
    `alike` ones look like another one, made small."""

    looked_at: int
    repeated: int
    flat: int
    alike: int


@dataclass(frozen=True)
class FirstLayer:
    """Images made into samples again, as `doit infer` does: of `compared` ones these were `differing`. `unknown` says
    why nothing was compared."""

    compared: int = 0
    differing: tuple[str, ...] = ()
    unknown: str = ""


@dataclass(frozen=True)
class KernelFacts:
    """Of the `convolutions` of the cut graph, those with their batch normalization as a node behind them, those
    `without` any (they have no bias either, which a folded one leaves), and of the rest the one whose channels differ
    most, with the largest of their ranges over the median."""

    convolutions: int
    normalized: int
    without: tuple[str, ...]
    uneven: str = ""
    spread: float = 1.0


@dataclass(frozen=True)
class LayerRange:
    """The values of one layer on the calibration samples: `low` to `high`, and the share `used` of that range between
    their 0.1 and 99.9 percentiles."""

    layer: str
    low: float
    high: float
    used: float


@dataclass(frozen=True)
class CheckFacts:
    """What is known of one model; None and empty is unknown.

    `proof` is that of the cut, `pixels_proven` that of the normalization (`har` proves it before it quantizes). `count`
    are the calibration samples. `calibration_scores` and `held_out_scores` are the float network's best score in each
    image, 0 where it finds nothing.
    """

    proof: Proof | None = None
    pixels_proven: bool = False
    count: int = 0
    samples: SampleFacts | None = None
    first_layer: FirstLayer = FirstLayer(unknown="nothing is built yet")
    kernels: KernelFacts | None = None
    ranges: tuple[LayerRange, ...] | None = None
    calibration_scores: tuple[float, ...] = ()
    held_out_scores: tuple[float, ...] = ()
    shown_score: float = 0.25
    float_truth: Precision | None = None


def run_checklist(facts: CheckFacts) -> tuple[Check, ...]:
    """Return the answers, in the order in which a loss is looked for."""
    return (
        _float(facts),
        _cut(facts),
        _first_layer(facts.first_layer),
        _enough(facts.count),
        _diverse(facts.samples),
        _domain(facts.calibration_scores, facts.held_out_scores),
        _kernels(facts.kernels),
        _ranges(facts.ranges),
    )


State = Literal["passed", "failed", "not known"]


def _float(facts: CheckFacts) -> Check:
    subject, advice = "float good to begin with", "quantization mends nothing: train further, or export another weight"
    if (truth := facts.float_truth) is not None and truth.map50 is not None:
        state: State = "passed" if truth.map50 >= LEAST_PRECISION else "failed"
        text = f"mAP50 {truth.map50:.3f} against the truth, {truth.objects} objects in {truth.images} images"
        return Check(subject, state, text, advice if state == "failed" else "")
    scores = facts.held_out_scores or facts.calibration_scores
    if not scores:
        return Check(subject, "not known", "the float network was not run, or its objects cannot be read")
    found = sum(score >= facts.shown_score for score in scores)
    text = f"the float network finds something in {found} of {len(scores)} images; whether it is right, no truth says"
    if not found:
        return Check(
            subject, "failed", text, "give it images of what it was trained for, or a normalization that is right"
        )
    return Check(subject, "passed", text)


def _cut(facts: CheckFacts) -> Check:
    subject = "cut and normalization equal the original"
    if facts.proof is None:
        return Check(
            subject,
            "not known",
            "the proof of the cut is switched off",
            "remove proof = false from [split] of model.toml",
        )
    text = (
        f"the removed tail, run on the endpoints, gives the original outputs within {facts.proof.max_abs_error:g} on "
        f"{facts.proof.inputs} inputs"
    )
    if not facts.pixels_proven:
        return Check(subject, "not known", f"{text}; the normalization is proven when a target is built", "run doit")
    return Check(subject, "passed", f"{text}; on a calibration sample the parsed network gives what the export gives")


def _first_layer(facts: FirstLayer) -> Check:
    subject = "first layer fed with the same bytes"
    if facts.unknown:
        return Check(subject, "not known", facts.unknown)
    if facts.differing:
        return Check(
            subject,
            "failed",
            f"of {facts.compared} calibration images made anew, {_some(facts.differing)} give other bytes than the "
            "snapshot holds",
            "run doit clean for this model and build again; if that does not help, please report it",
        )
    text = f"{facts.compared} calibration images, made anew as doit infer makes them, are the snapshot's to the byte"
    return Check(subject, "passed", text)


def _enough(count: int) -> Check:
    subject = "calibration: enough images"
    if not count:
        return Check(subject, "not known", "there is no calibration snapshot yet", "run doit")
    if count < CALIBRATED_ON:
        advice = f"take {CALIBRATED_ON} and more"
        return Check(subject, "failed", f"{count}; the compiler takes its ranges of {CALIBRATED_ON}", advice)
    if count < TUNED_ON:
        text = f"{count}; the fine-tune of `accurate` would like {TUNED_ON}"
        return Check(subject, "passed", text, f"for `accurate` take {TUNED_ON}")
    return Check(subject, "passed", f"{count}")


def _diverse(facts: SampleFacts | None) -> Check:
    subject = "calibration: diverse"
    if facts is None or not facts.looked_at:
        return Check(subject, "not known", "there are no samples to look at")
    faults = []
    if facts.flat:
        faults.append(f"{facts.flat} have one colour alone")
    if facts.repeated > REPEATED * facts.looked_at:
        faults.append(f"{facts.repeated} are the same as others")
    if facts.alike > ALIKE * facts.looked_at:
        faults.append(f"{facts.alike} look like another one, as the frames of one film do")
    if faults:
        text = f"of {facts.looked_at} samples {', '.join(faults)}"
        return Check(subject, "failed", text, "take images of other places, times and lights")
    return Check(subject, "passed", f"of {facts.looked_at} samples {facts.repeated} are repeated, {facts.alike} alike")


def _domain(calibration: Sequence[float], held_out: Sequence[float]) -> Check:
    subject = "calibration: in the domain"
    if min(len(calibration), len(held_out)) < LEAST_IMAGES:
        return Check(
            subject,
            "not known",
            f"the float network's scores on {LEAST_IMAGES} held-out images and more would tell",
            "name held-out images: doit compare MODEL IMAGES..., or images in [compare] of model.toml",
        )
    gap = _lower_by(calibration, held_out)
    certain = CERTAIN * sqrt(1 / len(calibration) + 1 / len(held_out))
    found = [sorted(scores)[len(scores) // 2] for scores in (calibration, held_out)]
    text = f"the float network's best score is {found[0]:.2f} in the median calibration image, {found[1]:.2f} held out"
    if gap > max(APART, certain):
        advice = "calibrate with images of what the network will see: it finds little in these"
        return Check(subject, "failed", text, advice)
    return Check(subject, "passed", text)


def _lower_by(these: Sequence[float], others: Sequence[float]) -> float:
    """Return how much more of `these` than of `others` lie below a score, at most: Kolmogorov's distance, one-sided."""
    left, right = sorted(these), sorted(others)
    return max(bisect_right(left, s) / len(left) - bisect_right(right, s) / len(right) for s in (*left, *right))


def _kernels(facts: KernelFacts | None) -> Check:
    subject = "convolutions have batch normalization"
    if facts is None or not facts.convolutions:
        return Check(subject, "not known", "no graph was looked at, or it has no convolution with weights of its own")
    spread = (
        f"; the channels of {facts.uneven} differ most, {facts.spread:.0f} times the median" if facts.uneven else ""
    )
    if facts.without:
        return Check(
            subject,
            "failed",
            f"{len(facts.without)} of {facts.convolutions} have none and no bias, which a folded one leaves: "
            f"{_some(facts.without)}{spread}",
            "train them with batch normalization, or give these layers 16 bits",
        )
    if facts.normalized == facts.convolutions:
        return Check(subject, "passed", f"all {facts.convolutions} have it behind them in the graph{spread}")
    rest = facts.convolutions - facts.normalized
    text = (
        f"{rest} of {facts.convolutions} have a bias; whether the export folded it in, the graph does not say{spread}"
    )
    return Check(subject, "not known", text)


def _ranges(layers: Sequence[LayerRange] | None) -> Check:
    subject = "no layers with wide ranges"
    if not layers:
        return Check(subject, "not known", "there are no statistics of the emulator, which measure them")
    moving = [layer for layer in layers if layer.high > layer.low]
    wide = sorted((one for one in moving if one.used < NARROW), key=lambda one: (one.used, one.layer))
    if not wide:
        return Check(
            subject, "passed", f"in all of {len(layers)} layers 998 of 1000 values fill a quarter of the range"
        )
    named = [f"{layer.layer} ({layer.used:.0%} of {layer.low:.3g} to {layer.high:.3g})" for layer in wide]
    text = f"in {len(wide)} of {len(layers)} layers 998 of 1000 values fill less than a quarter of it: {_some(named)}"
    return Check(subject, "failed", text, "clip their activations, or give them 16 bits: doit compare MODEL --layers")


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
