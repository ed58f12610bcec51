"""How far what one network finds is what another one finds, or what is there, over several images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from build_rules.objects.agreement import Agreement, ClassAgreement, Precision
from build_rules.objects.average_precision import average_precisions
from build_rules.objects.found import Objects
from build_rules.objects.match_objects import SHOWN, match_objects, shown

__all__ = ["agree", "precision"]


def agree(reference: Sequence[Objects], found: Sequence[Objects], classes: int) -> Agreement:
    """Return how far `found` is `reference`, image by image.

    The objects of the reference scored 0.25 and more are the truth, for the average precisions as for the pairs; all
    objects found may be their partners (`match_objects`), so that a falling score is seen as `score_shift` before the
    object counts as lost.
    """
    truth = [shown(objects) for objects in reference]
    overlaps, shifts = [], []
    counts = np.zeros((3, classes), np.int64)  # objects, lost, invented
    for objects, candidates in zip(truth, found, strict=True):
        matches = match_objects(objects, candidates)
        has = matches.partners >= 0
        scores = np.where(has, candidates.scores[matches.partners] if has.any() else 0.0, 0.0)
        overlaps.append(matches.overlaps[has])
        shifts.append((scores - objects.scores)[has])
        alone = candidates.scores >= SHOWN
        alone[matches.partners[has]] = False
        for row, labels in enumerate((objects.labels, objects.labels[scores < SHOWN], candidates.labels[alone])):
            counts[row] += np.bincount(labels, minlength=classes)
    precisions = average_precisions(truth, found, classes)
    (map50, map50_95), (objects_of, lost, invented) = _means(precisions), counts.tolist()
    return Agreement(
        images=len(truth),
        objects=int(counts[0].sum()),
        map50=map50,
        map50_95=map50_95,
        mean_iou=_mean(np.concatenate(overlaps)) if overlaps else None,
        score_shift=_mean(np.concatenate(shifts)) if shifts else None,
        lost=int(counts[1].sum()),
        invented=int(counts[2].sum()),
        per_class=tuple(
            ClassAgreement(label, objects_of[label], _number(at_half), _number(over_all), lost[label], invented[label])
            for label, (at_half, over_all) in enumerate(precisions)
        ),
    )


def precision(truth: Sequence[Objects], found: Sequence[Objects], classes: int) -> Precision:
    """Return the mean average precision of `found` against what is there, image by image."""
    map50, map50_95 = _means(average_precisions(truth, found, classes))
    return Precision(len(truth), sum(len(objects.labels) for objects in truth), map50, map50_95)


def _means(precisions: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Return the means over the classes that have objects."""
    counted = precisions[~np.isnan(precisions[:, 0])]
    return _mean(counted[:, 0]), _mean(counted[:, 1])


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
