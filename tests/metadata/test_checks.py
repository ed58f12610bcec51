"""The checklist: every item finds its violation, a good document has none, and nothing makes it raise."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build_rules.metadata.checks import ITEMS, check_document
from build_rules.metadata.compiled_document import BuildFacts, compile_document
from build_rules.trainer.document import TrainerDocument
from tests.metadata.synthetic import Head, tensors_of

HEAD = Head(nc=3, masks=32)
TENSORS = tensors_of(HEAD)
FACTS = BuildFacts("0.1.0", "2026-01-02T03:04:05+00:00", "hailo8l", "fast", "emulator", "1", emulated=True)
LABELS = ["a", "b", "c"]
GOOD = compile_document(
    TrainerDocument({"decoder_version": "yolov8", "nms": "class_agnostic", "dataset": {"classes": LABELS}}),
    HEAD.split,
    TENSORS,
    FACTS,
    HEAD.folded,
).document

Spoil = Callable[[dict[str, Any]], Any]


def put(path: str, value: Any) -> Spoil:
    """Return what sets the value at a path such as `outputs.0.outputs.1.stride`."""

    def spoil(document: dict[str, Any]) -> None:
        at, last = walk(document, path)
        at[last] = value

    return spoil


def drop(path: str) -> Spoil:
    """Return what deletes the member at a path."""

    def spoil(document: dict[str, Any]) -> None:
        at, last = walk(document, path)
        del at[last]

    return spoil


def walk(document: Any, path: str) -> tuple[Any, Any]:
    steps = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps[:-1]:
        document = document[step]
    return document, steps[-1]


CHILD = "outputs.0.outputs.0"
SPOILED = [
    (1, drop("schema_version")),
    (1, put("schema_version", 3)),
    (1, put("schema_version", True)),
    (1, put("schema_version", 2.0)),
    (2, drop("input")),
    (2, drop("input.dshape")),
    (2, drop("input.shape")),
    (2, put("input.shape", [1, 3, 640, 640])),
    (2, put("input.dshape", [{"batch": 1}, {"num_features": 640}, {"width": 640}, {"num_features": 3}])),
    (2, put("input.dshape", [["batch", 1], ["height", 640], ["width", 640], ["num_features", 3]])),
    (3, put("decoder_version", "yolov9")),
    (3, put("decoder_version", None)),
    (4, drop("nms")),
    (4, put("nms", "hal")),
    (5, drop("outputs")),
    (5, put("outputs", [])),
    (5, put("outputs.0", "boxes")),
    (5, drop("outputs.0.type")),
    (5, put("outputs.1.type", "probabilities")),
    (5, put(f"{CHILD}.type", "scores")),
    (6, drop("outputs.1.shape")),
    (6, drop("outputs.1.dshape")),
    (6, put("outputs.1.dshape", [{"batch": 1}, {"num_boxes": 8400}, {"num_classes": 3}])),
    (6, put("outputs.1.dshape.1", {"channels": 3})),
    (6, put("outputs.0.shape.2", 8401)),
    (6, put(f"{CHILD}.decoder", "ultralytics")),
    (6, put("outputs.1.score_format", "per_box")),
    (6, put("split_hints", [])),
    (6, put("tiling", {"version": True, "mode": "tiled"})),
    (7, drop("outputs.0.encoding")),
    (7, put("outputs.0.encoding", "xywh")),
    (7, drop("outputs.0.decoder")),
    (8, drop("outputs.1.outputs")),
    (8, drop("outputs.1.outputs.2")),
    (8, drop("outputs.2.outputs.0")),
    (8, drop("outputs.1")),
    (8, drop("outputs.0")),
    (9, drop(f"{CHILD}.name")),
    (9, put(f"{CHILD}.name", "conv")),
    (9, put(f"{CHILD}.name", "synthetic/conv41")),
    (10, put(f"{CHILD}.shape", [1, 80, 64])),
    (10, put(f"{CHILD}.shape", [1, 64, 80, 80])),
    (10, put(f"{CHILD}.dshape", [{"batch": 1}, {"num_features": 80}, {"height": 80}, {"width": 64}])),
    (11, drop(f"{CHILD}.stride")),
    (11, put(f"{CHILD}.stride", 8.0)),
    (11, put(f"{CHILD}.stride", [8, 8])),
    (11, put(f"{CHILD}.stride", [8, 4])),
    (11, put(f"{CHILD}.stride", 4)),
    (12, drop(f"{CHILD}.dtype")),
    (12, put(f"{CHILD}.dtype", "uint16")),
    (12, drop(f"{CHILD}.quantization")),
    (12, put(f"{CHILD}.quantization", None)),
    (12, put(f"{CHILD}.quantization.scale", [0.1, 0.2])),
    (12, put(f"{CHILD}.quantization.scale", 0)),
    (12, put(f"{CHILD}.quantization.scale", float("nan"))),
    (12, put(f"{CHILD}.quantization.scale", 0.25)),
    (12, put(f"{CHILD}.quantization.zero_point", 128.0)),
    (12, put(f"{CHILD}.quantization.zero_point", 3)),
    (12, put(f"{CHILD}.quantization.dtype", "int8")),
    (13, put(f"{CHILD}.shape.3", 66)),
    (13, put("outputs.0.encoding", "direct")),
    (14, drop("outputs.1.outputs.0.activation_applied")),
    (14, put("outputs.1.outputs.0.activation_applied", "swish")),
    (14, put("outputs.1.outputs.1.activation_required", "sigmoid")),
    (15, put("outputs.1.outputs.0.shape.3", 64)),
    (16, put("outputs.0.encoding", "anchor")),
    (16, put("outputs.1.type", "detection")),
    (17, put("dataset.classes", ["a"])),
]


@pytest.mark.parametrize(("item", "spoil"), SPOILED, ids=[f"{item}-{n}" for n, (item, _) in enumerate(SPOILED)])
def test_every_violation_is_found(item: int, spoil: Spoil) -> None:
    document = copy.deepcopy(GOOD)
    spoil(document)
    problems = check_document(document, TENSORS, LABELS)
    assert item in {problem.item for problem in problems}, [str(problem) for problem in problems]


SAID = [
    ("have different dtypes (uint16, uint8)", put(f"{CHILD}.dtype", "uint16")),
    ("boxes have 2 children of stride 8", put("outputs.0.outputs.1.stride", 8)),
    ("8401 boxes, but the children have 8400 cells", put("outputs.0.dshape.2", {"num_boxes": 8401})),
    ("differ in their activation", drop("outputs.1.outputs.2.activation_applied")),
    ("both applied and required", put("outputs.1.outputs.1.activation_required", "sigmoid")),
    ("zero_point is 128.0, not an integer", put(f"{CHILD}.quantization.zero_point", 128.0)),
    ("unknown axis names channels", put("outputs.1.dshape.1", {"channels": 3})),
    ("is 4, but 80 cells span the input's width of 640", put(f"{CHILD}.stride", 4)),
    ("outputs[1].outputs[0].shape has 4 channels, unlike", put("outputs.1.outputs.0.shape.3", 4)),
]


@pytest.mark.parametrize(("words", "spoil"), SAID, ids=[words for words, _ in SAID])
def test_what_is_said(words: str, spoil: Spoil) -> None:
    document = copy.deepcopy(GOOD)
    spoil(document)
    assert any(words in str(problem) for problem in check_document(document))


def test_every_item_has_an_example() -> None:
    assert {item for item, _ in SPOILED} == set(ITEMS)


def test_a_good_document_has_no_problems() -> None:
    assert check_document(GOOD, TENSORS, LABELS) == ()
    assert check_document(json.loads(json.dumps(GOOD)), TENSORS, LABELS) == ()


def test_logits_are_a_warning() -> None:
    head = replace(HEAD, fold=False)
    result = compile_document(TrainerDocument({"nms": "class_aware"}), head.split, tensors_of(head), FACTS, head.folded)
    assert {problem.item for problem in check_document(result.document)} == {14}
    assert len(result.warnings) == 3


def test_labels_are_counted_both_ways() -> None:
    (problem,) = check_document(GOOD, TENSORS, ["a", "b"])
    assert (problem.item, problem.severity) == (17, "error")
    assert "2 classes" in problem.text
    assert "scores 3" in problem.text


def test_an_output_that_is_not_described_is_found() -> None:
    stranger = replace(TENSORS[0], name="stranger")
    (problem,) = check_document(GOOD, (*TENSORS, stranger))
    assert problem.item == 9
    assert "stranger" in problem.text


def test_a_problem_reads_as_a_line() -> None:
    (problem,) = check_document({**GOOD, "nms": "hal"})
    assert str(problem) == "error: nms is 'hal', not one of class_agnostic, class_aware (check 4)"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 700) | st.floats() | st.text(max_size=4) | st.sampled_from(["boxes"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, one in inner for path in paths(one, (*at, key)))]


PLACES = paths(GOOD)[1:]


@given(st.lists(st.tuples(st.sampled_from(PLACES), json_values | st.just(...)), min_size=1, max_size=3))
@settings(max_examples=300, deadline=None)
def test_nothing_makes_it_raise(spoils: list[tuple[tuple[Any, ...], Any]]) -> None:
    document = copy.deepcopy(GOOD)
    for place, value in spoils:
        at: Any = document
        try:
            for step in place[:-1]:
                at = at[step]
            if value is ...:
                del at[place[-1]]
            else:
                at[place[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change removed the place
    for problem in check_document(document, TENSORS, LABELS):
        assert problem.item in ITEMS
        assert problem.severity in ("error", "warning")
        assert str(problem)


@given(json_values)
@settings(max_examples=200, deadline=None)
def test_any_json_can_be_checked(document: Any) -> None:
    assert check_document(document)
    assert check_document({"outputs": [document], "input": document, "dataset": document, "tiling": document})


heads = st.builds(
    Head,
    encoding=st.sampled_from(["dfl", "direct"]),
    nc=st.integers(1, 90),
    masks=st.sampled_from([0, 32]),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)).map(lambda size: (size[0] * 64, size[1] * 64)),
    box_dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    score_dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    other_dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    fold=st.booleans(),
    strides=st.sets(st.sampled_from([4, 8, 16, 32, 64]), min_size=1).map(lambda strides: tuple(sorted(strides))),
    extras=st.sampled_from([(), (("angle", 1),), (("landmarks", 10), ("confidence", 5))]),
)


@given(heads)
@settings(max_examples=100, deadline=None)
def test_what_is_compiled_passes_its_own_checks(head: Head) -> None:
    tensors = tensors_of(head)
    document = compile_document(TrainerDocument(), head.split, tensors, FACTS, head.folded).document
    problems = check_document(document, tensors, ["x"] * head.nc)
    assert {problem.severity for problem in problems} <= {"warning"}
    assert {problem.item for problem in problems} <= {5, 14, 15}
