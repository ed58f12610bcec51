"""Objects are those that EdgeFirst's decoders find in the same tensors, and lie where they were put."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from build_rules.errors import InputError
from build_rules.metadata.compiled_document import compile_document
from build_rules.objects.found import Objects
from build_rules.objects.measure_agreement import agree
from build_rules.objects.read_objects import ObjectReader
from build_rules.records.split_hint import SplitBoundary, SplitHint
from build_rules.records.split_json import Endpoint, Split
from build_rules.trainer.document import TrainerDocument
from tests.decoders import Detections
from tests.metadata.synthetic import Array, Head, dequantize, encode
from tests.metadata.test_anchor_heads import PIXELS
from tests.metadata.test_anchor_heads import split_of as anchor_split
from tests.metadata.test_anchor_heads import tensors_of as anchor_tensors
from tests.metadata.test_decoding import FACTS, FLOAT, HEADS, Decode, compiled, every_decoder, three_things

CLOSE = 1e-3
"""Pixels: the decoders compute in 32 bits."""
ANCHORS = tuple(tuple((float(w), float(h)) for w, h in level) for level in PIXELS)


def noise(split: Split, seed: int, density: float = 0.01) -> dict[str, Array]:
    """Maps [H, W, C] as a network gives them: scores high at few places, boxes of any form."""
    random = np.random.default_rng(seed)
    maps = {}
    for e in split.endpoints:
        values: Array = random.normal(0, 1.5, (e.shape[2], e.shape[3], e.shape[1])).astype(np.float32)
        if e.role == "scores":
            values = values - 7
            places = random.random(values.shape[:2]) < density
            values[places] += random.uniform(0, 10, (int(places.sum()), 1))
            if e.name in split.folded:
                values = 1 / (1 + np.exp(-values))
        elif e.role == "boxes" and e.encoding == "direct":
            values = random.uniform(0.2, 6, values.shape)
        elif e.role == "anchor":
            values[..., 4 :: values.shape[2] // 3] -= 2
        maps[e.name] = values.astype(np.float32)
    return maps


def in_order(found: Detections, size: tuple[int, int]) -> Objects:
    """What a decoder found, in pixels."""
    boxes = found.boxes.astype(np.float64) * np.array([size[1], size[0]] * 2)
    return Objects(boxes, found.scores.astype(np.float64), found.classes)


def assert_same(found: Objects, expected: Objects, close: float, close_score: float = 1e-5) -> None:
    """Each of the expected objects was found once, and no other; equal scores may change places."""
    assert len(found.scores) == len(expected.scores)
    distance = np.abs(found.boxes[None] - expected.boxes[:, None]).max(axis=2)
    off = np.abs(found.scores[None] - expected.scores[:, None])
    fits = (distance < close) & (off < close_score) & (found.labels[None] == expected.labels[:, None])
    assert (fits.sum(axis=1) == 1).all()
    assert (fits.sum(axis=0) == 1).all()


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_objects_lie_where_they_were_put(head: Head) -> None:
    _, tensors = compiled(head)
    arrays = encode(head, three_things(head), tensors)
    by_node = {node: tensor for tensor in tensors for node in tensor.original_names}
    # Ours are folded or not as our own scripts say; a head that was left raw says so by having no activation to fold.
    split = head.split
    real = {}
    for endpoint in split.endpoints:
        tensor = by_node[endpoint.node]
        values = dequantize(arrays[tensor.name], tensor)[0]
        if endpoint.name in split.folded and not head.fold:
            values = 1 / (1 + np.exp(-values))
        real[endpoint.name] = values.astype(np.float32)
    found = ObjectReader(split, score=0.25).read(real)
    np.testing.assert_allclose(found.boxes, [thing.box for thing in three_things(head)], atol=2.5)
    assert found.labels.tolist() == [thing.label for thing in three_things(head)]
    np.testing.assert_allclose(found.scores, [0.9, 0.8, 0.7], atol=0.02)


FLOAT_HEADS = {
    "dfl": replace(FLOAT, nc=5),
    "dfl-nc1-wide": replace(FLOAT, nc=1, size=(288, 512)),
    "direct": replace(FLOAT, encoding="direct", nc=3),
    "seg-p2": replace(FLOAT, nc=3, masks=32, strides=(4, 8, 16, 32), size=(320, 320)),
}


@every_decoder
@pytest.mark.parametrize("head", FLOAT_HEADS.values(), ids=FLOAT_HEADS)
def test_decoders_find_the_same_in_noise(head: Head, find: Decode) -> None:
    document, _ = compiled(head, nms="class_aware")
    split = head.split
    maps = noise(split, 3, 0.02)
    streams = {f"synthetic/conv{40 + index}": maps[e.name][None] for index, e in enumerate(split.endpoints)}
    expected = in_order(find(document, streams, score=0.05, iou=0.7), head.size)
    # The HAL gives a hundred objects and no more.
    assert 20 < len(expected.scores) <= 300
    most = 100 if len(expected.scores) == 100 else 300
    found = ObjectReader(split, score=0.05, overlap=0.7, most=most).read(maps)
    assert (np.diff(found.scores) <= 0).all()
    assert_same(found, expected, CLOSE)


@every_decoder
def test_decoders_find_the_same_in_anchor_grids(find: Decode) -> None:
    split = replace(anchor_split(3), anchors=ANCHORS)
    source = {"nms": "class_aware", "split_hints": [{"anchors": PIXELS}]}
    document = compile_document(TrainerDocument(source), split, anchor_tensors(split, "float32"), FACTS, ()).document
    maps = noise(split, 5)
    streams = {f"a/conv{index}": maps[e.name][None] for index, e in enumerate(split.endpoints)}
    # The decoders approximate the exponentials of anchor heads to one per cent: at a threshold they may differ.
    expected = in_order(find(document, streams, score=0.4, iou=0.999), (480, 640))
    found = ObjectReader(split, score=0.4, overlap=0.999, most=100_000).read(maps)
    assert len(found.scores) > 100
    assert len(expected.scores) == 100
    distance = np.abs(found.boxes[:90, None] - expected.boxes[None]).max(axis=2) / 10
    distance = np.maximum(distance, 100 * np.abs(found.scores[:90, None] - expected.scores[None]))
    distance[found.labels[:90, None] != expected.labels[None]] = np.inf
    assert distance.min(axis=1).max() < 1


def with_objectness(split: Split) -> Split:
    extra = [
        Endpoint(f"objectness_{i}", "objectness", i, 8 << i, f"o{i}", f"on{i}", (1, 1, *e.shape[2:]), None, "sigmoid")
        for i, e in enumerate(split.endpoints[:3])
    ]
    return replace(split, endpoints=(*split.endpoints, *extra))


def test_an_objectness_is_a_factor_of_the_score() -> None:
    plain = Head("direct", nc=2).split
    split = with_objectness(plain)
    maps = noise(plain, 7)
    half = {f"objectness_{i}": np.full((*maps[f"scores_{i}"].shape[:2], 1), 0.5, np.float32) for i in range(3)}
    without = ObjectReader(plain, score=0.4, overlap=1).read(maps)
    found = ObjectReader(split, score=0.2, overlap=1).read(maps | half)
    np.testing.assert_array_equal(found.boxes, without.boxes)
    np.testing.assert_allclose(found.scores, without.scores / 2)


def test_a_softmax_that_nobody_folds_is_applied() -> None:
    split = Head("direct", nc=2).split
    endpoints = tuple(replace(e, activation="softmax") if e.role == "scores" else e for e in split.endpoints)
    maps = {e.name: np.ones((*e.shape[2:], e.shape[1]), np.float32) for e in endpoints}
    maps["scores_1"][3, 4] = [2.0, 4.0]
    found = ObjectReader(replace(split, endpoints=endpoints), score=0.6).read(maps)
    np.testing.assert_allclose(found.scores, [1 / (1 + np.exp(-2))])
    assert found.labels.tolist() == [1]


def test_as_many_as_are_wanted_are_found() -> None:
    split = Head(nc=3).split
    maps = noise(split, 11, 0.1)
    everything, few = ObjectReader(split, most=10_000).read(maps), ObjectReader(split, most=17).read(maps)
    assert len(everything.scores) > 300
    np.testing.assert_array_equal(few.boxes, everything.boxes[:17])


@pytest.mark.parametrize("head", ["dfl", "direct", "grid"])
def test_a_network_of_noise_agrees_with_itself(head: str) -> None:
    split = replace(anchor_split(3), anchors=ANCHORS) if head == "grid" else Head(head, nc=3).split
    maps = noise(split, 13, 0.02)
    if head == "direct":
        maps |= {name: array * np.where(array > 4, -1, 1) for name, array in maps.items() if name.startswith("boxes")}
    found = ObjectReader(split).read(maps)
    # A box whose sides are the wrong way round is none.
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    result = agree([found], [found], 3)
    assert (result.map50_95, result.mean_iou, result.lost, result.invented) == (1, 1, 0, 0)
    assert result.objects >= 10


def test_nothing_is_found_in_nothing() -> None:
    for split in (Head(nc=3).split, replace(anchor_split(2), anchors=ANCHORS)):
        maps = {
            e.name: np.zeros((*e.shape[2:], e.shape[1]), np.float32) - 20 * (e.role == "anchor")
            for e in split.endpoints
        }
        found = ObjectReader(split).read(maps)
        assert (found.boxes.shape, found.scores.shape, found.labels.shape) == ((0, 4), (0,), (0,))


def test_cells_weigh_their_best_score() -> None:
    split = Head(nc=3, masks=8).split
    maps = {e.name: np.zeros((*e.shape[2:], e.shape[1]), np.float32) for e in split.endpoints}
    maps["scores_0"][10, 20, 1], maps["scores_2"][3, 4, 2] = 0.9, 0.7
    weights = ObjectReader(split).cells(maps)
    assert {name: array.shape for name, array in weights.items()} == {e.name: e.shape[2:] for e in split.endpoints}
    for name in ("scores_0", "boxes_0", "mask_coefs_0"):
        assert np.argwhere(weights[name]).tolist() == [[10, 20]]
        assert weights[name][10, 20] == np.float32(0.9)
    assert not weights["boxes_1"].any()
    # Prototypes lie at a stride of 4: a cell of stride 8 covers four of theirs.
    assert weights["protos"][20:22, 40:42].min() == np.float32(0.9)
    assert (weights["protos"] > 0).sum() == 4 + 64


def test_cells_of_an_output_that_is_coarser_have_the_best_score_within() -> None:
    split = Head(nc=1, strides=(8,)).split
    pooled = Endpoint("pooled", "pooled", None, None, "p", "p", (1, 7, 20, 20), None, None)
    split = replace(split, endpoints=(*split.endpoints, pooled))
    maps = {e.name: np.zeros((*e.shape[2:], e.shape[1]), np.float32) for e in split.endpoints}
    maps["scores_0"][5, 79] = 0.5
    assert np.argwhere(ObjectReader(split).cells(maps)["pooled"]).tolist() == [[1, 19]]


def test_cells_of_a_grid_have_its_best_anchor() -> None:
    split = replace(anchor_split(2), anchors=ANCHORS)
    maps = {e.name: np.full((*e.shape[2:], e.shape[1]), -30, np.float32) for e in split.endpoints}
    maps["grid_1"][2, 3].reshape(3, 7)[1, 4:] = [0, 30, -30]
    weights = ObjectReader(split).cells(maps)
    assert weights["grid_1"][2, 3] == pytest.approx(0.5)
    assert weights["grid_0"].max() < 1e-9


def only(*roles: str) -> Split:
    split = Head(nc=3).split
    return replace(split, endpoints=tuple(e for e in split.endpoints if e.role in roles))


def masked(split: Split) -> Split:
    return replace(split, endpoints=(*split.endpoints, Head(masks=8).split.endpoints[-1]))


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (only("boxes"), "boxes and scores with the same strides"),
        (only("scores"), "boxes and scores with the same strides"),
        (only(), "boxes and scores with the same strides"),
        (anchor_split(3), "anchors of its grids are not known"),
        (masked(replace(anchor_split(3), anchors=ANCHORS)), "which of the 24 channels of grid_0 are scores"),
    ],
)
def test_what_nobody_decodes_is_refused(split: Split, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ObjectReader(split)


def test_a_hint_says_how_many_channels_of_a_grid_are_scores() -> None:
    split: Any = masked(replace(anchor_split(3 + 8), anchors=ANCHORS))
    parts = (("boxes", 4), ("objectness", 1), ("scores", 3), ("mask_coefs", 8))
    starts = np.cumsum([0, 4, 1, 3]).tolist()
    boundaries = tuple(SplitBoundary(n, (s, s + w)) for (n, w), s in zip(parts, starts, strict=True))
    hinted = replace(split, hints=(SplitHint("output0", boundaries, anchors_per_cell=3),))
    assert ObjectReader(hinted).classes == 3
