"""Where a tail begins, on heads written in the ways that mislead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from build_rules.errors import InputError
from build_rules.records.split_json import Endpoint
from tests.graph.graphs import CLASSES, Builder, detection, document, grid_of, hint, save, split

ALL = document(hint(("scores", 0, 2)))
ANY = document(hint(("parts", 0, 2)))
"""A name that says nothing of what the graph may do with the channels."""


def endpoints(tmp_path: Path, model: onnx.ModelProto) -> tuple[Endpoint, ...]:
    return split(save(model, tmp_path)).endpoints


def refused(tmp_path: Path, model: onnx.ModelProto) -> str:
    with pytest.raises(InputError) as caught:
        endpoints(tmp_path, model)
    return str(caught.value)


def head(*kinds: tuple[str, Any], last: str = "Sigmoid") -> onnx.ModelProto:
    """A map of two channels, then unary operators or (operator, constant), then `last` named output0."""
    b = Builder()
    name = b.conv("image", 3, 2, 8, "map")
    for index, (kind, constant) in enumerate(kinds):
        operands = [name] if constant is None else [name, b.weight(constant)]
        name = b.op(kind, *operands, name=f"step_{index}")
    b.op(last, b.reshape(name, 1, 2, -1), name="output0")
    return b.model("output0", document=ANY)


PER_CHANNEL = np.ones((1, 2, 1, 1)) * 3
PER_CELL = np.arange(16).reshape(1, 1, 4, 4)


@pytest.mark.parametrize(
    ("steps", "tensor"),
    [
        ([], "map"),
        ([("Mul", PER_CHANNEL)], "step_0"),
        ([("Add", PER_CHANNEL), ("Mul", 2.0)], "step_1"),
        ([("Mul", 8.0)], "map"),
        ([("Add", PER_CELL)], "map"),
        ([("Mul", PER_CHANNEL), ("Add", PER_CELL)], "step_0"),
        ([("Sigmoid", None), ("Mul", 2.0), ("Sub", 0.5)], "map"),
        ([("Relu", None)], "step_0"),
        ([("Relu", None), ("Sigmoid", None)], "step_0"),
        ([("Exp", None)], "map"),
    ],
)
def test_layers_stay_decoding_goes(tmp_path: Path, steps: list[tuple[str, Any]], tensor: str) -> None:
    """Activations and folded scales belong to the network; grid offsets, strides and sigmoids to the tail."""
    assert [e.tensor for e in endpoints(tmp_path, head(*steps))] == [tensor]


@pytest.mark.parametrize(
    ("steps", "last", "activation"),
    [
        ([], "Sigmoid", "sigmoid"),
        ([], "Tanh", "tanh"),
        ([("Sigmoid", None), ("Mul", 2.0)], "Identity", "sigmoid"),
        ([("Add", PER_CELL)], "Sigmoid", None),
        ([], "Identity", None),
    ],
)
def test_activation_is_what_comes_first(tmp_path: Path, steps: Any, last: str, activation: str | None) -> None:
    assert [e.activation for e in endpoints(tmp_path, head(*steps, last=last))] == [activation]


def test_activation_of_some_channels_is_none(tmp_path: Path) -> None:
    b = Builder()
    flat = b.reshape(b.conv("image", 3, 2, 8, "map"), 1, 2, -1)
    b.op("Concat", b.slice(flat, 0, 1, 1), b.op("Sigmoid", b.slice(flat, 1, 2, 1)), axis=1, name="output0")
    (found,) = endpoints(tmp_path, b.model("output0", document=ANY))
    assert (found.tensor, found.activation) == ("map", None)


def test_gate_belongs_to_the_network(tmp_path: Path) -> None:
    b = Builder()
    conv = b.conv("image", 3, 2, 8)
    gated = b.op("Mul", b.op("Tanh", b.op("Softplus", conv)), conv, name="mish")
    b.reshape(gated, 1, 2, -1)
    b.nodes[-1].output[0] = "output0"
    (found,) = endpoints(tmp_path, b.model("output0", document=ALL))
    assert (found.tensor, found.name, found.scale_index) == ("mish", "scores", None)


def test_constants_that_are_computed(tmp_path: Path) -> None:
    """Exports that were not simplified compute slice bounds and target shapes from `Shape`."""
    b = Builder()
    conv = b.conv("image", 3, 4, 8, "map")
    shape = b.op("Shape", conv)
    flat = b.op("Concat", b.op("Slice", shape, b.integers(0), b.integers(2)), b.integers(-1), axis=0)
    cells = b.op("Reshape", conv, flat)
    half = b.op("Div", b.op("Gather", shape, b.integers(1), axis=0), b.integers(2))
    low = b.op("Slice", cells, b.integers(0), half, b.integers(1))
    high = b.op("Slice", cells, half, b.op("Mul", half, b.integers(2)), b.integers(1))
    b.op("Concat", low, high, axis=1, name="output0")
    model = b.model(("output0", [1, 4, 16]), document=document(hint(("scores", 0, 4))))
    assert [e.tensor for e in endpoints(tmp_path, model)] == ["map"]


def anchors(b: Builder, source: str, size: int, stride: int) -> str:
    """Classic YOLOv5 on one scale: 2 anchors of 4 + 1 + CLASSES features."""
    features = 5 + CLASSES
    conv = b.conv(source, 3, 2 * features, stride, f"map_{stride}")
    split = b.op("Transpose", b.reshape(conv, 1, 2, features, size, size), perm=[0, 1, 3, 4, 2])
    y = b.op("Sigmoid", split)
    doubled = b.op("Mul", y, b.weight(2.0))
    moved = b.op("Add", b.slice(doubled, 0, 2, 4), b.weight(np.moveaxis(grid_of(stride), 0, -1) - 0.5))
    centre = b.op("Mul", moved, b.weight(float(stride)))
    extent = b.op("Mul", b.op("Pow", b.slice(doubled, 2, 4, 4), b.weight(2.0)), b.weight(7.0))
    joined = b.op("Concat", centre, extent, b.slice(y, 4, features, 4), axis=4)
    return b.reshape(joined, 1, -1, features)


def test_anchor_heads_end_in_one_role(tmp_path: Path) -> None:
    b = Builder()
    b.op("Concat", anchors(b, "image", 4, 8), anchors(b, "image", 2, 16), axis=1, name="output0")
    boundaries = (("boxes", 0, 4), ("objectness", 4, 5), ("scores", 5, 5 + CLASSES))
    found = endpoints(tmp_path, b.model("output0", document=document(hint(*boundaries, anchors_per_cell=2))))
    assert [(e.name, e.tensor, e.encoding, e.activation) for e in found] == [
        ("anchor_0", "map_8", "anchor", "sigmoid"),
        ("anchor_1", "map_16", "anchor", "sigmoid"),
    ]
    shared = refused(tmp_path, b.model("output0", document=document(hint(*boundaries))))
    assert "the boundaries 'boxes' and 'objectness' and 'scores'" in shared
    assert "come from the same tensor 'map_8' [1, 20, 4, 4]" in shared


def with_protos(last: str | None = None, **entry: Any) -> onnx.ModelProto:
    b = Builder()
    conv = b.conv("image", 3, 6, 4)
    b.op("Mul", conv, b.op("Sigmoid", conv), name="protos_map")
    name = b.op("Transpose", "protos_map", perm=[0, 2, 3, 1]) if last else "protos_map"
    b.op("Sigmoid", b.reshape(b.conv("image", 3, 2, 8, "map"), 1, 2, -1), name="output0")
    return b.model("output0", name, document=document(hint(("scores", 0, 2)), outputs=[{"name": name, **entry}]))


def test_prototypes_are_endpoints_as_they_are(tmp_path: Path) -> None:
    scores, protos = endpoints(tmp_path, with_protos(type="protos"))
    assert scores.name == "scores"
    assert protos == Endpoint("protos", "protos", None, 4, "protos_map", "protos_map", (1, 6, 8, 8), None, None)


def test_prototypes_are_cut_before_channels_move_last(tmp_path: Path) -> None:
    assert endpoints(tmp_path, with_protos("Transpose", type="protos"))[1].tensor == "protos_map"


def test_unsplit_output_is_named_by_the_document(tmp_path: Path) -> None:
    assert endpoints(tmp_path, with_protos(type="segmentation"))[1].role == "segmentation"


def test_raw_anchor_grids_need_no_hint(tmp_path: Path) -> None:
    b = Builder()
    names = [b.op("Transpose", b.conv("image", 3, 6, stride, f"map_{stride}"), perm=[0, 2, 3, 1]) for stride in (16, 8)]
    outputs = [{"name": name, "type": "detection", "encoding": "anchor"} for name in names]
    found = endpoints(tmp_path, b.model(*names, document={"schema_version": 2, "outputs": outputs}))
    assert [(e.name, e.tensor, e.encoding) for e in found] == [
        ("anchor_0", "map_8", "anchor"),
        ("anchor_1", "map_16", "anchor"),
    ]


def test_one_hint_per_scale_joins_to_one_role(tmp_path: Path) -> None:
    b = Builder()
    names = [b.op("Transpose", b.conv("image", 3, 6, stride, f"map_{stride}"), perm=[0, 2, 3, 1]) for stride in (16, 8)]
    hints = [hint(("detection_grid", 0, 6), target=name) for name in names]
    found = endpoints(tmp_path, b.model(*names, document=document(*hints)))
    assert [(e.name, e.tensor) for e in found] == [("anchor_0", "map_8"), ("anchor_1", "map_16")]
    assert {e.encoding for e in found} == {"anchor"}


def test_refuses_two_tensors_of_one_scale(tmp_path: Path) -> None:
    b = Builder()
    total = b.op("Add", b.conv("image", 3, 2, 8, "left"), b.conv("image", 3, 2, 8, "right"))
    b.op("Sigmoid", b.reshape(total, 1, 2, -1), name="output0")
    message = refused(tmp_path, b.model("output0", document=ALL))
    assert "several tensors of one scale" in message
    assert "'left' [1, 2, 4, 4] (Conv 'left'), 'right' [1, 2, 4, 4] (Conv 'right')" in message


def test_refuses_boundaries_of_different_scales(tmp_path: Path) -> None:
    b = Builder()
    fine, coarse = b.reshape(b.conv("image", 3, 1, 8), 1, 4, 4), b.reshape(b.conv("image", 3, 4, 16), 1, 4, 4)
    b.op("Concat", fine, coarse, axis=1, name="output0")
    message = refused(tmp_path, b.model("output0", document=document(hint(("a", 0, 4), ("b", 4, 8)))))
    assert "'a' and 'b' of the output 'output0' come from feature maps of different strides, [8] and [16]" in message


def test_refuses_a_bound_that_depends_on_the_image(tmp_path: Path) -> None:
    b = Builder()
    flat = b.reshape(b.conv("image", 3, 2, 8), 1, 2, -1)
    end = b.op("Cast", b.op("ReduceMax", b.reshape("image", -1), keepdims=1), to=7)
    b.op("Slice", flat, b.integers(0), end, b.integers(2), name="output0")
    model = b.model(("output0", [1, 2, 16]), document=ALL)
    assert "(Slice) in the decode tail cannot be followed" in refused(tmp_path, model)


def test_refuses_part_of_a_map(tmp_path: Path) -> None:
    b = Builder()
    flat = b.reshape(b.conv("image", 3, 4, 8, "map"), 1, 4, -1)
    b.op("Sigmoid", b.slice(flat, 0, 2, 1), name="output0")
    assert "uses only the channels [0, 2) of 'map'" in refused(tmp_path, b.model("output0", document=ALL))


def test_refuses_wrong_strides(tmp_path: Path) -> None:
    wrong = document(hint(("boxes", 0, 4), ("scores", 4, 9), strides=[4, 8]))
    message = refused(tmp_path, detection(metadata=wrong))
    assert "says strides [4, 8], but the boundary 'boxes' of the output 'output0'" in message
    assert "strides [8, 16] of the 32x32 input" in message


def test_refuses_an_activation_that_the_graph_contradicts(tmp_path: Path) -> None:
    wrong = document(hint(("boxes", 0, 4), ("scores", 4, 9)))
    wrong["split_hints"][0]["boundaries"][1]["activation"] = "softmax"
    assert "needs the activation softmax, but the graph applies sigmoid" in refused(tmp_path, detection(metadata=wrong))


def test_refuses_a_tail_that_ends_nowhere(tmp_path: Path) -> None:
    b = Builder()
    flat = b.op("LpNormalization", b.reshape(b.conv("image", 3, 2, 8), 1, 2, -1))
    b.op("Sigmoid", flat, name="output0")
    message = refused(tmp_path, b.model("output0", document=ALL))
    assert "(LpNormalization)" in message
    assert "is no feature map [N, C, H, W] of the 32x32 input" in message


def test_refuses_to_cut_at_the_image(tmp_path: Path) -> None:
    b = Builder()
    b.op("Sigmoid", b.reshape("image", 1, 3, -1), name="output0")
    assert "nothing to cut" in refused(tmp_path, b.model("output0", document=document(hint(("scores", 0, 3)))))


def test_refuses_an_output_without_hint_that_is_no_map(tmp_path: Path) -> None:
    b = Builder()
    b.op("Sigmoid", b.reshape(b.conv("image", 3, 2, 8), 1, 2, -1), name="output0")
    b.op("ReduceMax", b.conv("image", 3, 2, 8), axes=[2, 3], keepdims=0, name="extra")
    message = refused(tmp_path, b.model("output0", "extra", document=ALL))
    assert "what the channels" in message
    assert "'extra'" in message


def test_hints_and_a_graph_that_picks_its_boxes_do_not_go_together(tmp_path: Path) -> None:
    b = Builder()
    scores = b.op("Sigmoid", b.reshape(b.conv("image", 3, 2, 8), 1, 2, -1))
    b.op("TopK", b.op("ReduceMax", scores, axes=[1], keepdims=1), b.integers(3), outputs=2, axis=2, name="output0")
    message = refused(tmp_path, b.model("output0", document=document(hint(("scores", 0, 1)))))
    assert "the graph selects its boxes itself" in message
