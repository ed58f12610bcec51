"""Average precision as COCO computes it, by `faster-coco-eval`: in memory, silent, from arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from build_rules.objects.found import Objects

__all__ = ["average_precisions"]

MOST = 1000
"""Objects of one class in one image that count. COCO counts 100; a page of text has more, and its own would be lost."""


def average_precisions(truth: Sequence[Objects], found: Sequence[Objects], classes: int) -> NDArray[np.float64]:
    """Return the average precision of each class at overlap 0.50, and its mean over 0.50 to 0.95: [classes, 2].

    One entry of `truth` and `found` per image; scores of the truth do not count. NaN for a class of which the truth has
    no object. Objects of every size count, and as many as `MOST` of one class in one image.
    """
    result = np.full((classes, 2), np.nan)
    if not any(len(objects.labels) for objects in truth):
        return result
    from faster_coco_eval import COCO, COCOeval_faster

    images = [{"id": number + 1} for number in range(len(truth))]
    categories = [{"id": label} for label in range(classes)]
    pair = []
    for objects in (truth, found):
        coco = COCO()
        coco.dataset = {"images": images, "categories": categories, "annotations": [*_annotations(objects)]}
        coco.createIndex()
        pair.append(coco)
    judge = COCOeval_faster(*pair, iouType="bbox", print_function=_say_nothing)
    judge.params.areaRng, judge.params.areaRngLbl, judge.params.maxDets = [[0, np.inf]], ["all"], [MOST]
    judge.evaluate()
    judge.accumulate()
    # [overlaps, recalls, classes, sizes, counts]; -1 where the truth has nothing.
    precisions = np.asarray(judge.eval["precision"])[:, :, :, 0, 0].mean(axis=1)
    at_half, over_all = precisions[0], precisions.mean(axis=0)
    has = at_half >= 0
    result[has] = np.stack([at_half, over_all], axis=-1)[has]
    return result


def _annotations(images: Sequence[Objects]) -> Iterator[dict[str, Any]]:
    """Yield every object as COCO has it. An identifier of 0 would mean that it has no partner."""
    number = 0
    for image, objects in enumerate(images):
        sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
        boxes = np.concatenate([objects.boxes[:, :2], sides], axis=-1).tolist()
        areas = np.prod(sides, axis=-1).tolist()
        for box, area, score, label in zip(boxes, areas, objects.scores.tolist(), objects.labels.tolist(), strict=True):
            number += 1
            yield {
                "id": number,
                "image_id": image + 1,
                "category_id": label,
                "bbox": box,
                "area": area,
                "iscrowd": 0,
                "score": score,
            }


def _say_nothing(*_: object) -> None:
    pass
