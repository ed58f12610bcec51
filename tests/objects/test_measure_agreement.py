"""Agreement and precision, on cases that are known by hand."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from build_rules.objects.found import Objects
from build_rules.objects.measure_agreement import agree, precision

BOX = (10.0, 10.0, 30.0, 30.0)
FAR = (100.0, 10.0, 120.0, 30.0)
NOTHING = Objects(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))


def objects(*those: tuple[tuple[float, float, float, float], float, int]) -> Objects:
    boxes, scores, labels = zip(*those, strict=True)
    return Objects(np.array(boxes, np.float64), np.array(scores, np.float64), np.array(labels, np.int64))


def test_who_finds_the_same_agrees() -> None:
    seen = [objects((BOX, 0.9, 0), (FAR, 0.3, 2)), NOTHING, objects((BOX, 0.5, 2))]
    result = agree(seen, seen, 3)
    assert (result.images, result.objects, result.lost, result.invented) == (3, 3, 0, 0)
    assert (result.map50, result.map50_95, result.mean_iou, result.score_shift) == (1, 1, 1, 0)
    assert [one.objects for one in result.per_class] == [1, 0, 2]
    assert [one.map50 for one in result.per_class] == [1, None, 1]


def test_lost_invented_and_shifted_are_counted() -> None:
    reference = [objects((BOX, 0.9, 0), (FAR, 0.8, 1), ((200, 0, 220, 20), 0.7, 1), ((300, 0, 320, 20), 0.2, 1))]
    moved = (10.0, 10.0, 30.0, 34.0)  # overlaps by 20 * 20 of 20 * 24
    found = [objects((moved, 0.6, 0), (FAR, 0.2, 1), ((200, 0, 220, 20), 0.5, 0), ((300, 0, 320, 20), 0.3, 1))]
    result = agree(reference, found, 2)
    # One fell below 0.25, one has another class, which also invents one, and one rose above it.
    assert (result.objects, result.lost, result.invented) == (3, 2, 2)
    assert result.mean_iou == pytest.approx((20 / 24 + 1) / 2)
    assert result.score_shift == pytest.approx((-0.3 - 0.6) / 2)
    assert [(one.lost, one.invented) for one in result.per_class] == [(0, 1), (2, 1)]


def test_an_object_is_found_once() -> None:
    reference = [objects((BOX, 0.9, 0))]
    found = [objects((BOX, 0.9, 0), ((10, 10, 30, 29), 0.8, 0))]
    result = agree(reference, found, 1)
    assert (result.lost, result.invented, result.mean_iou) == (0, 1, 1)


def test_what_overlaps_too_little_is_another_object() -> None:
    result = agree([objects((BOX, 0.9, 0))], [objects(((10, 21, 30, 41), 0.9, 0))], 1)
    assert (result.lost, result.invented, result.mean_iou, result.score_shift, result.map50) == (1, 1, None, None, 0)


def test_average_precision_by_hand() -> None:
    truth = [objects((BOX, 1, 0), (FAR, 1, 0))]
    # Right, wrong, right: precision 1 up to a recall of a half, two thirds up to the whole; 51 and 50 of 101 recalls.
    found = [objects((BOX, 0.9, 0), ((300, 0, 320, 20), 0.8, 0), (FAR, 0.7, 0))]
    result = precision(truth, found, 1)
    assert result.map50 == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert result.map50_95 == result.map50
    # An overlap of 0.72 counts at 0.50 to 0.70: five of ten.
    result = precision([objects((BOX, 1, 0))], [objects(((10, 10, 30, 24.4), 0.9, 0))], 1)
    assert result.map50 == 1
    assert result.map50_95 == pytest.approx(0.5)
    assert (result.images, result.objects) == (1, 1)


def test_classes_without_objects_do_not_count() -> None:
    truth = [objects((BOX, 1, 1))]
    result = precision(truth, [objects((BOX, 0.9, 1), (FAR, 0.9, 0))], 5)
    assert result.map50 == 1


def test_nothing_is_no_number() -> None:
    assert precision([NOTHING], [objects((BOX, 0.9, 0))], 1).map50 is None
    assert precision([objects((BOX, 1, 0))], [NOTHING], 1).map50 == 0
    result = agree([NOTHING], [objects((BOX, 0.9, 0))], 1)
    assert (result.map50, result.mean_iou, result.lost, result.invented) == (None, None, 0, 1)
    assert agree([], [], 1).map50_95 is None


def test_a_full_image_agrees_with_itself() -> None:
    places = [(float(x), float(y), x + 8.0, y + 8.0) for x in range(0, 300, 10) for y in range(0, 100, 10)]
    page = [objects(*((place, 0.9, 0) for place in places))]
    assert agree(page, page, 1).map50_95 == 1


def test_nothing_is_said(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        agree([objects((BOX, 0.9, 0))], [objects((BOX, 0.9, 0))], 1)
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""


def test_random_objects_have_the_precision_of_pycocotools() -> None:
    coco = pytest.importorskip("pycocotools.coco")
    evaluate = pytest.importorskip("pycocotools.cocoeval").COCOeval
    random = np.random.default_rng(5)
    truth, found = [], []
    for _ in range(6):
        low = random.uniform(0, 400, (9, 2))
        boxes = np.concatenate([low, low + random.uniform(20, 120, (9, 2))], axis=1)
        labels = random.integers(0, 3, 9)
        truth.append(Objects(boxes, np.ones(9), labels))
        near = np.repeat(boxes, 2, axis=0) + random.normal(0, 6, (18, 4))
        order = np.sort(random.uniform(0, 1, 18))[::-1]
        found.append(Objects(near, order, random.permutation(np.repeat(labels, 2))))
    documents = []
    for side in (truth, found):
        document = coco.COCO()
        rows = [(image, *row) for image, o in enumerate(side) for row in zip(o.boxes, o.scores, o.labels, strict=True)]
        document.dataset = {
            "images": [{"id": image} for image in range(6)],
            "categories": [{"id": label} for label in range(3)],
            "annotations": [
                {
                    "id": number + 1, "image_id": image, "category_id": int(label), "iscrowd": 0, "score": score,
                    "bbox": [*box[:2], *(box[2:] - box[:2])], "area": float(np.prod(box[2:] - box[:2])),
                }
                for number, (image, box, score, label) in enumerate(rows)
            ],
        }  # fmt: skip
        document.createIndex()
        documents.append(document)
    judge = evaluate(*documents, "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    result = precision(truth, found, 3)
    assert result.map50_95 == pytest.approx(judge.stats[0])
    assert result.map50 == pytest.approx(judge.stats[1])
