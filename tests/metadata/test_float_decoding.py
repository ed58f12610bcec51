"""The document follows the network: whatever a network says it sees, the decoders see in the tensors of its cut.

Real architectures are run on real pixels. Their own outputs, decoded here in plain numpy, are the truth; the endpoint
tensors, before anything is quantized, go to both decoders with the compiled document. What is left is rounding.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from build_rules.metadata.checks import check_document
from build_rules.metadata.compiled_document import BuildFacts, compile_document
from build_rules.metadata.outputs import class_count
from build_rules.objects.read_objects import ObjectReader
from build_rules.records.split_json import Split
from build_rules.trainer.document import TrainerDocument
from tests.decoders import DECODERS, Detections
from tests.metadata.corpus import MODELS, Array, anchors_of, float_tensors, picture, run, source_of, split_of
from tests.metadata.originals import Candidates, candidates, choose, suppress
from tests.metadata.test_decoding import Decode, crops_of
from tests.profiles import sampled
from tests.shared import needs_shared

FACTS = BuildFacts("0.1.0", "2026-01-02T03:04:05Z", "hailo8l", "fast", "emulator", "1", emulated=True)
CLOSE = 1e-5  # of the image, and of a score
CLOSE_ANCHORS = 1e-3  # the decoders approximate the exponentials of anchor heads

every_decoder = pytest.mark.parametrize("find", DECODERS.values(), ids=DECODERS)
PICTURES = ("015_chelsea.jpg", "random")
every_picture = pytest.mark.parametrize("what", PICTURES)
# Noise shows nothing in a network that another of its kind would not.
every_network = pytest.mark.parametrize(
    ("name", "what"),
    [*((name, PICTURES[0]) for name in MODELS), *((name, PICTURES[1]) for name in sampled(MODELS, 4))]
    or [pytest.param("", "", marks=needs_shared)],
)


def document_of(name: str, split: Split) -> dict[str, Any]:
    """The document of the float network: no activation is folded, nothing has a scale."""
    source = source_of(name)
    anchors = anchors_of(name)
    if anchors is not None and not source:
        pytest.skip("an anchor head without metadata has no anchors")
    return compile_document(TrainerDocument(source), split, float_tensors(split), FACTS, ()).document


@cache
def seen(name: str, what: str) -> tuple[list[Array], dict[str, Array]]:
    """Outputs and endpoint tensors of a network for one picture."""
    split = split_of(name)
    return run(split, picture(split, what))


def partners(found: Detections, expected: Candidates, close: float) -> Array:
    """For each expected object the index of what the decoder found, which must be there and close, and each once."""
    assert len(found.boxes) == len(expected.boxes)
    distance = np.abs(found.boxes[None] - expected.boxes[:, None]).max(axis=2)
    distance = np.maximum(distance, np.abs(found.scores[None] - expected.scores[:, None]))
    distance[found.classes[None] != expected.labels[:, None]] = np.inf
    nearest: Array = distance.argmin(axis=1)
    assert distance.min(axis=1).max() <= close
    assert len(set(nearest)) == len(nearest)
    return nearest


def proper(found: Detections) -> Detections:
    """What has a box: noise in place of weights also makes boxes whose sides are the wrong way round."""
    kept = np.flatnonzero((found.boxes[:, 2:] > found.boxes[:, :2]).all(axis=1))
    masks = tuple(found.masks[one] for one in kept) if len(found.masks) == len(found.boxes) else ()
    return Detections(found.boxes[kept], found.scores[kept], found.classes[kept], masks)


@needs_shared
@every_decoder
@every_network
def test_what_the_network_sees_is_what_the_decoders_see(name: str, what: str, find: Decode) -> None:
    split = split_of(name)
    document = document_of(name, split)
    assert {problem.severity for problem in check_document(document, float_tensors(split))} <= {"warning"}
    outputs, tensors = seen(name, what)
    own = candidates(split, outputs, class_count(document["outputs"]) or 0, anchors_of(name))
    choice = choose(own)
    expected = suppress(own, choice, aware=document["nms"] == "class_aware")
    assert len(expected.scores) >= 5
    found = proper(find(document, tensors, score=choice.score, iou=choice.iou))
    order = partners(found, expected, CLOSE if anchors_of(name) is None else CLOSE_ANCHORS)
    if any(output.get("type") == "protos" for output in document["outputs"]):
        assert len(found.masks) == len(expected.scores)
        for index, mask in enumerate(found.masks[one] for one in order):
            assert agreement(mask, expected.boxes[index], expected.rest[index], outputs[1][0]) > 0.99


@needs_shared
@every_network
def test_what_the_network_sees_is_what_our_objects_are(name: str, what: str) -> None:
    split, anchors = split_of(name), anchors_of(name)
    if anchors is not None and any(endpoint.role == "protos" for endpoint in split.endpoints):
        pytest.skip("how many channels of its grids are scores, only its hints say")
    levels = None if anchors is None else tuple(tuple((w, h) for w, h in level) for level in anchors.tolist())
    outputs, tensors = seen(name, what)
    reader = ObjectReader(split := replace(split, anchors=levels))
    maps = {e.name: tensor[0] for e, tensor in zip(split.endpoints, tensors.values(), strict=True)}
    maps |= {name: 1 / (1 + np.exp(-maps[name])) for name in split.folded}
    own = candidates(split, outputs, reader.classes, anchors)
    choice = choose(own)
    expected = suppress(own, choice, aware=True)
    found = ObjectReader(split, score=choice.score, overlap=choice.iou).read(maps)
    boxes = (found.boxes / np.array([split.input.width, split.input.height] * 2)).astype(np.float32)
    ours = proper(Detections(boxes, found.scores.astype(np.float32), found.labels, ()))
    assert len(ours.scores) >= 5
    partners(ours, expected, CLOSE)


def agreement(mask: Array, box: Array, coefficients: Array, protos: Array) -> float:
    """The part of a mask's pixels that are where sigmoid(coefficients . prototypes) > 0.5, within the box."""
    plane = np.tensordot(coefficients, protos.astype(np.float64), 1) > 0
    crops = crops_of(plane, np.clip(box, 0, 1), mask.shape)
    return max(float((crop == (mask[:, :, 0] > 127)).mean()) for crop in crops if crop.shape == mask.shape[:2])


@needs_shared
@every_decoder
@every_picture
def test_a_segmentation_map_is_the_networks(what: str, find: Decode) -> None:
    name = "modelpack_det_seg"
    split = split_of(name)
    outputs, tensors = seen(name, what)
    own = outputs[-1][0]
    (found,) = find(document_of(name, split), tensors).masks
    # The network enlarges its map fourfold itself; the decoders give it as the chip computes it, in 256 steps.
    height, width, classes = own.shape
    larger = np.stack([enlarged(found[:, :, one], height, width) for one in range(classes)], axis=2)
    assert (larger.argmax(axis=2) == own.argmax(axis=2)).mean() > 0.99


def enlarged(plane: Array, height: int, width: int) -> Array:
    """Resize a plane bilinearly, as the network does."""
    return np.asarray(Image.fromarray(plane.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
