"""Documents that trainers really embed, compiled with the corpus's truth and decoded by both decoders."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from build_rules.metadata.checks import check_document
from build_rules.metadata.compiled_document import BuildFacts, compile_document
from build_rules.metadata.outputs import class_count
from build_rules.metadata.physical import PhysicalTensor
from build_rules.metadata.serialize import document_bytes as as_bytes
from build_rules.records.split_json import Split
from build_rules.trainer.document import TrainerDocument
from tests.decoders import DECODERS, physical_outputs
from tests.metadata.corpus import every_model, nhwc, source_of, split_of
from tests.metadata.synthetic import Head, Thing, decode, encode
from tests.metadata.synthetic import tensors_of as synthetic_tensors
from tests.metadata.test_decoding import Decode
from tests.shared import needs_shared

FACTS = BuildFacts("0.1.0", "2026-01-02T03:04:05+00:00", "hailo8l", "fast", "emulator", "1", emulated=True)

every_decoder = pytest.mark.parametrize("find", DECODERS.values(), ids=DECODERS)


def head_of(split: Split) -> Head:
    """The synthetic head of the same shapes, which knows how to encode objects."""
    channels = {e.role: e.shape[1] for e in split.endpoints}
    encoding = split.endpoints[0].encoding or ""
    size = (split.input.height, split.input.width)
    return Head(encoding, channels.get("scores", 0), channels.get("mask_coefs", 0), size)


def tensors_of(split: Split) -> tuple[PhysicalTensor, ...]:
    """The HEF's outputs."""
    return tuple(
        PhysicalTensor(
            name=f"{split.model}/conv{index}",
            shape=nhwc(e.shape),
            dtype="uint8",
            scale=1 / 255 if e.name in split.folded else 0.0625,
            zero_point=0 if e.name in split.folded else 128,
            original_names=(e.node,),
        )
        for index, e in enumerate(split.endpoints)
    )


@needs_shared
@every_model
def test_every_document_compiles(name: str) -> None:
    source, split = source_of(name), split_of(name)
    tensors = tensors_of(split)
    if any(e.encoding == "anchor" for e in split.endpoints) and not source:
        pytest.skip("an anchor head without metadata has no anchors")
    compiled = compile_document(TrainerDocument(source), split, tensors, FACTS, split.folded)
    document = json.loads(as_bytes(compiled.document))
    classes = class_count(document["outputs"])
    assert classes == len(source.get("dataset", {}).get("classes", [None] * (classes or 0)))
    problems = check_document(document, tensors)
    assert {problem.severity for problem in problems} <= {"warning"}
    expected = {"yolov8n_nc64": {15}, "yolov8n-pose": {5}}  # 64 classes beside 64 box channels; landmarks
    assert {problem.item for problem in problems} == expected.get(name, set())
    kept = {key: value for key, value in source.items() if key not in ("split_hints", "input", "outputs")}
    if name == "yolo26n_e2e":  # cut before the graph selects its boxes
        kept["model"] = {**kept["model"], "end2end": False}
    assert {key: document[key] for key in kept} == kept
    assert {tensor.name for tensor in tensors} == {tensor["name"] for tensor in physical_outputs(document)}


@needs_shared
@every_decoder
@every_model
def test_every_document_decodes(name: str, find: Decode) -> None:
    source, split = source_of(name), split_of(name)
    head = head_of(split)
    if head.encoding == "anchor":
        tensors = tensors_of(split)
        document = compile_document(TrainerDocument(source), split, tensors, FACTS, split.folded).document
        quiet = {t["name"]: np.zeros(t["shape"], np.uint8) for t in physical_outputs(document)}
        assert len(find(document, quiet).boxes) == 0
        return
    own = {e.name: t for e, t in zip(head.split.endpoints, synthetic_tensors(head)[::-1], strict=True)}
    real = {e.name: t for e, t in zip(split.endpoints, tensors_of(split), strict=True)}
    names = dict(zip(own, (e for e in split.endpoints if e.role != "landmarks"), strict=True))
    tensors = tuple(replace(own[key], original_names=(e.node,)) for key, e in names.items())
    tensors += tuple(t for key, t in real.items() if key.startswith("landmarks"))
    document = compile_document(TrainerDocument(source), split, tensors, FACTS, split.folded).document
    thing = Thing((101.0, 60.0, 203.5, 180.25), head.nc - 1, 0.75, 1)
    arrays = encode(head, [thing], tuple(own.values()))
    arrays |= {t.name: np.full(t.shape, 128, np.uint8) for t in tensors if t.name not in arrays}
    boxes, scores, classes, _ = decode(head, arrays, tuple(own.values()))
    found = find(document, arrays)
    np.testing.assert_allclose(found.boxes, boxes, atol=1e-6)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    assert found.classes.tolist() == classes.tolist() == [head.nc - 1]
