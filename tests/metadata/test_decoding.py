"""The heart: documents that this room writes, read by the programs that read them in the field.

Known objects are encoded into quantized tensors; both decoders must find them where the reference decode finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from build_rules.metadata.compiled_document import BuildFacts, compile_document
from build_rules.metadata.physical import PhysicalTensor
from build_rules.trainer.document import TrainerDocument
from tests.decoders import DECODERS, Detections
from tests.metadata.synthetic import Head, Thing, decode, dequantize, encode, tensors_of

FACTS = BuildFacts("0.1.0", "2026-01-02T03:04:05+00:00", "hailo8l", "fast", "emulator", "1", emulated=True)

Decode = Callable[..., Detections]
every_decoder = pytest.mark.parametrize("find", DECODERS.values(), ids=DECODERS)

FLOAT = Head(box_dtype="float32", score_dtype="float32", other_dtype="float32")
HEADS = {
    "dfl": Head(),
    "dfl-nc1": Head(nc=1),
    "dfl-nc3": Head(nc=3),
    "dfl-nc5": Head(nc=5),
    "dfl-tall": Head(nc=5, size=(640, 384)),
    "dfl-wide": Head(nc=3, size=(288, 512)),
    "dfl-boxes16": Head(box_dtype="uint16"),
    "dfl-all16": Head(box_dtype="uint16", score_dtype="uint16"),
    "dfl-logits": Head(nc=5, fold=False),
    "dfl-logits16": Head(nc=5, fold=False, score_dtype="uint16"),
    "direct": Head("direct"),
    "direct-nc1": Head("direct", nc=1),
    "direct-nc3-wide": Head("direct", nc=3, size=(384, 640)),
    "direct-boxes16": Head("direct", box_dtype="uint16"),
    "dfl-seg": Head(masks=32),
    "dfl-seg-nc1-wide": Head(nc=1, masks=32, size=(480, 640)),
    "dfl-seg-boxes16": Head(nc=3, masks=32, box_dtype="uint16", score_dtype="uint16"),
    "direct-seg": Head("direct", nc=5, masks=32),
    "direct-seg-tall": Head("direct", nc=80, masks=32, size=(640, 416), box_dtype="uint16"),
    "dfl-p2": Head(nc=3, strides=(4, 8, 16, 32)),
    "dfl-p6-tall": Head(nc=5, size=(640, 384), strides=(8, 16, 32, 64)),
    "direct-five-scales": Head("direct", nc=3, strides=(4, 8, 16, 32, 64)),
    "dfl-two-scales": Head(nc=3, size=(320, 416), strides=(16, 32)),
    "direct-seg-one-scale": Head("direct", nc=1, masks=32, strides=(16,)),
    "dfl-angle": Head(nc=15, extras=(("angle", 1),)),
    "direct-landmarks": Head("direct", nc=3, extras=(("landmarks", 10),)),
    # Equal physical shapes: right only because the tensors come in the document's order.
    "dfl-ambiguous": Head(nc=64),
    "direct-ambiguous": Head("direct", nc=4),
    "seg-ambiguous": Head(nc=32, masks=32),
    "angle-ambiguous": Head(nc=1, extras=(("angle", 1),)),
    # The network before it is quantized: logits, and as if the sigmoid had been folded.
    "dfl-float": replace(FLOAT, nc=5, fold=False),
    "direct-float": replace(FLOAT, encoding="direct", nc=3),
    "dfl-float-boxes": Head(nc=3, box_dtype="float32"),
    "dfl-seg-float": replace(FLOAT, nc=3, masks=32, fold=False),
    "direct-seg-float": replace(FLOAT, encoding="direct", nc=5, masks=32, fold=False, extras=(("angle", 1),)),
}
SEGMENTERS = {name: head for name, head in HEADS.items() if head.masks}


def compiled(head: Head, **members: Any) -> tuple[dict[str, Any], tuple[PhysicalTensor, ...]]:
    """Compile a document for a synthetic head."""
    tensors = tensors_of(head)
    source = {"schema_version": 2, "decoder_version": "yolov8", "nms": "class_agnostic", **members}
    return compile_document(TrainerDocument(source), head.split, tensors, FACTS, head.folded).document, tensors


def three_things(head: Head) -> list[Thing]:
    """Three objects, one for each of the finer scales, that do not overlap."""
    height, width = head.size
    coarsest = len(head.strides) - 1
    things = [
        Thing((width * 0.1, height * 0.1, width * 0.1 + 60.5, height * 0.1 + 48.25), 0, 0.9, 0),
        Thing((width * 0.4, height * 0.55, width * 0.4 + 150, height * 0.55 + 110), head.nc - 1, 0.8, 1),
        Thing((width * 0.4, height * 0.05, width * 0.4 + 200, height * 0.05 + 140), head.nc // 2, 0.7, 2),
    ]
    return [replace(thing, scale=min(thing.scale, coarsest)) for thing in things]


@every_decoder
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_known_objects_are_found(head: Head, find: Decode) -> None:
    document, tensors = compiled(head)
    arrays = encode(head, three_things(head), tensors)
    boxes, scores, classes, _ = decode(head, arrays, tensors)
    found = find(document, arrays)
    np.testing.assert_allclose(found.boxes, boxes, atol=1e-6)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    np.testing.assert_array_equal(found.classes, classes)
    # The reference is no echo of the document: it is where the objects were put, to the quantization's precision.
    true = np.array([thing.box for thing in three_things(head)]) / np.array([head.size[1], head.size[0]] * 2)
    np.testing.assert_allclose(boxes, true, atol=2.5 / min(head.size))
    assert classes.tolist() == [thing.label for thing in three_things(head)]


@every_decoder
@pytest.mark.parametrize("head", SEGMENTERS.values(), ids=SEGMENTERS)
def test_masks_are_those_of_the_prototypes(head: Head, find: Decode) -> None:
    document, tensors = compiled(head)
    arrays = encode(head, three_things(head), tensors)
    boxes, _, _, coefficients = decode(head, arrays, tensors)
    found = find(document, arrays)
    assert len(found.masks) == len(boxes)
    protos = next(tensor for tensor in tensors if "/proto/Mul" in tensor.original_names)
    planes = dequantize(arrays[protos.name][0], protos)
    for mask, box, own in zip(found.masks, boxes, coefficients, strict=True):
        crops = [crop for crop in crops_of(planes @ own > 0, box, mask.shape) if crop.shape == mask.shape[:2]]
        assert max((crop == (mask[:, :, 0] > 127)).mean() for crop in crops) > 0.99
        assert all(0.3 < crop.mean() < 0.7 for crop in crops)  # a mask that is full or empty would prove nothing


def crops_of(plane: npt.NDArray[Any], box: npt.NDArray[Any], shape: tuple[int, ...]) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield a box's crops from a plane, as large as the decoder's own: releases round the corner up or down."""
    height, width = plane.shape
    assert abs(shape[0] - (box[3] - box[1]) * height) <= 2
    assert abs(shape[1] - (box[2] - box[0]) * width) <= 2
    for left, top in product((0, 1), (0, 1)):
        x, y = int(box[0] * width) + left, int(box[1] * height) + top
        yield plane[y : y + shape[0], x : x + shape[1]]


@every_decoder
@pytest.mark.parametrize(("mode", "left"), [("class_agnostic", 1), ("class_aware", 2)])
def test_nms_is_the_documents(mode: str, left: int, find: Decode) -> None:
    head = Head(nc=3)
    document, tensors = compiled(head, nms=mode)
    box = (200.0, 200.0, 300.0, 280.0)
    arrays = encode(head, [Thing(box, 0, 0.9, 1), Thing(box, 2, 0.6, 2)], tensors)
    assert len(find(document, arrays).boxes) == left


@every_decoder
@pytest.mark.parametrize("version", ["yolov5", "yolov8", "yolo11", "yolo26", "yolo99", None])
@pytest.mark.parametrize("end2end", [True, False, None])
def test_decoder_version_never_gets_in_the_way(version: str | None, end2end: bool | None, find: Decode) -> None:
    head = Head("direct", nc=3)
    members: dict[str, Any] = {"decoder_version": version, "model": {"end2end": end2end}}
    document, tensors = compiled(head, **members)
    arrays = encode(head, three_things(head), tensors)
    np.testing.assert_allclose(find(document, arrays).boxes, decode(head, arrays, tensors)[0], atol=1e-6)


@every_decoder
def test_the_input_layout_is_read_from_dshape(find: Decode) -> None:
    # What makes `dshape` mandatory: without it, the same document in the trainer's layout is silently decoded wrong.
    head = Head(size=(384, 640))
    document, tensors = compiled(head, input={"shape": [1, 3, 384, 640], "cameraadaptor": "rgb"})
    arrays = encode(head, three_things(head), tensors)
    expected = decode(head, arrays, tensors)[0]
    np.testing.assert_allclose(find(document, arrays).boxes, expected, atol=1e-6)
    document["input"] = {"shape": [1, 3, 384, 640]}
    assert not np.allclose(find(document, arrays).boxes, expected, atol=0.1)
