"""Which preset to take, in one sentence: the cheapest that agrees with float as well as the best one, within chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from build_rules.objects.agreement import Agreement
from build_rules.objects.found import Objects
from build_rules.objects.paired import FEW, is_worse

__all__ = ["Advice", "Candidate", "advise"]

FEW_OBJECTS = 20
"""Fewer objects than these tell little, however many images they are in."""
NOBODY = (
    "Which preset is enough cannot be told: nobody reads objects of these outputs, so their signal-to-noise ratios are "
    "all there is."
)
MATTERS = 0.01
"""Agreement and quality (0..1) by which a preset has to be worse, beyond chance, before a dearer one is worth it."""
GOOD = 0.9
"""Agreement (AP50-95 with float) from which on nothing more is proposed."""


@dataclass(frozen=True)
class Candidate:
    """A preset with what it finds; no agreement where nobody reads objects. They come as they cost, cheapest first."""

    preset: str
    built: bool
    agreement: Agreement | None
    objects: Sequence[Objects] = ()


@dataclass(frozen=True)
class Advice:
    """The preset to take, None when none can be told, and why, one sentence."""

    take: str | None
    because: str


def advise(candidates: Sequence[Candidate], reference: Sequence[Objects], images: str) -> Advice:
    """Return which preset to take; `reference` is what float finds in the same images, which are called `images`."""
    judged = [each for each in candidates if each.agreement is not None]
    if not judged:
        return Advice(None, NOBODY)
    counted = judged[0].agreement
    assert counted is not None
    if not counted.objects or all(_precision(each) is None for each in judged):
        return Advice(
            None,
            f"Which preset is enough cannot be told: the float network finds nothing scored 0.25 and more in these "
            f"{counted.images} {images} images; name images that show what it detects.",
        )
    best = max(judged, key=lambda each: _precision(each) or 0.0)  # of equals the first, which is the cheapest
    index = next(number for number, each in enumerate(judged) if not _is_beaten(each, judged, reference))
    taken = judged[index]
    agrees = f"AP50-95 with float {_shown(taken)} on {counted.images} {images} images with {counted.objects} objects"
    why = "it is the only one that was compared" if len(judged) == 1 else "no other preset agrees better"
    if index:
        names = " and ".join(f"{each.preset} ({_shown(each)})" for each in judged[:index])
        why = f"{names} {'is' if index == 1 else 'are'} worse beyond chance"
    elif taken is not best:
        why = f"it is the cheapest, and {best.preset} ({_shown(best)}) {_no_better(taken, best, reference)}"
    parts = [f"Take {taken.preset}: {why}, {agrees}"]
    if counted.images < FEW or counted.objects < FEW_OBJECTS:
        parts.append("so few tell little, and more images may tell otherwise")
    if not taken.built:
        parts.append(
            f'it is not built yet: put preset = "{taken.preset}" into a [[target]] of model.toml, and run doit'
        )
    if (_precision(taken) or 0.0) < GOOD:
        parts.append("what it still loses, doit compare MODEL --mixed may bring back")
    return Advice(taken.preset, "; ".join(parts) + ".")


def _is_beaten(candidate: Candidate, others: Sequence[Candidate], reference: Sequence[Objects]) -> bool:
    """Say whether one of the others is better beyond chance, and by as much as matters in both measures.

    Of precisions that are so near each other no test is asked: what one of them wins in boxes nobody would pay for.
    The one of the highest precision is never beaten.
    """
    nearer = (each for each in others if _gap(candidate, each) >= MATTERS)
    tests = (is_worse(reference, each.objects, candidate.objects) for each in nearer)
    return any(test.worse and test.difference <= -MATTERS for test in tests)


def _no_better(taken: Candidate, best: Candidate, reference: Sequence[Objects]) -> str:
    """Tell why the best one is not worth more than the one that is taken."""
    if (gap := _gap(taken, best)) < MATTERS:
        return f"agrees better by {gap:.3f} only"
    test = is_worse(reference, best.objects, taken.objects)
    return f"finds boxes better by {-test.difference:.3f} only" if test.worse else "is not better beyond chance"


def _gap(candidate: Candidate, other: Candidate) -> float:
    return (_precision(other) or 0.0) - (_precision(candidate) or 0.0)


def _precision(candidate: Candidate) -> float | None:
    return None if candidate.agreement is None else candidate.agreement.map50_95


def _shown(candidate: Candidate) -> str:
    value = _precision(candidate)
    return "unknown" if value is None else f"{value:.3f}"
