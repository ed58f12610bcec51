"""Outputs beside the one that tells everything: grids, logits, copies, best classes; and heads beside a head."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tomli
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

from build_rules.declared.split_table import read_split
from build_rules.errors import InputError
from build_rules.records.choices import EndpointGroup, SplitChoice
from build_rules.records.split_hint import SplitBoundary, SplitHint
from build_rules.records.split_json import Split
from build_rules.steps.split import run
from build_rules.toml_table import Table
from tests.graph.graphs import (
    BINS,
    CELLS,
    CLASSES,
    SIZE,
    STRIDES,
    Builder,
    decode_boxes,
    detection,
    dfl,
    document,
    hint,
    save,
    split,
)
from tests.graph.heads import Head, anchors_of, head_model

GRIDS = Head(anchors=3)
TOTAL = 5 + GRIDS.classes


def refused(folder: Path, model: onnx.ModelProto, choice: SplitChoice | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        split(save(model, folder), **({} if choice is None else {"choice": choice}))
    return caught.value


def facts(found: Split) -> list[tuple[str, str, str | None]]:
    return [(e.role, e.tensor, e.activation) for e in found.endpoints]


def add(model: onnx.ModelProto, name: str, kind: str, *inputs: str, first: bool = False, **attributes: Any) -> None:
    """Add a node whose output is an output of the graph, and `first` the first one."""
    model.graph.node.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    known = {value.name: value for value in (*inferred.graph.value_info, *inferred.graph.output)}
    outputs = [*model.graph.output]
    outputs.insert(0 if first else len(outputs), known[name])
    del model.graph.output[:]
    model.graph.output.extend(outputs)


def numbers(model: onnx.ModelProto, *values: int) -> str:
    name = f"numbers_{len(model.graph.initializer)}"
    model.graph.initializer.append(from_array(np.array(values), name))
    return name


def bare() -> onnx.ModelProto:
    return detection(metadata=None)


DETECTED = [
    *(("boxes", f"box_map_{stride}", None) for stride in STRIDES),
    *(("scores", f"score_map_{stride}", "sigmoid") for stride in STRIDES),
]


# What needs no role.


def twice(model: onnx.ModelProto, first: bool) -> None:
    add(model, "again", "Identity", "output0", first=first)


def turned(model: onnx.ModelProto, first: bool) -> None:
    add(model, "again", "Transpose", "output0", first=first, perm=[0, 2, 1])


def boxes_and_scores_apart(model: onnx.ModelProto, first: bool) -> None:
    for name, start, stop in (("only_boxes", 0, 4), ("only_scores", 4, 4 + CLASSES)):
        add(model, name, "Slice", "output0", *(numbers(model, n) for n in (start, stop, 1)), first=first)


def other_units(model: onnx.ModelProto, first: bool) -> None:
    """Boxes as fractions of the image, beside those in pixels."""
    units = np.array([1 / SIZE] * 4 + [1] * CLASSES, np.float32).reshape(1, -1, 1)
    model.graph.initializer.append(from_array(units, "units"))
    add(model, "fractions", "Mul", "output0", "units", first=first)


def logits(model: onnx.ModelProto, first: bool) -> None:
    """What goes into the sigmoid."""
    (source,) = (node.input[0] for node in model.graph.node if node.op_type == "Sigmoid")
    add(model, "logits", "Identity", source, first=first)


def maps(model: onnx.ModelProto, first: bool) -> None:
    for stride in STRIDES:
        add(model, f"map_{stride}", "Transpose", f"score_map_{stride}", first=first, perm=[0, 2, 3, 1])


def training_maps(model: onnx.ModelProto, first: bool) -> None:
    """What the head gives in training: the bins and logits of each scale, side by side."""
    for stride in STRIDES:
        add(model, f"both_{stride}", "Concat", f"box_map_{stride}", f"score_map_{stride}", first=first, axis=1)


def best_score(model: onnx.ModelProto, first: bool) -> None:
    scores = next(node.output[0] for node in model.graph.node if node.op_type == "Sigmoid")
    add(model, "best", "ReduceMax", scores, first=first, axes=[1], keepdims=1)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(
    "change",
    [twice, turned, boxes_and_scores_apart, other_units, logits, maps, training_maps, best_score],
    ids=lambda f: f.__name__,
)
def test_an_output_of_maps_already_found_needs_no_role(
    tmp_path: Path, change: Callable[[onnx.ModelProto, bool], None], first: bool
) -> None:
    model = bare()
    change(model, first)
    found = split(save(model, tmp_path))
    assert sorted(facts(found)) == sorted(DETECTED)
    assert found.proof is not None
    assert set(found.decoded) == {"boxes", "scores"}


def test_logits_joined_to_the_boxes_beside_probabilities(tmp_path: Path) -> None:
    b = Builder()
    boxes = [b.reshape(b.conv("image", 3, 16, s, f"box_map_{s}"), 1, 16, -1) for s in STRIDES]
    scores = [b.reshape(b.conv("image", 3, CLASSES, s, f"score_map_{s}"), 1, CLASSES, -1) for s in STRIDES]
    joined = b.op("Concat", *scores, axis=2)
    decoded = decode_boxes(b, dfl(b, b.op("Concat", *boxes, axis=2), "conv"))
    b.op("Concat", decoded, joined, axis=1, name="raw")
    b.op("Sigmoid", joined, name="probabilities")
    found = split(save(b.model("raw", "probabilities"), tmp_path))
    assert facts(found) == DETECTED


def grids(model: onnx.ModelProto, kind: str) -> None:
    """YOLOv5: beside the joined output those of each scale, as training has them or as the layer gives them."""
    for stride in GRIDS.strides:
        conv = f"anchor_{stride}"
        cells = [size // stride for size in GRIDS.image]
        if kind == "maps":
            add(model, f"raw{stride}", "Identity", conv)
        elif kind == "five axes":
            add(model, f"raw{stride}", "Identity", _of(model, _of(model, conv)))
        else:
            add(model, f"raw{stride}", "Reshape", conv, numbers(model, 1, 3, TOTAL, *cells))


def _of(model: onnx.ModelProto, tensor: str) -> str:
    return next(str(node.output[0]) for node in model.graph.node if tensor in node.input)


@pytest.mark.parametrize("kind", ["maps", "five axes", "before the transpose"])
def test_raw_grids_beside_the_joined_output(tmp_path: Path, kind: str) -> None:
    model = head_model(GRIDS)
    alone = split(save(model, tmp_path))
    grids(model, kind)
    found = split(save(model, tmp_path))
    assert found.endpoints == alone.endpoints
    assert found.anchors == alone.anchors is not None
    assert found.decoded == alone.decoded == ("boxes", "objectness", "scores")


def test_raw_grids_beside_an_output_with_a_hint(tmp_path: Path) -> None:
    model = head_model(GRIDS)
    grids(model, "five axes")
    boundaries = (SplitBoundary("boxes", (0, 4)), SplitBoundary("objectness", (4, 5)), SplitBoundary("scores", (5, 8)))
    hint = SplitHint("output0", boundaries, (8, 16, 32), 3)
    found = split(save(model, tmp_path), choice=SplitChoice(hints=(hint,)))
    assert [e.tensor for e in found.endpoints] == ["anchor_8", "anchor_16", "anchor_32"]
    assert found.found_by == "model.toml"


@pytest.mark.parametrize("first", [False, True])
def test_logits_beside_the_probabilities_of_a_segmentation(tmp_path: Path, first: bool) -> None:
    b = Builder()
    b.op("Softmax", b.conv("image", 3, CLASSES, 8, "map"), axis=1, name="probabilities")
    model = b.model("probabilities")
    add(model, "logits", "Identity", "map", first=first)
    found = split(save(model, tmp_path))
    assert facts(found) == [("segmentation", "map", "softmax")]
    assert found.proof is not None


def stored_numbers(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(from_array(np.array([8, 16], np.float32), "strides"))
    model.graph.output.append(helper.make_tensor_value_info("strides", TensorProto.FLOAT, [2]))


def computed_numbers(model: onnx.ModelProto) -> None:
    add(model, "size", "Shape", "image", first=True)


def constant_map(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(from_array(np.ones((1, CLASSES, 4, 4), np.float32), "ones"))
    add(model, "map", "Identity", "ones", first=True)


@pytest.mark.parametrize("hinted", [False, True])
@pytest.mark.parametrize("change", [stored_numbers, computed_numbers, constant_map], ids=lambda f: f.__name__)
def test_an_output_that_does_not_hang_on_the_image_needs_no_role(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None], hinted: bool
) -> None:
    model = detection() if hinted else bare()
    change(model)
    found = split(save(model, tmp_path))
    assert facts(found) == DETECTED
    assert found.proof is not None


def test_a_graph_of_constants_alone_is_refused(tmp_path: Path) -> None:
    model = bare()
    computed_numbers(model)
    with pytest.raises(InputError, match="do not hang on the image"):
        split(save(model, tmp_path), choice=SplitChoice(outputs=("size",)))


def image_itself(model: onnx.ModelProto) -> None:
    model.graph.output.append(model.graph.input[0])


def image_again(model: onnx.ModelProto) -> None:
    add(model, "shown", "Identity", "image", first=True)


def smaller_image(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(from_array(np.array([1, 1, 0.5, 0.5], np.float32), "half"))
    add(model, "shown", "Resize", "image", "", "half")


@pytest.mark.parametrize("change", [image_itself, image_again, smaller_image], ids=lambda f: f.__name__)
def test_an_output_that_cannot_be_cut_is_named_with_the_line_that_leaves_it_out(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None]
) -> None:
    model = bare()
    change(model)
    assert 'leave it out ([split] outputs = ["output0"])' in str(refused(tmp_path, model))
    assert facts(split(save(model, tmp_path), choice=SplitChoice(outputs=("output0",)))) == DETECTED


def test_what_is_needed_is_not_told_to_be_left_out(tmp_path: Path) -> None:
    """Logits without a sigmoid are not understood, and boxes alone are no detector."""
    model = bare()
    (source,) = (node.input[0] for node in model.graph.node if node.op_type == "Sigmoid")
    (boxes,) = (node.input[0] for node in model.graph.node if node.output[0] == "output0")
    add(model, "logits", "Identity", source, first=True)
    add(model, "boxes", "Identity", boxes)
    assert "leave it out" not in str(refused(tmp_path, model, SplitChoice(outputs=("boxes", "logits"))))


def test_an_output_that_brings_a_map_of_its_own_is_asked_about(tmp_path: Path) -> None:
    model = bare()
    add(model, "more", "Conv", "image", "weight_0", strides=[8, 8], kernel_shape=[8, 8])
    told = str(refused(tmp_path, model))
    assert "what the output 'more' [1, 16, 4, 4] is cannot be told" in told
    assert 'leave it out ([split] outputs = ["output0"]) or name' in told


# The best class, picked in the graph.


def best(form: str, change: str = "") -> onnx.ModelProto:
    """Boxes, best score and best class; `change` is what is wrong with them."""
    model = detection(metadata=None)
    b = Builder()
    b.nodes, b.weights, b.inputs = list(model.graph.node), list(model.graph.initializer), list(model.graph.input)
    rows = b.op("Transpose", "output0", perm=[0, 2, 1], name="rows")
    boxes, scores = b.slice(rows, 0, 4, 2), b.slice(rows, 4, 4 + CLASSES, 2)
    keep = 0 if form == "squeezed" else 1
    if form == "corners by a matrix":
        matrix = [[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]]
        boxes = b.op("MatMul", boxes, b.weight(matrix))
    if form == "corners by a matrix before":
        matrix = [[1, 0, -0.5, 0], [0, 1, 0, -0.5], [1, 0, 0.5, 0], [0, 1, 0, 0.5]]
        columns = b.op("Transpose", boxes, perm=[0, 2, 1])
        boxes = b.op("Transpose", b.op("MatMul", b.weight(matrix), columns), perm=[0, 2, 1])
    if change == "first class":
        best_score = b.slice(scores, 0, 1, 2)
    else:
        best_score = b.op("ReduceMax", scores, axes=[2], keepdims=keep, name="best")
    number = b.op("ArgMax", scores, axis=2, keepdims=keep)
    if change == "counted from 1":
        number = b.op("Add", number, b.integers(1))
    number = b.op("Cast", number, to=TensorProto.FLOAT, name="number")
    if form.startswith(("joined", "corners")):
        b.op("Concat", boxes, best_score, number, axis=2, name="output")
        return b.model("output")
    if form == "whole numbers":
        return b.model(boxes, best_score, b.op("Cast", number, to=TensorProto.INT32))
    return b.model(boxes, best_score, number)


FORMS = ["joined", "apart", "squeezed", "whole numbers", "corners by a matrix", "corners by a matrix before"]


@pytest.mark.parametrize("form", FORMS)
def test_the_best_class_is_what_the_decoders_pick(tmp_path: Path, form: str) -> None:
    found = split(save(best(form), tmp_path))
    assert facts(found) == DETECTED
    assert found.decoded == ("boxes", "scores")
    assert found.proof is not None


@pytest.mark.parametrize("form", ["joined", "apart"])
def test_another_class_number_is_told(tmp_path: Path, form: str) -> None:
    told = str(refused(tmp_path, best(form, "counted from 1")))
    assert "makes other classes of its maps" in told
    assert "the number of the largest score, counted from 0" in told


def test_the_score_of_one_class_is_not_the_best(tmp_path: Path) -> None:
    assert "uses only the channels [0, 1)" in str(refused(tmp_path, best("joined", "first class")))


def test_the_best_class_of_an_anchor_head(tmp_path: Path) -> None:
    b, plain = Builder(), head_model(GRIDS)
    b.nodes, b.weights, b.inputs = list(plain.graph.node), list(plain.graph.initializer), list(plain.graph.input)
    rows = b.op("Transpose", "output0", perm=[0, 2, 1], name="rows")
    scores = b.op("Mul", b.slice(rows, 5, TOTAL, 2), b.slice(rows, 4, 5, 2))
    number = b.op("Cast", b.op("ArgMax", scores, axis=2), to=TensorProto.FLOAT)
    b.op("Concat", b.slice(rows, 0, 4, 2), b.op("ReduceMax", scores, axes=[2]), number, axis=2, name="output")
    found = split(save(b.model("output"), tmp_path))
    assert [e.tensor for e in found.endpoints] == ["anchor_8", "anchor_16", "anchor_32"]
    assert found.decoded == ("boxes", "scores")
    assert found.anchors is not None
    np.testing.assert_allclose(found.anchors[0], anchors_of(GRIDS, 8), atol=1e-3)


# Heads beside a head.


def picked_rows(b: Builder, joined: str, scored: str) -> str:
    """The rows [1, 6, 4 + classes] of the best boxes."""
    ranked = b.op("TopK", b.op("ReduceMax", scored, axes=[1], keepdims=0), b.integers(6), outputs=2)
    places = b.op("Expand", b.reshape(f"{ranked}_1", 1, 6, 1), b.integers(1, 6, 4 + CLASSES))
    return b.op("GatherElements", b.op("Transpose", joined, perm=[0, 2, 1]), places, axis=1, name="aux")


def two_heads(form: str = "joined", picked: bool = False) -> onnx.ModelProto:
    b = Builder()
    outputs: dict[str, list[str]] = {"boxes": [], "scores": [], "joined": []}
    for head in ("main", "aux"):
        boxes = [b.reshape(b.conv("image", 3, 16, s, f"{head}_box_{s}"), 1, 16, -1) for s in STRIDES]
        scores = [b.reshape(b.conv("image", 3, CLASSES, s, f"{head}_score_{s}"), 1, CLASSES, -1) for s in STRIDES]
        decoded = decode_boxes(b, dfl(b, b.op("Concat", *boxes, axis=2), "conv"))
        scored = b.op("Sigmoid", b.op("Concat", *scores, axis=2))
        if form == "joined":
            joined = b.op("Concat", decoded, scored, axis=1, name=f"{head}_all" if picked and head == "aux" else head)
            outputs["joined"].append(picked_rows(b, joined, scored) if picked and head == "aux" else joined)
        else:
            outputs["boxes"].append(b.op("Identity", decoded, name=f"{head}_boxes"))
            outputs["scores"].append(b.op("Identity", scored, name=f"{head}_scores"))
    if form == "one head after the other":
        pairs = zip(outputs["boxes"], outputs["scores"], strict=True)
        return b.model(*(name for pair in pairs for name in pair))
    return b.model(*outputs["joined"], *outputs["boxes"], *outputs["scores"])


@pytest.mark.parametrize("form", ["joined", "one head after the other", "one role after the other"])
def test_two_heads_are_told_and_either_can_be_chosen(tmp_path: Path, form: str) -> None:
    model = two_heads(form)
    error = refused(tmp_path, model)
    assert "the graph has 2 heads: 'main" in str(error)
    assert "nothing tells which one is wanted" in str(error)
    for head, table in zip(("main", "aux"), error.paste.split("\n# or\n"), strict=True):
        choice = read_split(Table(tomli.loads(table), "model.toml"))
        found = split(save(model, tmp_path), choice=choice)
        assert [e.tensor for e in found.endpoints] == [f"{head}_{r}_{s}" for r in ("box", "score") for s in STRIDES]
        assert found.proof is not None
        assert found.decoded == ("boxes", "scores")


def test_raw_maps_of_two_heads_are_in_neither_table(tmp_path: Path) -> None:
    """YOLOv9 in training: what is joined beside the maps of each scale, of both heads."""
    model = two_heads()
    for head in ("main", "aux"):
        for stride in STRIDES:
            add(model, f"{head}_{stride}", "Concat", f"{head}_box_{stride}", f"{head}_score_{stride}", axis=1)
    error = refused(tmp_path, model)
    assert error.paste == '[split]\noutputs = ["main"]\n# or\n[split]\noutputs = ["aux"]'
    assert split(save(model, tmp_path), choice=SplitChoice(outputs=("aux",))).proof is not None


def test_one_to_many_beside_one_to_one(tmp_path: Path) -> None:
    model = two_heads(picked=True)
    assert "the graph has 2 heads: 'main' [1, 9, 20] and 'aux' [1, 6, 9]" in str(refused(tmp_path, model))
    for head in ("main", "aux"):
        found = split(save(model, tmp_path), choice=SplitChoice(outputs=(head,)))
        assert [e.tensor for e in found.endpoints] == [f"{head}_{r}_{s}" for r in ("box", "score") for s in STRIDES]
        assert found.proof is not None


def test_two_heads_with_hints_for_both(tmp_path: Path) -> None:
    boundaries = (SplitBoundary("boxes", (0, 4)), SplitBoundary("scores", (4, 4 + CLASSES)))
    hints = tuple(SplitHint(name, boundaries) for name in ("main", "aux"))
    told = str(refused(tmp_path, two_heads(), SplitChoice(hints=hints)))
    assert "the graph has 2 heads" in told
    found = split(save(two_heads(), tmp_path), choice=SplitChoice(hints=hints[:1], outputs=("main",)))
    assert found.endpoints[0].tensor == "main_box_8"


def test_prototypes_are_in_the_tables(tmp_path: Path) -> None:
    model = two_heads()
    add(model, "protos", "Conv", "image", "weight_0", strides=[8, 8], kernel_shape=[8, 8])
    tables = refused(tmp_path, model).paste.split("\n# or\n")
    assert tables[1] == '[split]\noutputs = ["aux", "protos"]'


def test_trainers_hints_for_an_output_that_is_left_out(tmp_path: Path) -> None:
    model = two_heads()
    entry = hint(("boxes", 0, 4 + CLASSES), target="aux")
    helper.set_model_props(model, {"edgefirst": json.dumps(document(entry))})
    found = split(save(model, tmp_path), choice=SplitChoice(outputs=("main",)))
    assert found.endpoints[0].tensor == "main_box_8"


def test_an_output_that_is_not_there_is_told(tmp_path: Path) -> None:
    told = str(refused(tmp_path, two_heads(), SplitChoice(outputs=("main", "output0"))))
    rows = f"[1, {4 + CLASSES}, {CELLS}]"
    assert f"outputs names 'output0', but the graph's outputs are 'main' {rows}, 'aux' {rows}" in told


def test_what_only_other_outputs_need_is_not_run(tmp_path: Path) -> None:
    """A suppression in an output that is left out is no hindrance."""
    model = bare()
    boxes = ["boxes3", "scores3"]
    shape = numbers(model, 1, CELLS, 4), numbers(model, 1, CLASSES, CELLS)
    for name, start, stop, size in zip(boxes, (0, 4), (4, 9), shape, strict=True):
        model.graph.node.append(
            helper.make_node("Slice", ["output0", *(numbers(model, n) for n in (start, stop, 1))], [f"{name}_part"])
        )
        model.graph.node.append(helper.make_node("Reshape", [f"{name}_part", size], [name]))
    model.graph.node.append(helper.make_node("NonMaxSuppression", boxes, ["picked"], name="nms"))
    model.graph.output.append(helper.make_tensor_value_info("picked", TensorProto.INT64, ["n", 3]))
    entry = hint(("boxes", 0, 3), target="picked")
    helper.set_model_props(model, {"edgefirst": json.dumps(document(entry))})
    assert "suppresses overlapping boxes" in str(refused(tmp_path, model))
    assert facts(split(save(model, tmp_path), choice=SplitChoice(outputs=("output0",)))) == DETECTED


# The size of the input.


def sized(height: int, width: int, strides: tuple[int, ...] = (8, 16, 32)) -> onnx.ModelProto:
    """A head whose maps are made by halving, as networks do, so that odd sizes are rounded up."""
    b = Builder(image=(1, 3, height, width))
    name, stride, scores = "image", 1, []
    channels = 3
    while stride < max(strides):
        weight = b.weight(b.random.standard_normal((4, channels, 3, 3)))
        name, channels, stride = b.op("Conv", name, weight, strides=[2, 2], pads=[1, 1, 1, 1]), 4, stride * 2
        if stride in strides:
            scores.append(b.reshape(b.conv(name, 4, CLASSES, 1, f"map_{stride}"), 1, CLASSES, -1))
    b.op("Sigmoid", b.op("Concat", *scores, axis=2), name="output0")
    return b.model("output0")


@pytest.mark.parametrize(
    ("height", "width", "told"),
    [
        (
            72,
            128,
            "its height 72 is no multiple of the strides",
        ),
        (128, 72, "its width 72 is no multiple"),
        (100, 100, "its height 100 and width 100 are no multiples"),
        (20, 64, "multiples of 32: height 32, width 64 (Ultralytics: imgsz=32,64, the height first; open sizes"),
        (72, 128, "height 64 or 96, width 128 (Ultralytics: imgsz=96,128, the height first;"),
        (70, 70, "height 64 or 96, width 64 or 96"),
        (375, 500, "height 352 or 384, width 480 or 512"),
    ],
)
def test_a_size_that_is_no_multiple_of_the_strides_is_the_reason(
    tmp_path: Path, height: int, width: int, told: str
) -> None:
    error = refused(tmp_path, sized(height, width))
    assert told in str(error)
    assert f"the input is {width}x{height} pixels" in str(error)
    assert "split_hints" not in str(error)
    assert not error.paste


def test_a_side_that_looks_like_another_stride(tmp_path: Path) -> None:
    """One cell of 64 pixels on an input of 96 is no cell of 96."""
    told = str(refused(tmp_path, head_model(Head(image=(96, 96), strides=(8, 16, 32, 64)))))
    assert "multiples of 64: height 64 or 128, width 64 or 128" in told


def test_a_head_with_a_larger_stride_wants_multiples_of_that(tmp_path: Path) -> None:
    assert "multiples of 64: height 64 or 128, width 128" in str(refused(tmp_path, sized(80, 128, (8, 16, 32, 64))))


def test_the_size_is_the_reason_for_endpoints_by_hand_too(tmp_path: Path) -> None:
    choice = read_split(
        Table(tomli.loads('split.endpoint = [{ role = "scores", tensors = ["map_32"], activation = "sigmoid" }]'), "m")
    )
    assert "its height 72 is no multiple" in str(refused(tmp_path, sized(72, 128), choice))


def test_other_faults_are_not_blamed_on_the_size(tmp_path: Path) -> None:
    model = sized(64, 96)
    add(model, "more", "Conv", "image", "weight_0", strides=[2, 2], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    assert "what the output 'more'" in str(refused(tmp_path, model))


@pytest.mark.parametrize("wide", [False, True], ids=["boxes alone", "more bins than decoders take"])
def test_what_could_not_be_described_is_told_before_anything_is_compiled(tmp_path: Path, wide: bool) -> None:
    b = Builder()
    bins = 65 if wide else BINS
    boxes = [b.conv("image", 3, 4 * bins, stride, f"box_{stride}") for stride in STRIDES]
    scores = [b.conv("image", 3, CLASSES, stride, f"score_{stride}") for stride in STRIDES]
    path, outputs = save(b.model(*boxes, *scores), tmp_path), (tmp_path / "split.onnx", tmp_path / "split.json")
    groups = (EndpointGroup("boxes", tuple(boxes), "dfl"), EndpointGroup("scores", tuple(scores), None, "sigmoid"))
    choice = SplitChoice(groups=groups) if wide else SplitChoice(groups=groups[:1], outputs=tuple(boxes))
    with pytest.raises(InputError, match="260 channels" if wide else "there are boxes but no scores"):
        run(path, *outputs, "m", choice, None, None)
