"""COCO's own evaluation, in the package that the field reports with, as judge of the average precisions we print."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from build_rules.objects.average_precision import MOST, average_precisions
from build_rules.objects.found import Objects

pytest.importorskip("pycocotools", reason="pycocotools is not installed: pip install -e '.[test]'")


def by_pycocotools(truth: Sequence[Objects], found: Sequence[Objects], classes: int) -> npt.NDArray[np.float64]:
    """[classes, 2] as `average_precisions` gives it."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        pair = []
        for images in (truth, found):
            coco, rows = COCO(), list[dict[str, Any]]()
            for number, objects in enumerate(images, 1):
                corners = zip(objects.boxes.tolist(), objects.scores.tolist(), objects.labels.tolist(), strict=True)
                for (x1, y1, x2, y2), score, label in corners:
                    box = [x1, y1, x2 - x1, y2 - y1]
                    rows.append({
                        "id": len(rows) + 1, "image_id": number, "category_id": label, "bbox": box,
                        "area": box[2] * box[3], "iscrowd": 0, "score": score,
                    })  # fmt: skip
            coco.dataset = {
                "images": [{"id": number + 1} for number in range(len(truth))],
                "categories": [{"id": label} for label in range(classes)],
                "annotations": rows,
            }
            coco.createIndex()
            pair.append(coco)
        judge = COCOeval(*pair, iouType="bbox")
        judge.params.areaRng, judge.params.areaRngLbl, judge.params.maxDets = [[0, 1e10]], ["all"], [MOST]
        judge.evaluate()
        judge.accumulate()
    each = judge.eval["precision"][:, :, :, 0, 0].mean(axis=1)
    each = np.where(each < 0, np.nan, each)
    return np.stack([each[0], each.mean(axis=0)], axis=-1)


def scene(random: np.random.Generator, classes: int, count: int, shake: float) -> tuple[Objects, Objects]:
    """What is there, and what a detector makes of it: shaken boxes, some lost, some twice, some of another class."""
    corner, side = random.uniform(0, 200, (count, 2)), random.uniform(4, 120, (count, 2))
    boxes, labels = np.concatenate([corner, corner + side], axis=-1), random.integers(0, classes, count)
    kept = np.concatenate([np.flatnonzero(random.uniform(size=count) < 0.85), random.integers(0, count, count // 3)])
    found = boxes[kept] + random.normal(0, shake, (len(kept), 4)) * np.tile(side[kept], 2)
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
    named = np.where(random.uniform(size=len(kept)) < 0.9, labels[kept], random.integers(0, classes, len(kept)))
    scores = np.round(random.uniform(0.001, 1, len(kept)), 2)  # some are equal
    order = np.argsort(-scores, kind="stable")
    return Objects(boxes, np.ones(count), labels), Objects(found[order], scores[order], named[order])


@pytest.mark.parametrize("shake", [0.0, 0.02, 0.1])
@pytest.mark.parametrize(("classes", "images", "most"), [(1, 5, 3), (5, 30, 9), (11, 12, 40)])
def test_average_precisions_are_pycocotools(classes: int, images: int, most: int, shake: float) -> None:
    random = np.random.default_rng([classes, images, int(shake * 100)])
    pairs = [scene(random, classes, int(random.integers(1, most)), shake) for _ in range(images)]
    truth, found = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    ours, theirs = average_precisions(truth, found, classes), by_pycocotools(truth, found, classes)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    assert np.nanmax(ours) > 0.3


def test_more_objects_than_coco_counts_by_itself() -> None:
    random = np.random.default_rng(4)
    truth, found = scene(random, 1, 260, 0.05)
    np.testing.assert_allclose(average_precisions([truth], [found], 1), by_pycocotools([truth], [found], 1), atol=1e-9)


def test_classes_that_the_truth_has_not() -> None:
    truth, found = scene(np.random.default_rng(5), 2, 12, 0.05)
    ours, theirs = average_precisions([truth], [found], 4), by_pycocotools([truth], [found], 4)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    assert np.isnan(ours[2:]).all()
