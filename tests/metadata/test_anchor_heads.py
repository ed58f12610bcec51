"""Classic anchor heads (YOLOv5, ModelPack): flat, raw, and decoded by both decoders."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from build_rules.errors import InputError
from build_rules.metadata.checks import check_document
from build_rules.metadata.compiled_document import BuildFacts, compile_document
from build_rules.metadata.outputs import class_count
from build_rules.metadata.physical import PhysicalTensor
from build_rules.records.split_hint import SplitBoundary, SplitHint
from build_rules.records.split_json import Endpoint, ModelInput, Split
from build_rules.trainer.document import TrainerDocument
from tests.metadata.test_decoding import Decode, every_decoder

FACTS = BuildFacts("0.1.0", "2026-01-02T03:04:05Z", "hailo8", "fast", "emulator", "1", emulated=True)
PIXELS = [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]]
SIZE = (480, 640)


def split_of(nc: int, *, segmentation: bool = False) -> Split:
    """The split of an anchor head with three scales."""
    height, width = SIZE
    shapes = [(1, 3 * (5 + nc), height // stride, width // stride) for stride in (8, 16, 32)]
    endpoints = [
        Endpoint(f"grid_{i}", "anchor", i, 8 << i, f"t{i}", f"n{i}", shape, "anchor", "sigmoid")
        for i, shape in enumerate(shapes)
    ]
    if segmentation:
        shape = (1, nc + 1, height // 4, width // 4)
        endpoints.append(Endpoint("seg", "segmentation", None, 4, "ts", "seg", shape, None, "softmax"))
    return Split("anchored", ModelInput("images", (1, 3, *SIZE)), tuple(endpoints), (), None)


def tensors_of(split: Split, dtype: str = "uint8") -> tuple[PhysicalTensor, ...]:
    """The HEF's outputs of such a split."""
    scale, zero_point = (0.0625, 128) if dtype == "uint8" else (None, None)
    return tuple(
        PhysicalTensor(f"a/conv{i}", (1, e.shape[2], e.shape[3], e.shape[1]), dtype, scale, zero_point, (e.node,))
        for i, e in enumerate(split.endpoints)
    )


def compiled(nc: int, *, segmentation: bool = False) -> dict[str, Any]:
    """A compiled document whose anchors come from the split hint."""
    split = split_of(nc, segmentation=segmentation)
    source = {"decoder_version": "yolov5", "nms": "class_agnostic", "split_hints": [{"anchors": PIXELS}]}
    return compile_document(TrainerDocument(source), split, tensors_of(split), FACTS, split.folded).document


def arrays_of(document: dict[str, Any], nc: int) -> dict[str, Any]:
    """Tensors with one object: second anchor of the middle scale, row 10, column 12, last class."""
    arrays = {o["name"]: np.full(o["shape"], 0, np.uint8) for o in document["outputs"]}
    cell = arrays["a/conv1"][0, 10, 12].reshape(3, 5 + nc)[1]
    cell[:5] = [128, 140, 128, 118, 190]
    cell[-1] = 200
    return arrays


def sigmoid(stored: int) -> float:
    return float(1 / (1 + np.exp(-(stored - 128) * 0.0625)))


@every_decoder
@pytest.mark.parametrize("nc", [1, 3, 80])
@pytest.mark.parametrize("segmentation", [False, True])
def test_known_object_is_found(nc: int, segmentation: bool, find: Decode) -> None:
    document = compiled(nc, segmentation=segmentation)
    found = find(document, arrays_of(document, nc))
    x, y = (sigmoid(128) * 2 - 0.5 + 12) / 40, (sigmoid(140) * 2 - 0.5 + 10) / 30
    w, h = (sigmoid(128) * 2) ** 2 * 62 / 640, (sigmoid(118) * 2) ** 2 * 45 / 480
    # The decoders approximate the exponential to one per cent.
    np.testing.assert_allclose(found.boxes, [[x - w / 2, y - h / 2, x + w / 2, y + h / 2]], atol=2e-3)
    # With a single class they score the objectness alone.
    expected = sigmoid(190) * (sigmoid(200) if nc > 1 else 1)
    np.testing.assert_allclose(found.scores, [expected], atol=5e-3)
    assert found.classes.tolist() == [nc - 1]


@every_decoder
@pytest.mark.parametrize("segmentation", [False, True])
def test_a_float_grid_is_decoded_alike(segmentation: bool, find: Decode) -> None:
    split = split_of(3, segmentation=segmentation)
    source = {"nms": "class_agnostic", "split_hints": [{"anchors": PIXELS}]}
    document = compile_document(TrainerDocument(source), split, tensors_of(split, "float32"), FACTS, ()).document
    assert {output["quantization"] for output in document["outputs"]} == {None}
    assert check_document(document, tensors_of(split, "float32")) == ()
    stored = arrays_of(document, 3)
    found = find(document, {name: (array.astype(np.float32) - 128) * 0.0625 for name, array in stored.items()})
    expected = find(compiled(3, segmentation=segmentation), stored)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-6)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)


@every_decoder
def test_an_anchor_may_exceed_the_image(find: Decode) -> None:
    source = {
        "nms": "class_agnostic",
        "split_hints": [{"anchors": [PIXELS[0], [[30, 61], [900, 45], [59, 119]], PIXELS[2]]}],
    }
    split = split_of(3)
    document = compile_document(TrainerDocument(source), split, tensors_of(split), FACTS, ()).document
    ((left, _, right, _),) = find(document, arrays_of(document, 3)).boxes
    np.testing.assert_allclose(right - left, (sigmoid(128) * 2) ** 2 * 900 / 640, rtol=1e-2)


def with_masks(split: Split, *, told: bool) -> Split:
    """The split with prototypes, or with a hint that knows of mask coefficients in the grids."""
    if not told:
        shape = (1, 32, SIZE[0] // 4, SIZE[1] // 4)
        protos = Endpoint("protos", "protos", None, 4, "tp", "protos", shape, None, None)
        return replace(split, endpoints=(*split.endpoints, protos))
    names = ("boxes", "objectness", "scores", "mask_coefs")
    parts = tuple(SplitBoundary(name, (index, index + 1)) for index, name in enumerate(names))
    return replace(split, hints=(SplitHint("output0", parts, anchors_per_cell=3),))


@every_decoder
@pytest.mark.parametrize("told", [False, True])
def test_a_grid_with_mask_coefficients_is_not_decoded(told: bool, find: Decode) -> None:
    # Both decoders would take the coefficients for classes; a refusal is better than wrong classes.
    split = with_masks(split_of(3 + 32), told=told)
    source = {"nms": "class_agnostic", "split_hints": [{"anchors": PIXELS}]}
    result = compile_document(TrainerDocument(source), split, tensors_of(split), FACTS, ())
    outputs = result.document["outputs"]
    assert not any("type" in output or "decoder" in output for output in outputs)
    assert [output["name"] for output in outputs] == ["a/conv0", "a/conv1", "a/conv2", "protos"][: 3 if told else 4]
    assert outputs[0]["anchors"][0] == [10 / 640, 13 / 480]
    assert class_count(outputs) is None
    assert any("nothing to decode" in warning for warning in result.warnings)
    assert len(result.warnings) == len(outputs) + 1
    tensors = {t.name: np.zeros(t.shape, np.uint8) for t in tensors_of(split)}
    with pytest.raises(RuntimeError, match="No outputs found"):
        find(result.document, tensors)


def test_a_hint_that_names_no_more_than_classes_changes_nothing() -> None:
    split = split_of(3)
    names = ("boxes", "objectness", "scores")
    parts = tuple(SplitBoundary(name, (index, index + 1)) for index, name in enumerate(names))
    hinted = replace(split, hints=(SplitHint("output0", parts, anchors_per_cell=3),))
    grid = replace(
        split, hints=(SplitHint("output0", (SplitBoundary("detection_grid", (0, 24)),), anchors_per_cell=3),)
    )
    for same in (hinted, grid):
        document = compile_document(
            TrainerDocument({"model": {"anchors": PIXELS}}), same, tensors_of(same), FACTS, ()
        ).document
        assert [output["type"] for output in document["outputs"]] == ["detection"] * 3


@pytest.mark.parametrize("nc", [1, 3, 80])
def test_the_form_is_flat_and_raw(nc: int) -> None:
    document = compiled(nc, segmentation=True)
    grids = document["outputs"][:3]
    assert [grid["type"] for grid in grids] == ["detection"] * 3
    assert [grid["dshape"][-1] for grid in grids] == [{"num_anchors_x_features": 3 * (5 + nc)}] * 3
    assert [grid["stride"] for grid in grids] == [8, 16, 32]
    assert not any("outputs" in grid or "activation_applied" in grid for grid in grids)
    assert grids[0]["anchors"][0] == [10 / 640, 13 / 480]
    assert document["outputs"][3]["type"] == "segmentation"
    assert class_count(document["outputs"]) == nc
    assert check_document(document) == ()


def test_a_sigmoid_on_the_chip_is_refused() -> None:
    split = split_of(3)
    with pytest.raises(InputError, match=r"grid_0.*readers apply it to anchor grids themselves"):
        compile_document(
            TrainerDocument({"split_hints": [{"anchors": PIXELS}]}), split, tensors_of(split), FACTS, {"grid_0"}
        )


def test_channels_that_the_anchors_do_not_divide_are_refused() -> None:
    split = split_of(4)
    four = [[*level, [1, 2]] for level in PIXELS]
    with pytest.raises(InputError, match=r"'t0' has 27 channels.*4 anchors"):
        compile_document(
            TrainerDocument({"split_hints": [{"anchors": four}]}), split, tensors_of(split), FACTS, split.folded
        )


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"activation_applied": "sigmoid"}, "apply the sigmoid themselves"),
        ({"outputs": [{}]}, "one flat output per scale"),
        ({"decoder": "ultralytics"}, "decoder 'modelpack'"),
        ({"encoding": "direct"}, "encoding 'anchor'"),
        ({"anchors": PIXELS[0]}, "divided by the input size"),
        ({"anchors": []}, "divided by the input size"),
        ({"anchors": [[0.5, 0.5]] * 5}, "5 anchors times 5 + classes"),
    ],
)
def test_a_grid_that_would_decode_wrongly_is_found(members: dict[str, Any], words: str) -> None:
    document = compiled(3)
    document["outputs"][0] |= members
    assert any(problem.item == 16 and words in problem.text for problem in check_document(document))


def test_the_graphs_anchors_are_written_where_the_document_has_none() -> None:
    anchors = tuple(tuple((float(w), float(h)) for w, h in level) for level in PIXELS)
    split = replace(split_of(3), anchors=anchors)
    outputs = compile_document(TrainerDocument(), split, tensors_of(split), FACTS, ()).document["outputs"]
    assert [output["anchors"][0] for output in outputs] == [[w / 640, h / 480] for (w, h), *_ in PIXELS]
