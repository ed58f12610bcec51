"""Heads without a word of metadata: what their channels are follows from what the tail does with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tomli

from build_rules.declared.split_table import read_split
from build_rules.errors import InputError
from build_rules.graph.find import infer_hints
from build_rules.records.choices import SplitChoice
from build_rules.records.split_json import Split
from build_rules.toml_table import Table
from tests.graph.graphs import (
    BINS,
    CELLS,
    CLASSES,
    SIZE,
    STRIDES,
    WRITINGS,
    Builder,
    decode_boxes,
    detection,
    dfl,
    document,
    grid_of,
    hint,
    save,
    split,
)

Facts = list[tuple[str, str, str | None, str | None]]
MASKS = 6


def maps(b: Builder, name: str, channels: int) -> str:
    """One map of each scale, joined: [1, channels, cells]."""
    each = [b.conv("image", 3, channels, stride, f"{name}_{stride}") for stride in STRIDES]
    return b.op("Concat", *(b.reshape(one, 1, channels, -1) for one in each), axis=2)


def joined(b: Builder, *parts: str, axis: int = 1, name: str = "output0") -> str:
    return b.op("Concat", *parts, axis=axis, name=name)


def boxes(b: Builder) -> str:
    return decode_boxes(b, dfl(b, maps(b, "box", 4 * BINS), "conv"))


def scores(b: Builder, channels: int = CLASSES, name: str = "score") -> str:
    return b.op("Sigmoid", maps(b, name, channels))


def located(b: Builder, values: str, channels: int) -> str:
    """Values added to the grid and multiplied with the strides."""
    grid = b.weight(b.random.random((1, channels, CELLS)))
    return b.op("Mul", b.op("Add", values, grid), b.weight(b.random.random((1, CELLS))))


def found_in(folder: Path, model: onnx.ModelProto) -> Split:
    found = split(save(model, folder))
    assert found.found_by == "structure"
    return found


def facts(found: Split) -> Facts:
    """(role, tensor, encoding, activation) of the endpoints of the finest scale."""
    return [(e.role, e.tensor, e.encoding, e.activation) for e in found.endpoints if e.stride in (None, STRIDES[0], 4)]


def boundaries(found: Split) -> list[tuple[str, tuple[int, int], str | None]]:
    return [(b.name, b.channels, b.activation) for hint in found.hints for b in hint.boundaries]


BOXES = ("boxes", "box_8", "dfl", None)
SCORES = ("scores", "score_8", None, "sigmoid")


# Boxes.


@pytest.mark.parametrize(("kind", "opset", "order"), WRITINGS)
def test_what_the_trainer_would_have_written(tmp_path: Path, kind: str, opset: int, order: str) -> None:
    found = found_in(tmp_path, detection(kind, opset, order, metadata=None))
    assert boundaries(found) == [("boxes", (0, 4), None), ("scores", (4, 4 + CLASSES), "sigmoid")]
    (own,) = found.hints
    assert (own.target, own.strides, own.anchors_per_cell) == ("output0", STRIDES, 1)
    given = split(save(detection(kind, opset, order), tmp_path))
    assert (found.endpoints, given.found_by) == (given.endpoints, "hints")


def test_boxes_of_corners_are_direct_though_no_channel_mixes(tmp_path: Path) -> None:
    b = Builder()
    distances, grid = maps(b, "box", 4), b.weight(b.random.random((1, 2, CELLS)))
    low = b.op("Sub", grid, b.slice(distances, 0, 2, 1))
    high = b.op("Add", grid, b.slice(distances, 2, 4, 1))
    joined(b, b.op("Mul", b.op("Concat", low, high, axis=1), b.weight(b.random.random((1, CELLS)))), scores(b))
    assert facts(found_in(tmp_path, b.model("output0"))) == [("boxes", "box_8", "direct", None), SCORES]


def test_boxes_come_where_they_come(tmp_path: Path) -> None:
    """The order of the channels says nothing."""
    b = Builder()
    joined(b, scores(b), boxes(b))
    found = found_in(tmp_path, b.model("output0"))
    assert facts(found) == [SCORES, BOXES]
    assert boundaries(found) == [("scores", (0, CLASSES), "sigmoid"), ("boxes", (CLASSES, CLASSES + 4), None)]


def test_as_many_classes_as_bins_mislead_nobody(tmp_path: Path) -> None:
    b = Builder()
    joined(b, boxes(b), scores(b, 4 * BINS))
    assert facts(found_in(tmp_path, b.model("output0"))) == [BOXES, SCORES]


def test_four_classes_are_no_boxes(tmp_path: Path) -> None:
    b = Builder()
    joined(b, boxes(b), scores(b, 4))
    assert facts(found_in(tmp_path, b.model("output0"))) == [BOXES, SCORES]


@pytest.mark.parametrize("perm", [[0, 2, 1], [2, 0, 1]], ids=["channels last", "cells first"])
def test_channels_may_be_any_axis(tmp_path: Path, perm: list[int]) -> None:
    b = Builder()
    rows = b.op("Concat", boxes(b), scores(b), axis=1)
    b.op("Transpose", rows, perm=perm, name="output0")
    found = found_in(tmp_path, b.model("output0"))
    assert facts(found) == [BOXES, SCORES]
    assert (found.hints[0].strides, found.hints[0].anchors_per_cell) == (STRIDES, 1)


def test_as_many_cells_as_channels(tmp_path: Path) -> None:
    """Twenty cells and twenty channels: neither axis gives itself away by its size."""
    b = Builder()
    joined(b, boxes(b), scores(b, CELLS - 4))
    assert facts(found_in(tmp_path, b.model("output0"))) == [BOXES, SCORES]


def test_a_single_scale(tmp_path: Path) -> None:
    b = Builder()
    distances = b.reshape(b.conv("image", 3, 4, 8, "box_8"), 1, 4, -1)
    logits = b.reshape(b.conv("image", 3, CLASSES, 8, "score_8"), 1, CLASSES, -1)
    located_boxes = b.op("Mul", b.op("Add", distances, b.weight(b.random.random((1, 4, 16)))), b.weight(8.0))
    joined(b, located_boxes, b.op("Sigmoid", logits))
    found = found_in(tmp_path, b.model("output0"))
    assert facts(found) == [("boxes", "box_8", "direct", None), SCORES]
    assert [e.name for e in found.endpoints] == ["boxes", "scores"]


def test_two_outputs_are_two_hints(tmp_path: Path) -> None:
    b = Builder()
    b.op("Transpose", boxes(b), perm=[0, 2, 1], name="boxes_out")
    b.op("Transpose", scores(b), perm=[0, 2, 1], name="scores_out")
    found = found_in(tmp_path, b.model("boxes_out", "scores_out"))
    assert facts(found) == [BOXES, SCORES]
    assert [(h.target, [b.name for b in h.boundaries]) for h in found.hints] == [
        ("boxes_out", ["boxes"]),
        ("scores_out", ["scores"]),
    ]


def test_one_output_for_each_scale_is_asked_about(tmp_path: Path) -> None:
    """Boxes and scores of one scale in each output: what is the same role is not told by the graph."""
    b = Builder()
    names = []
    for stride in STRIDES:
        cells = (SIZE // stride) ** 2
        raw = b.reshape(b.conv("image", 3, 4, stride, f"box_{stride}"), 1, 4, -1)
        logits = b.reshape(b.conv("image", 3, CLASSES, stride, f"score_{stride}"), 1, CLASSES, -1)
        place = b.op("Mul", b.op("Add", raw, b.weight(b.random.random((1, 4, cells)))), b.weight(float(stride)))
        names.append(joined(b, place, b.op("Sigmoid", logits), name=f"out_{stride}"))
    error = refusal(tmp_path, b.model(*names))
    assert "of the output 'out_8' are is not understood" in str(error)
    assert 'tensors = ["box_8", "box_16"]' in error.paste


# Scores.


def test_scores_may_be_a_softmax(tmp_path: Path) -> None:
    b = Builder()
    joined(b, boxes(b), b.op("Softmax", maps(b, "score", CLASSES), axis=1))
    assert facts(found_in(tmp_path, b.model("output0"))) == [BOXES, ("scores", "score_8", None, "softmax")]


def test_one_activated_channel_before_the_scores_is_objectness(tmp_path: Path) -> None:
    b = Builder()
    joined(b, boxes(b), scores(b, 1, "object"), scores(b))
    found = found_in(tmp_path, b.model("output0"))
    assert facts(found) == [BOXES, ("objectness", "object_8", None, "sigmoid"), SCORES]
    assert boundaries(found)[1] == ("objectness", (4, 5), "sigmoid")


def test_a_single_class_is_no_objectness(tmp_path: Path) -> None:
    b = Builder()
    joined(b, boxes(b), scores(b, 1))
    assert facts(found_in(tmp_path, b.model("output0"))) == [BOXES, SCORES]


@pytest.mark.parametrize("sizes", [(3, CLASSES), (1, 1, CLASSES)])
def test_several_kinds_of_scores_are_not_told_apart(tmp_path: Path, sizes: Sequence[int]) -> None:
    b = Builder()
    joined(b, boxes(b), *(scores(b, size, f"part{i}") for i, size in enumerate(sizes)))
    with pytest.raises(InputError, match=r"what the channels \[4, \d\) .* are is not understood"):
        found_in(tmp_path, b.model("output0"))


# What accompanies boxes and scores.


def with_masks(prototypes: int | None, coefficients: int = MASKS) -> onnx.ModelProto:
    b = Builder()
    joined(b, boxes(b), scores(b), maps(b, "mask", coefficients))
    if prototypes is None:
        return b.model("output0")
    b.op("Relu", b.conv("image", 3, prototypes, 4), name="protos")
    return b.model("output0", "protos")


def test_bare_channels_are_mask_coefficients_of_as_many_prototypes(tmp_path: Path) -> None:
    found = found_in(tmp_path, with_masks(MASKS))
    assert facts(found) == [BOXES, SCORES, ("mask_coefs", "mask_8", None, None), ("protos", "protos", None, None)]
    assert [h.target for h in found.hints] == ["output0"]


@pytest.mark.parametrize("prototypes", [None, MASKS + 1])
def test_without_as_many_prototypes_they_are_not_understood(tmp_path: Path, prototypes: int | None) -> None:
    with pytest.raises(InputError) as caught:
        found_in(tmp_path, with_masks(prototypes))
    assert "what the channels [9, 15) of the output 'output0' are is not understood" in str(caught.value)
    assert "they come from 'mask_8', 'mask_16' and are passed on as they are" in str(caught.value)


def test_landmarks_meet_the_grid_as_boxes_do(tmp_path: Path) -> None:
    b = Builder()
    joined(b, boxes(b), scores(b), located(b, maps(b, "point", 10), 10))
    found = found_in(tmp_path, b.model("output0"))
    assert facts(found) == [BOXES, SCORES, ("landmarks", "point_8", None, None)]


def test_landmarks_with_visibility_are_one_role(tmp_path: Path) -> None:
    """Every third channel is a sigmoid, from the same maps."""
    b = Builder()
    points = b.reshape(maps(b, "point", 12), 1, 4, 3, CELLS)
    places = b.op("Add", b.slice(points, 0, 2, 2), b.weight(b.random.random((1, 1, 2, CELLS))))
    triples = b.op("Concat", places, b.op("Sigmoid", b.slice(points, 2, 3, 2)), axis=2)
    joined(b, boxes(b), scores(b), b.reshape(triples, 1, 12, CELLS))
    found = found_in(tmp_path, b.model("output0"))
    assert facts(found) == [BOXES, SCORES, ("landmarks", "point_8", None, None)]
    assert boundaries(found)[-1][:2] == ("landmarks", (9, 21))


def test_two_landmarks_are_four_channels_and_no_boxes(tmp_path: Path) -> None:
    b = Builder()
    joined(b, boxes(b), scores(b), located(b, maps(b, "point", 4), 4))
    assert facts(found_in(tmp_path, b.model("output0")))[-1] == ("landmarks", "point_8", None, None)


def test_direct_boxes_mix_their_channels_and_two_landmarks_do_not(tmp_path: Path) -> None:
    """Both have four channels that meet the grid; boxes of width and height are made of pairs of them."""
    b = Builder()
    joined(b, located(b, maps(b, "point", 4), 4), scores(b), decode_boxes(b, maps(b, "box", 4)))
    found = found_in(tmp_path, b.model("output0"))
    assert facts(found) == [("landmarks", "point_8", None, None), SCORES, ("boxes", "box_8", "direct", None)]


def rotated(b: Builder, distances: str, angle: str) -> str:
    """Rotated boxes as Ultralytics writes them: the offset of the centre turns with the angle."""
    low, high = b.slice(distances, 0, 2, 1), b.slice(distances, 2, 4, 1)
    half = b.op("Div", b.op("Sub", high, low), b.weight(2.0))
    x, y = b.slice(half, 0, 1, 1), b.slice(half, 1, 2, 1)
    cos, sin = b.op("Cos", angle), b.op("Sin", angle)
    turned_x = b.op("Sub", b.op("Mul", x, cos), b.op("Mul", y, sin))
    turned_y = b.op("Add", b.op("Mul", x, sin), b.op("Mul", y, cos))
    centre = b.op("Add", b.op("Concat", turned_x, turned_y, axis=1), b.weight(b.random.random((1, 2, CELLS))))
    whole = b.op("Concat", centre, b.op("Add", low, high), axis=1)
    return b.op("Mul", whole, b.weight(b.random.random((1, CELLS))))


@pytest.mark.parametrize("kind", ["dfl", "direct"])
def test_the_angle_goes_into_the_boxes_too(tmp_path: Path, kind: str) -> None:
    b = Builder()
    angle = b.op("Mul", b.op("Sub", b.op("Sigmoid", maps(b, "angle", 1)), b.weight(0.25)), b.weight(np.pi))
    distances = maps(b, "box", 4) if kind == "direct" else dfl(b, maps(b, "box", 4 * BINS), "conv")
    joined(b, rotated(b, distances, angle), scores(b), angle)
    found = found_in(tmp_path, b.model("output0"))
    assert facts(found) == [("boxes", "box_8", kind, None), SCORES, ("angle", "angle_8", None, "sigmoid")]


# Grids of anchors.


def anchor_scale(b: Builder, stride: int, features: int, anchors: int = 3, plain: int = 0) -> str:
    """One scale of a classic YOLOv5; the last `plain` features are not activated."""
    size = SIZE // stride
    conv = b.conv("image", 3, anchors * features, stride, f"grid_{stride}")
    cells = b.op("Transpose", b.reshape(conv, 1, anchors, features, size, size), perm=[0, 1, 3, 4, 2])
    active = b.op("Sigmoid", b.slice(cells, 0, features - plain, 4))
    doubled = b.op("Mul", b.slice(active, 0, 4, 4), b.weight(2.0))
    moved = b.op("Add", b.slice(doubled, 0, 2, 4), b.weight(np.moveaxis(grid_of(stride), 0, -1) - 0.5))
    centre = b.op("Mul", moved, b.weight(float(stride)))
    squared = b.op("Pow", b.slice(doubled, 2, 4, 4), b.weight(2.0))
    extent = b.op("Mul", squared, b.weight(5 + b.random.random((1, anchors, 1, 1, 2))))
    parts = [centre, extent, b.slice(active, 4, features - plain, 4)]
    if plain:
        parts.append(b.slice(cells, features - plain, features, 4))
    return b.reshape(b.op("Concat", *parts, axis=4), 1, -1, features)


@pytest.mark.parametrize(
    "anchors",
    [
        2,
        3,
        4,
    ],
)
def test_classic_anchors_are_one_role_with_the_hints_of_its_parts(tmp_path: Path, anchors: int) -> None:
    b = Builder()
    joined(b, *(anchor_scale(b, stride, 5 + CLASSES, anchors) for stride in STRIDES))
    found = found_in(tmp_path, b.model("output0"))
    assert [(n, c) for n, c, _ in boundaries(found)] == [
        ("boxes", (0, 4)),
        ("objectness", (4, 5)),
        ("scores", (5, 5 + CLASSES)),
    ]
    assert [(e.name, e.tensor, e.encoding, e.activation) for e in found.endpoints] == [
        ("anchor_0", "grid_8", "anchor", "sigmoid"),
        ("anchor_1", "grid_16", "anchor", "sigmoid"),
    ]
    assert (found.hints[0].anchors_per_cell, found.hints[0].strides) == (anchors, STRIDES)


@pytest.mark.parametrize("anchors", [1, 2])
def test_a_grid_of_few_anchors_is_not_called_landmarks(tmp_path: Path, anchors: int) -> None:
    """There are no landmarks without boxes; what is not understood is asked about."""
    b = Builder()
    joined(b, *(anchor_scale(b, stride, 5 + CLASSES, anchors) for stride in STRIDES))
    try:
        roles = {e.role for e in found_in(tmp_path, b.model("output0")).endpoints}
    except InputError:
        return
    assert "landmarks" not in roles


def test_classic_anchors_with_masks(tmp_path: Path) -> None:
    b = Builder()
    joined(b, *(anchor_scale(b, stride, 5 + CLASSES + MASKS, plain=MASKS) for stride in STRIDES))
    b.op("Relu", b.conv("image", 3, MASKS, 4), name="protos")
    found = found_in(tmp_path, b.model("output0", "protos"))
    assert [(e.name, e.activation) for e in found.endpoints] == [
        ("anchor_0", None),
        ("anchor_1", None),
        ("protos", None),
    ]
    assert boundaries(found)[-1] == ("mask_coefs", (5 + CLASSES, 5 + CLASSES + MASKS), None)


# What selects its boxes itself.


def test_an_end_to_end_head_has_endpoints_and_no_hints(tmp_path: Path) -> None:
    """The best cells by the score of their best class, with the number of that class, as YOLO26 and YOLOv10 do."""
    b = Builder()
    where, chance = (b.op("Transpose", part, perm=[0, 2, 1]) for part in (boxes(b), scores(b)))
    best = b.op("ReduceMax", chance, axes=[2], keepdims=0)
    top = b.op("TopK", best, b.integers(3), axis=1, outputs=2)
    index = b.op("Unsqueeze", f"{top}_1", b.integers(2))
    picked = b.op("GatherElements", where, b.op("Expand", index, b.integers(1, 3, 4)), axis=1)
    chances = b.op("GatherElements", chance, b.op("Expand", index, b.integers(1, 3, CLASSES)), axis=1)
    number = b.op("Cast", b.op("ArgMax", chances, axis=2, keepdims=1), to=1)
    joined(b, picked, b.op("ReduceMax", chances, axes=[2], keepdims=1), number, axis=2)
    found = found_in(tmp_path, b.model("output0"))
    assert facts(found) == [BOXES, SCORES]
    assert found.hints == ()


# What is not understood.


def raw_logits(**members: Any) -> onnx.ModelProto:
    """Boxes and scores before any activation: everything looks alike."""
    b = Builder()
    joined(b, maps(b, "box", 4), maps(b, "score", CLASSES))
    return b.model("output0", **members)


def refusal(folder: Path, model: onnx.ModelProto) -> InputError:
    with pytest.raises(InputError) as caught:
        split(save(model, folder))
    return caught.value


def test_raw_logits_are_told_with_their_channels_and_tensors(tmp_path: Path) -> None:
    message = str(refusal(tmp_path, raw_logits()))
    for told in (
        "there is no way to tell where to cut this model: its EdgeFirst metadata is missing",
        "its outputs are 'output0' [1, 9, 20]",
        "what the channels [0, 4) of the output 'output0' are is not understood",
        "they come from 'box_8', 'box_16' and are passed on as they are",
        "name the endpoints in model.toml",
    ):
        assert told in message


@pytest.mark.parametrize(
    ("operator", "done"),
    [("Tanh", "activated by tanh"), ("Exp", "computed with"), ("Identity", "passed on as they are")],
)
def test_what_is_done_with_them_is_told(tmp_path: Path, operator: str, done: str) -> None:
    b = Builder()
    joined(b, boxes(b), b.op(operator, maps(b, "what", 3)))
    assert f"they come from 'what_8', 'what_16' and are {done}." in str(refusal(tmp_path, b.model("output0")))


def test_scales_side_by_side_on_every_axis_have_no_channels(tmp_path: Path) -> None:
    b = Builder()
    fine, coarse = (b.reshape(b.conv("image", 3, 4, stride, f"map_{stride}"), 1, 4, -1) for stride in STRIDES)
    before, behind = (b.weight(np.zeros((1, 4, (SIZE // stride) ** 2))) for stride in STRIDES)
    rows = [b.op("Concat", *pair, axis=2) for pair in ((fine, behind), (before, coarse))]
    b.op("Concat", *rows, axis=1, name="output0")
    told = str(refusal(tmp_path, b.model("output0")))
    assert "no axis of the output 'output0' [1, 8, 20] looks like its channels." in told


@pytest.mark.parametrize(
    ("metadata", "lack"),
    [
        (document(), "has no split_hints"),
        ({"schema_version": 2}, "has no split_hints"),
        (document({"type": "tensor_split"}), "has no split_hints of a known type (only 'tensor_split')"),
    ],
)
def test_what_the_metadata_lacks_is_told(tmp_path: Path, metadata: Any, lack: str) -> None:
    assert f"its EdgeFirst metadata {lack}, its" in str(refusal(tmp_path, raw_logits(document=metadata)))


def test_the_proposal_filled_in_cuts_the_model(tmp_path: Path) -> None:
    text = refusal(tmp_path, raw_logits()).paste
    assert [line for line in text.splitlines() if line.startswith("tensors")] == [
        'tensors = ["box_8", "box_16"]',
        'tensors = ["score_8", "score_16"]',
    ]
    assert "# 4 channels, 4x4, 2x2:" in text
    first, second = text.replace("# activation", "activation").split("[[split.endpoint]]")[1:]
    first = first.replace('"?"', '"boxes"', 1).replace('# encoding = "dfl" ', 'encoding = "direct" ')
    first = first.replace("activation", "# activation")
    filled = f"[[split.endpoint]]{first}[[split.endpoint]]{second.replace('?', 'scores', 1)}"
    choice = read_split(Table(tomli.loads(filled), "model.toml"))
    found = split(save(raw_logits(), tmp_path), choice=choice)
    assert [(e.name, e.tensor, e.encoding, e.activation) for e in found.endpoints] == [
        ("boxes_0", "box_8", "direct", None),
        ("boxes_1", "box_16", "direct", None),
        ("scores_0", "score_8", None, "sigmoid"),
        ("scores_1", "score_16", None, "sigmoid"),
    ]
    assert (found.found_by, found.proof is not None) == ("model.toml", True)


def test_the_proposal_is_not_filled_in_by_itself(tmp_path: Path) -> None:
    """Pasted as it is, the table names the role `?`, which no runtime reads; that has to be told."""
    text = refusal(tmp_path, raw_logits()).paste
    with pytest.raises(InputError, match="role"):
        split(save(raw_logits(), tmp_path), choice=read_split(Table(tomli.loads(text), "model.toml")))


def test_a_tail_with_no_layer_before_it_has_no_proposal(tmp_path: Path) -> None:
    b = Builder()
    b.op("Sigmoid", b.reshape("image", 1, 3, -1), name="output0")
    error = refusal(tmp_path, b.model("output0"))
    assert ("nothing to cut" in str(error), error.paste) == (True, "")


def test_an_output_of_absurd_size_is_not_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infer_hints, "MAX_STEPS", 50)
    assert "too large to be understood by itself" in str(refusal(tmp_path, detection(metadata=None)))


def test_hints_of_one_output_leave_the_other_to_the_graph(tmp_path: Path) -> None:
    b = Builder()
    b.op("Identity", boxes(b), name="boxes_out")
    b.op("Identity", scores(b), name="scores_out")
    model = b.model("boxes_out", "scores_out", document=document(hint(("boxes", 0, 4), target="boxes_out")))
    found = found_in(tmp_path, model)
    assert facts(found) == [BOXES, SCORES]
    assert [h.target for h in found.hints] == ["boxes_out", "scores_out"]


def test_nothing_hangs_on_names(tmp_path: Path) -> None:
    model = detection(metadata=None)
    names = {name for node in model.graph.node for name in (*node.input, *node.output)} - {"image"}
    new = {name: f"x{hash(name) % 1000}_{i}" for i, name in enumerate(sorted(names))}
    for node in model.graph.node:
        node.name = ""
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new[name] for name in node.output]
    for value in (*model.graph.initializer, *model.graph.output):
        value.name = new[value.name]
    found = split(save(model, tmp_path), choice=SplitChoice(prove=False))
    assert [e.name for e in found.endpoints] == ["boxes_0", "boxes_1", "scores_0", "scores_1"]
    assert [e.tensor for e in found.endpoints] == [
        new[n] for n in ("box_map_8", "box_map_16", "score_map_8", "score_map_16")
    ]
