"""The anchors of an anchor head: where trainers write them, in which unit, and against those of the graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from build_rules.errors import InputError
from build_rules.records.split_json import Anchors, ModelInput
from build_rules.trainer.anchors import anchor_levels, split_anchors
from build_rules.trainer.document import TrainerDocument
from tests.metadata.test_anchor_heads import PIXELS, SIZE, split_of

IMAGE = ModelInput("images", (1, 3, *SIZE))
FRACTIONS = tuple(tuple((w / 640, h / 480) for w, h in level) for level in PIXELS)


@pytest.mark.parametrize(
    "document",
    [
        {"split_hints": [{"anchors": PIXELS}]},
        {"split_hints": [{"anchors": level} for level in PIXELS]},
        {"model": {"anchors": PIXELS}},
        {"outputs": [{"anchors": [list(a) for a in level]} for level in FRACTIONS]},
        {"outputs": [{"anchors": FRACTIONS[i], "stride": [8 << i] * 2} for i in (2, 0, 1)], "model": {"anchors": None}},
        {"outputs": [{"type": "detection"}], "split_hints": [{"anchors": PIXELS[:2]}], "model": {"anchors": PIXELS}},
        {"outputs": [{"anchors": [[w / 640, h / 480] for w, h in level]} for level in PIXELS]},
    ],
)
def test_anchors_are_found_wherever_trainers_write_them(document: dict[str, Any]) -> None:
    assert anchor_levels(TrainerDocument(document), 3, IMAGE) == FRACTIONS


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"outputs": 3, "split_hints": None, "model": []},
        {"model": {"anchors": PIXELS[:2]}},
        {"model": {"anchors": [10, 13, 16]}},
        {"model": {"anchors": [[[10, True]], [[1, 2]], [[3, 4]]]}},
        {"split_hints": [{"anchors": 7}]},
        {"split_hints": [{"anchors": PIXELS[0]}]},
        {"model": {"anchors": [[[10**400, 13]], [[1, 2]], [[3, 4]]]}},
    ],
)
def test_missing_anchors_are_asked_for(document: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="needs the anchors of 3 levels"):
        anchor_levels(TrainerDocument(document), 3, IMAGE)


def as_levels(levels: list[list[list[int]]]) -> Anchors:
    """Anchors as a split has them."""
    return tuple(tuple((float(w), float(h)) for w, h in level) for level in levels)


@pytest.mark.parametrize("document", [{}, {"model": {"anchors": PIXELS[:2]}}, {"split_hints": [{"type": "x"}]}])
def test_the_graphs_anchors_stand_in_for_the_documents(document: dict[str, Any]) -> None:
    assert anchor_levels(TrainerDocument(document), 3, IMAGE, as_levels(PIXELS)) == FRACTIONS
    assert split_anchors(TrainerDocument(document), replace(split_of(3), anchors=as_levels(PIXELS))) == FRACTIONS


def test_the_documents_anchors_win() -> None:
    assert (
        anchor_levels(TrainerDocument({"model": {"anchors": PIXELS}}), 3, IMAGE, as_levels(PIXELS[::-1])) == FRACTIONS
    )


def test_anchors_of_a_head_described_by_hand_win_over_the_documents() -> None:
    document = {"model": {"anchors": [[[w + 0.5, h] for w, h in level] for level in PIXELS]}}
    split = replace(split_of(3), anchors=as_levels(PIXELS))
    assert split_anchors(TrainerDocument(document), split) != FRACTIONS
    assert split_anchors(TrainerDocument(document), replace(split, found_by="model.toml")) == FRACTIONS


@pytest.mark.parametrize(
    "told",
    [
        [[[w * 2, h] for w, h in level] for level in PIXELS],
        PIXELS[::-1],
        [[[w / stride, h / stride] for w, h in level] for level, stride in zip(PIXELS, (8, 16, 32), strict=True)],
    ],
    ids=["others", "coarse first", "in cells"],
)
def test_a_document_whose_anchors_are_not_the_graphs_is_refused(told: list[list[list[float]]]) -> None:
    split = replace(split_of(3), anchors=as_levels(PIXELS))
    with pytest.raises(
        InputError, match=r"the metadata says the anchors .* but the graph decodes with \[\[\[10\.0, 13"
    ):
        split_anchors(TrainerDocument({"model": {"anchors": told}}), split)


def test_a_documents_anchors_come_finest_level_first() -> None:
    with pytest.raises(InputError, match=r"larger anchors before smaller ones .* strides 8, 16, 32, finest first"):
        split_anchors(TrainerDocument({"model": {"anchors": PIXELS[::-1]}}), split_of(3))


def test_anchors_of_another_number_of_levels_are_named() -> None:
    with pytest.raises(InputError, match=r"found model\.anchors \(2 levels\), the graph \(1 levels\)"):
        anchor_levels(TrainerDocument({"model": {"anchors": PIXELS[:2]}}), 3, IMAGE, as_levels(PIXELS[:1]))


@pytest.mark.parametrize("size", [640, 256])
def test_whether_anchors_are_pixels_is_told_by_the_smallest(size: int) -> None:
    image = ModelInput("images", (1, 3, size, size))
    fractions = [[[w / size, h / size] for w, h in level] for level in PIXELS]
    assert anchor_levels(TrainerDocument({"model": {"anchors": PIXELS}}), 3, image) == anchor_levels(
        TrainerDocument({"split_hints": [{"anchors": fractions}]}), 3, image
    )


@pytest.mark.parametrize(("width", "divided"), [(1, True), (0.999, False)])
def test_an_anchor_narrower_than_a_pixel_is_a_fraction(width: float, divided: bool) -> None:
    (((first, _),), *_) = anchor_levels(TrainerDocument({"model": {"anchors": [[[width, 2]], [[4, 4]]]}}), 2, IMAGE)
    assert first == (width / IMAGE.width if divided else width)


def test_the_graphs_anchors_are_pixels_however_small() -> None:
    tiny = as_levels([[[0.5, 2]], [[4, 4]], [[8, 8]]])  # type: ignore[list-item]
    assert anchor_levels(TrainerDocument(), 3, IMAGE, tiny)[1] == ((4 / IMAGE.width, 4 / IMAGE.height),)


def test_another_head_has_no_anchors() -> None:
    split = split_of(3)
    direct = replace(split, endpoints=tuple(replace(e, role="boxes", encoding="direct") for e in split.endpoints))
    assert split_anchors(TrainerDocument({"model": {"anchors": PIXELS}}), direct) == ()
