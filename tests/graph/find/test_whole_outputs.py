"""Outputs that are maps already: which map each is, what is peeled off it, and what it is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from build_rules.errors import InputError
from build_rules.graph.find.whole_outputs import peel_output
from build_rules.records.split_json import Endpoint, Split
from tests.graph.graphs import CLASSES, SIZE, STRIDES, Builder, document, hint, save, split, view_of

MASKS = 6
Tail = Callable[[Builder, str], str]


def nhwc(b: Builder, name: str) -> str:
    return b.op("Transpose", name, perm=[0, 2, 3, 1])


def resized(b: Builder, name: str) -> str:
    return b.op("Resize", name, "", b.weight([1.0, 1.0, 4.0, 4.0]), mode="linear")


def arg_max(keepdims: int, axis: int = 1) -> Tail:
    return lambda b, name: b.op("ArgMax", name, axis=axis, keepdims=keepdims)


def softmax(axis: int) -> Tail:
    return lambda b, name: b.op("Softmax", name, axis=axis)


def sigmoid(b: Builder, name: str) -> str:
    return b.op("Sigmoid", name)


def cast(b: Builder, name: str) -> str:
    return b.op("Cast", name, to=onnx.TensorProto.FLOAT16)


def squeeze(b: Builder, name: str) -> str:
    return b.op("Squeeze", name, b.integers(1))


def segmenter(*tail: Tail, metadata: Any = None, told: str | None = None) -> onnx.ModelProto:
    """A model whose one output is `tail` of a map of stride 4, named `seg`; the document calls it `told`."""
    b = Builder()
    name = b.conv("image", 3, CLASSES, 4, "seg")
    for step in tail:
        name = step(b, name)
    if told:
        metadata = {"schema_version": 2, "outputs": [{"name": name, "type": told}]}
    return b.model(name, document=metadata)


def the_endpoint(folder: Path, model: onnx.ModelProto) -> Endpoint:
    found = split(save(model, folder))
    assert found.proof is not None
    (endpoint,) = found.endpoints
    return endpoint


def endpoint(role: str, activation: str | None = None, encoding: str | None = None) -> Endpoint:
    shape = (1, CLASSES, SIZE // 4, SIZE // 4)
    return Endpoint(role, role, None, 4, "seg", "seg", shape, encoding, activation)


@pytest.mark.parametrize(
    ("tail", "activation"),
    [
        ([], None),
        ([nhwc], None),
        ([cast], None),
        ([resized], None),
        ([sigmoid], "sigmoid"),
        ([nhwc, sigmoid], "sigmoid"),
        ([cast, sigmoid], "sigmoid"),
        ([resized, sigmoid], None),
        ([softmax(1)], "softmax"),
        ([softmax(1), nhwc], "softmax"),
        ([nhwc, softmax(3)], "softmax"),
        ([nhwc, softmax(-1), resized], "softmax"),
        ([arg_max(1)], None),
        ([arg_max(0)], None),
        ([nhwc, arg_max(0, axis=3), cast], None),
        ([resized, arg_max(0)], None),
        ([softmax(1), resized, arg_max(1), squeeze, cast], "softmax"),
        ([resized, softmax(1), arg_max(1), cast], None),
    ],
)
def test_a_segmentation_alone_is_the_map_before_its_tail(
    tmp_path: Path, tail: list[Tail], activation: str | None
) -> None:
    assert the_endpoint(tmp_path, segmenter(*tail, told="segmentation")) == endpoint("segmentation", activation)


@pytest.mark.parametrize("tail", [[], [nhwc], [cast], [sigmoid]])
def test_a_map_alone_may_be_anything(tmp_path: Path, tail: list[Tail]) -> None:
    """A segmentation, the only scale of a grid of anchors, a depth map."""
    with pytest.raises(InputError, match="is cannot be told"):
        split(save(segmenter(*tail), tmp_path))


@pytest.mark.parametrize("tail", [[resized], [softmax(1)], [nhwc, arg_max(0, axis=3)]])
def test_classes_that_are_compared_or_resized_are_a_segmentation(tmp_path: Path, tail: list[Tail]) -> None:
    assert the_endpoint(tmp_path, segmenter(*tail)).role == "segmentation"


@pytest.mark.parametrize("tail", [[softmax(2)], [softmax(3)]])
def test_a_softmax_along_rows_is_no_activation_of_classes(tmp_path: Path, tail: list[Tail]) -> None:
    assert the_endpoint(tmp_path, segmenter(*tail, told="segmentation")).activation is None


def test_an_activation_of_the_network_stays_in_it(tmp_path: Path) -> None:
    """The map of prototypes is what an activation gives."""
    b = Builder()
    conv = b.conv("image", 3, CLASSES, 4)
    b.op("Mul", conv, b.op("Sigmoid", conv), name="seg")
    assert the_endpoint(tmp_path, b.model("seg", document=declared(type="protos"))) == endpoint("protos")


def test_other_layouts_are_not_peeled(tmp_path: Path) -> None:
    b = Builder()
    turned = b.op("Transpose", b.conv("image", 3, CLASSES, 4, "seg"), perm=[0, 1, 3, 2])
    view = view_of(b.model(nhwc(b, turned)), tmp_path)
    whole = peel_output(view, view.outputs[0])
    assert whole is not None
    assert (whole.map.tensor, whole.peeled) == (turned, ("Transpose",))


@pytest.mark.parametrize("of_the_image", [True, False])
def test_what_no_layer_makes_is_no_map(tmp_path: Path, of_the_image: bool) -> None:
    b = Builder()
    view = view_of(b.model(b.op("Sigmoid", "image" if of_the_image else b.weight([[[[1.0]]]]))), tmp_path)
    assert peel_output(view, view.outputs[0]) is None


# What it is called.


def declared(**entry: Any) -> dict[str, Any]:
    return {"schema_version": 2, "outputs": [{"name": "seg", **entry}]}


@pytest.mark.parametrize("role", ["segmentation", "protos", "masks", "detection", "landmarks"])
def test_the_documents_type_is_the_role(tmp_path: Path, role: str) -> None:
    assert the_endpoint(tmp_path, segmenter(metadata=declared(type=role))) == endpoint(role)


def test_the_documents_anchor_encoding_makes_a_grid(tmp_path: Path) -> None:
    found = the_endpoint(tmp_path, segmenter(metadata=declared(type="detection", encoding="anchor")))
    assert found == endpoint("anchor", encoding="anchor")


@pytest.mark.parametrize(
    "metadata",
    [
        declared(type=3),
        declared(),
        declared(type="protos") | {"outputs": [{"name": "other", "type": "protos"}]},
        {"schema_version": 2, "outputs": "seg"},
        {"schema_version": 2, "outputs": [None, 3, []]},
    ],
)
def test_a_document_that_does_not_say_it_is_no_word(tmp_path: Path, metadata: Any) -> None:
    with pytest.raises(InputError, match="is cannot be told"):
        split(save(segmenter(metadata=metadata), tmp_path))


def named(name: str, activation: str | None = None, **members: Any) -> dict[str, Any]:
    hints = document(hint((name, 0, CLASSES), target="seg"), **members)
    hints["split_hints"][0]["boundaries"][0]["activation"] = activation
    return hints


def test_a_hint_names_it(tmp_path: Path) -> None:
    assert the_endpoint(tmp_path, segmenter(metadata=named("protos"))) == endpoint("protos")


@pytest.mark.parametrize("grid", ["detection_grid", "detection"])
def test_a_hint_that_names_a_grid_makes_it_an_anchor_grid(tmp_path: Path, grid: str) -> None:
    """Its activation is what the decoder is to apply: the graph has none."""
    found = split(save(segmenter(metadata=named(grid, "sigmoid")), tmp_path))
    assert found.endpoints == (endpoint("anchor", "sigmoid", "anchor"),)
    assert (found.anchor_head, found.folded, found.found_by) == (True, frozenset(), "hints")
    assert [(h.target, h.boundaries[0].name) for h in found.hints] == [("seg", grid)]


def test_the_document_wins_over_the_hint(tmp_path: Path) -> None:
    metadata = named("detection_grid", outputs=[{"name": "seg", "type": "segmentation"}])
    assert the_endpoint(tmp_path, segmenter(metadata=metadata)).role == "segmentation"


def test_the_graphs_activation_wins_over_the_hints(tmp_path: Path) -> None:
    model = segmenter(softmax(1), metadata=None)
    own = document(hint(("segmentation", 0, CLASSES), target=model.graph.output[0].name))
    model = segmenter(softmax(1), metadata=own)
    assert the_endpoint(tmp_path, model).activation == "softmax"


def test_an_activation_that_the_graph_contradicts(tmp_path: Path) -> None:
    model = segmenter(softmax(1))
    own = document(hint(("segmentation", 0, CLASSES), target=model.graph.output[0].name))
    own["split_hints"][0]["boundaries"][0]["activation"] = "sigmoid"
    with pytest.raises(InputError, match="needs the activation sigmoid, but the graph applies softmax"):
        split(save(segmenter(softmax(1), metadata=own), tmp_path))


def test_the_grids_of_all_scales_are_one_role(tmp_path: Path) -> None:
    b = Builder()
    names = [nhwc(b, b.conv("image", 3, 3 * (5 + CLASSES), stride, f"grid_{stride}")) for stride in STRIDES[::-1]]
    hints = [hint(("detection_grid", 0, 30), target=name, anchors_per_cell=3) for name in names]
    for one in hints:
        one["boundaries"][0]["activation"] = "sigmoid"
    found = split(save(b.model(*names, document=document(*hints)), tmp_path)).endpoints
    assert [(e.name, e.tensor, e.stride, e.encoding, e.activation) for e in found] == [
        ("anchor_0", "grid_8", 8, "anchor", "sigmoid"),
        ("anchor_1", "grid_16", 16, "anchor", "sigmoid"),
    ]


# In company.


def with_head(
    *, coefficients: int = 0, prototypes: int = MASKS, tail: tuple[Tail, ...] = (), metadata: Any = None
) -> onnx.ModelProto:
    """Boxes, scores and perhaps mask coefficients of one scale, joined; beside them a map `seg`."""
    b = Builder()
    raw = b.reshape(b.conv("image", 3, 4, 8, "box"), 1, 4, -1)
    parts = [b.op("Mul", b.op("Add", raw, b.weight(b.random.random((1, 4, 16)))), b.weight(8.0))]
    parts.append(b.op("Sigmoid", b.reshape(b.conv("image", 3, CLASSES, 8, "score"), 1, CLASSES, -1)))
    if coefficients:
        parts.append(b.reshape(b.conv("image", 3, coefficients, 8, "mask"), 1, coefficients, -1))
    b.op("Concat", *parts, axis=1, name="output0")
    name = b.conv("image", 3, prototypes, 4, "seg")
    for step in tail:
        name = step(b, name)
    return b.model("output0", name, document=metadata)


def roles(found: Split) -> list[tuple[str, str]]:
    return [(e.role, e.tensor) for e in found.endpoints]


HEAD = [("boxes", "box"), ("scores", "score")]
HINTS = document(hint(("boxes", 0, 4), ("scores", 4, 4 + CLASSES)))


@pytest.mark.parametrize("tail", [(), (nhwc,), (sigmoid,), (cast,)])
def test_prototypes_have_as_many_channels_as_there_are_coefficients(tmp_path: Path, tail: tuple[Tail, ...]) -> None:
    found = split(save(with_head(coefficients=MASKS, tail=tail), tmp_path))
    assert roles(found) == [*HEAD, ("mask_coefs", "mask"), ("protos", "seg")]


def test_prototypes_beside_hinted_coefficients(tmp_path: Path) -> None:
    stop = 4 + CLASSES
    hints = document(hint(("boxes", 0, 4), ("scores", 4, stop), ("mask_coefs", stop, stop + MASKS)))
    found = split(save(with_head(coefficients=MASKS, metadata=hints), tmp_path))
    assert roles(found) == [*HEAD, ("mask_coefs", "mask"), ("protos", "seg")]
    assert found.found_by == "hints"


@pytest.mark.parametrize("tail", [(arg_max(0),), (softmax(1),), (resized, arg_max(1), cast)])
@pytest.mark.parametrize("metadata", [None, HINTS], ids=["bare", "with hints"])
def test_a_map_whose_classes_are_compared_is_a_segmentation(
    tmp_path: Path, tail: tuple[Tail, ...], metadata: Any
) -> None:
    found = split(save(with_head(tail=tail, metadata=metadata), tmp_path))
    assert roles(found) == [*HEAD, ("segmentation", "seg")]


@pytest.mark.parametrize("metadata", [None, HINTS], ids=["bare", "with hints"])
def test_a_map_beside_a_head_is_asked_about(tmp_path: Path, metadata: Any) -> None:
    """Prototypes without coefficients, a segmentation, a depth map: nothing in the graph says which."""
    with pytest.raises(InputError) as caught:
        split(save(with_head(metadata=metadata), tmp_path))
    message = str(caught.value)
    assert "what the output 'seg' [1, 6, 8, 8] is cannot be told" in message
    for advice in ("add a split hint for it", "export the model without it", "name the endpoints in model.toml"):
        assert advice in message
    assert 'tensors = ["seg"]' in caught.value.paste


def test_the_document_says_what_a_map_beside_a_bare_head_is(tmp_path: Path) -> None:
    found = split(save(with_head(metadata=declared(type="segmentation")), tmp_path))
    assert roles(found) == [*HEAD, ("segmentation", "seg")]


def test_a_hint_for_the_map_leaves_the_head_to_the_graph(tmp_path: Path) -> None:
    hints = document(hint(("segmentation", 0, MASKS), target="seg"))
    found = split(save(with_head(metadata=hints), tmp_path))
    assert roles(found) == [*HEAD, ("segmentation", "seg")]
    assert (found.found_by, [h.target for h in found.hints]) == ("structure", ["seg", "output0"])


def test_several_maps_alone_are_asked_about(tmp_path: Path) -> None:
    b = Builder()
    model = b.model(b.conv("image", 3, 3, 4, "a"), b.conv("image", 3, 4, 8, "c"))
    with pytest.raises(InputError, match=r"what the output 'a' \[1, 3, 8, 8\] is cannot be told"):
        split(save(model, tmp_path))
