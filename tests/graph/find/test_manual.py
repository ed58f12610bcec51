"""`[split]` of `model.toml` against a graph: it wins over everything, and its mistakes are told."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import tomli

from build_rules.errors import InputError
from build_rules.graph.find.propose import MAX_GROUPS, proposal
from build_rules.records.choices import EndpointGroup, SplitChoice
from build_rules.records.split_hint import SplitBoundary, SplitHint
from build_rules.records.split_json import Split
from tests.graph.graphs import CLASSES, DETECTION, Builder, detection, document, hint, save, split, view_of

BOXES = EndpointGroup("boxes", ("box_map_8", "box_map_16"), "dfl")
SCORES = EndpointGroup("scores", ("score_map_8", "score_map_16"), None, "sigmoid")
WRONG = document(hint(("scores", 0, 5), ("boxes", 5, 9), strides=[4, 8]))
RIGHT = SplitHint("output0", (SplitBoundary("boxes", (0, 4)), SplitBoundary("scores", (4, 9), "sigmoid")), (8, 16))


def cut(folder: Path, *groups: EndpointGroup, model: onnx.ModelProto | None = None, prove: bool = True) -> Split:
    return split(save(model or detection(), folder), choice=SplitChoice(prove, groups=groups))


def refused(folder: Path, *groups: EndpointGroup, model: onnx.ModelProto | None = None) -> str:
    with pytest.raises(InputError) as caught:
        cut(folder, *groups, model=model)
    return str(caught.value)


def facts(found: Split) -> list[tuple[str, str, str | None, str | None]]:
    return [(e.name, e.tensor, e.encoding, e.activation) for e in found.endpoints]


FACTS = [
    ("boxes_0", "box_map_8", "dfl", None),
    ("boxes_1", "box_map_16", "dfl", None),
    ("scores_0", "score_map_8", None, "sigmoid"),
    ("scores_1", "score_map_16", None, "sigmoid"),
]


# Hints.


@pytest.mark.parametrize("metadata", [WRONG, DETECTION, None], ids=["wrong hints", "right hints", "no hints"])
def test_hints_by_hand_win(tmp_path: Path, metadata: object) -> None:
    found = split(save(detection(metadata=metadata), tmp_path), choice=SplitChoice(hints=(RIGHT,)))
    assert facts(found) == FACTS
    assert (found.found_by, found.hints) == ("model.toml", (RIGHT,))


def test_hints_by_hand_are_checked_against_the_graph(tmp_path: Path) -> None:
    swapped = SplitHint("output0", (SplitBoundary("scores", (0, 4)), SplitBoundary("boxes", (4, 9))))
    with pytest.raises(InputError, match="the graph averages it over bins"):
        split(save(detection(), tmp_path), choice=SplitChoice(hints=(swapped,)))


BAD_HINTS = [
    (SplitHint("output9", RIGHT.boundaries), "names the target 'output9', but the graph's outputs are 'output0'"),
    (SplitHint("output0", (SplitBoundary("boxes", (1, 9)),)), "leaves a gap"),
    (SplitHint("output0", (SplitBoundary("boxes", (0, 8)),)), "ends at channel 8"),
    (SplitHint("output0", (SplitBoundary("boxes", (4, 0)),)), "empty or negative channel range"),
    (SplitHint("output0", RIGHT.boundaries, (16, 8)), "needs ascending 'strides'"),
    (SplitHint("output0", RIGHT.boundaries, (4, 8)), "says strides [4, 8]"),
]


@pytest.mark.parametrize(("own", "told"), BAD_HINTS)
def test_a_mistake_in_a_hint_by_hand_is_told(tmp_path: Path, own: SplitHint, told: str) -> None:
    with pytest.raises(InputError) as caught:
        split(save(detection(), tmp_path), choice=SplitChoice(hints=(own,)))
    assert told in str(caught.value)


@pytest.mark.parametrize(("own", "told"), BAD_HINTS)
def test_a_mistake_by_hand_is_not_blamed_on_the_metadata(tmp_path: Path, own: SplitHint, told: str) -> None:
    with pytest.raises(InputError) as caught:
        split(save(detection(), tmp_path), choice=SplitChoice(hints=(own,)))
    assert "model.toml" in str(caught.value)
    assert "metadata" not in str(caught.value)


def test_two_hints_by_hand_for_one_output(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is the second hint for the output 'output0'"):
        split(save(detection(), tmp_path), choice=SplitChoice(hints=(RIGHT, RIGHT)))


def test_outputs_without_a_hint_by_hand_are_left_to_the_graph(tmp_path: Path) -> None:
    model = detection()
    protos = onnx.helper.make_node("Conv", ["image", "weight_0"], ["protos"], strides=[8, 8], kernel_shape=[8, 8])
    model.graph.node.append(protos)
    model.graph.output.append(onnx.helper.make_tensor_value_info("protos", 1, [1, 16, 4, 4]))
    onnx.helper.set_model_props(
        model, {"edgefirst": json.dumps({"schema_version": 2, "outputs": [{"name": "protos", "type": "protos"}]})}
    )
    found = split(save(model, tmp_path), choice=SplitChoice(hints=(RIGHT,)))
    assert facts(found) == [*FACTS, ("protos", "protos", None, None)]


# Endpoints.


@pytest.mark.parametrize("metadata", [WRONG, DETECTION, None], ids=["wrong hints", "right hints", "no hints"])
def test_endpoints_by_hand_win(tmp_path: Path, metadata: object) -> None:
    found = cut(tmp_path, BOXES, SCORES, model=detection(metadata=metadata))
    assert facts(found) == FACTS
    assert (found.found_by, found.hints) == ("model.toml", ())
    assert found.proof is not None


def test_scales_are_ordered_by_stride_and_roles_as_written(tmp_path: Path) -> None:
    backwards = EndpointGroup("boxes", BOXES.tensors[::-1], "dfl")
    assert facts(cut(tmp_path, SCORES, backwards)) == FACTS[2:] + FACTS[:2]


def test_nodes_may_be_named_instead_of_tensors(tmp_path: Path) -> None:
    model = detection()
    for node in model.graph.node:
        node.name = f"/head/{node.name}"
    by_node = EndpointGroup("boxes", ("/head/box_map_8", "box_map_16"), "dfl")
    assert facts(cut(tmp_path, by_node, SCORES, model=model)) == FACTS


def test_a_tensor_wins_over_a_node_of_its_name(tmp_path: Path) -> None:
    """Exporters give nodes the names of other nodes' outputs."""
    model = detection()
    for node in model.graph.node:
        node.name = {"box_map_8": "box_map_16", "box_map_16": "box_map_8"}.get(node.name, node.name)
    assert facts(cut(tmp_path, BOXES, SCORES, model=model)) == FACTS


def test_a_single_tensor_has_no_scale(tmp_path: Path) -> None:
    b = Builder()
    b.op("Sigmoid", b.reshape(b.conv("image", 3, 2, 8, "map"), 1, 2, -1), name="output0")
    (found,) = cut(tmp_path, EndpointGroup("scores", ("map",), None, "sigmoid"), model=b.model("output0")).endpoints
    assert (found.name, found.scale_index, found.stride, found.shape) == ("scores", None, 8, (1, 2, 4, 4))


@pytest.mark.parametrize("encoding", ["dfl", "direct", None])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "tanh", None])
def test_encoding_and_activation_arrive(tmp_path: Path, encoding: str | None, activation: str | None) -> None:
    found = cut(tmp_path, EndpointGroup("raw_boxes", BOXES.tensors, encoding, activation), SCORES).endpoints
    assert {(e.encoding, e.activation) for e in found if e.role == "raw_boxes"} == {(encoding, activation)}


def test_the_role_anchor_is_encoded_as_anchor(tmp_path: Path) -> None:
    b = Builder()
    maps = [b.op("Sigmoid", b.conv("image", 3, 6, stride, f"map_{stride}")) for stride in (8, 16)]
    flat = [b.reshape(b.op("Mul", one, b.weight(3.0)), 1, 6, -1) for one in maps]
    b.op("Concat", *flat, axis=2, name="output0")
    group = EndpointGroup("anchor", ("map_16", "map_8"), None, "sigmoid")
    assert facts(cut(tmp_path, group, model=b.model("output0"))) == [
        ("anchor_0", "map_8", "anchor", "sigmoid"),
        ("anchor_1", "map_16", "anchor", "sigmoid"),
    ]


def activated_maps(kind: str = "Sigmoid") -> onnx.ModelProto:
    """Raw maps and their probabilities as outputs, scale by scale, which nothing in the graph explains."""
    b = Builder()
    outputs = []
    for stride in (8, 16):
        outputs.append(b.conv("image", 3, 16, stride, f"box_{stride}"))
        probabilities = b.op(kind, b.conv("image", 3, 6, stride, f"map_{stride}"), name=f"score_{stride}")
        outputs.append(b.op("Transpose", probabilities, perm=[0, 2, 3, 1], name=f"last_{stride}"))
    return b.model(*outputs)


@pytest.mark.parametrize(
    ("role", "tensors", "activation", "told"),
    [
        ("scores", "score", "sigmoid", "'score_8' is behind a sigmoid already (node 'score_8')"),
        ("anchor", "score", "sigmoid", "name the tensor before it, 'map_8'."),
        ("anchor", "score", None, "name the tensor before it, 'map_8'."),
        ("scores", "map", None, "the graph applies a sigmoid to 'map_8'"),
        ("objectness", "map", None, 'write activation = "sigmoid"'),
        ("anchor", "map", None, 'write activation = "sigmoid"'),
        ("scores", "score", None, None),
        ("scores", "map", "sigmoid", None),
        ("anchor", "map", "sigmoid", None),
        ("raw_scores", "score", "sigmoid", None),
        ("raw_scores", "map", None, None),
    ],
)
def test_an_activation_is_applied_once(
    tmp_path: Path, role: str, tensors: str, activation: str | None, told: str | None
) -> None:
    boxes = EndpointGroup("boxes", ("box_8", "box_16"), "dfl")
    group = EndpointGroup(role, (f"{tensors}_8", f"{tensors}_16"), None, activation)
    if told is not None:
        assert told in refused(tmp_path, boxes, group, model=activated_maps())
    else:
        assert cut(tmp_path, boxes, group, model=activated_maps()).proof is not None


@pytest.mark.parametrize(("kind", "activation"), [("Tanh", "tanh"), ("HardSigmoid", None)])
def test_whatever_the_graph_applies_is_applied_once(tmp_path: Path, kind: str, activation: str | None) -> None:
    boxes = EndpointGroup("boxes", ("box_8", "box_16"), "dfl")
    group = EndpointGroup("scores", ("score_8", "score_16"), None, "sigmoid")
    if activation is None:
        assert cut(tmp_path, boxes, group, model=activated_maps(kind)).proof is not None
    else:
        assert f"is behind a {activation} already" in refused(tmp_path, boxes, group, model=activated_maps(kind))


def test_without_a_proof_there_is_none(tmp_path: Path) -> None:
    assert cut(tmp_path, BOXES, SCORES, prove=False).proof is None
    assert split(save(detection(), tmp_path), choice=SplitChoice(prove=False)).proof is None


def test_a_cut_that_is_not_complete_is_refused(tmp_path: Path) -> None:
    assert "the cut is not complete" in refused(tmp_path, BOXES)


@pytest.mark.parametrize(
    ("name", "near"),
    [("box_map_7", "box_map_8"), ("box_map8", "box_map_8"), ("score_map_61", "score_map_16")],
)
def test_a_name_that_is_nearly_right_is_suggested(tmp_path: Path, name: str, near: str) -> None:
    message = refused(tmp_path, EndpointGroup("boxes", (name,), "dfl"))
    assert f"[split] of model.toml: the graph has no tensor and no node '{name}'; did you mean '{near}'?" in message


def test_a_name_that_is_nothing_like_any_is_told(tmp_path: Path) -> None:
    assert "the graph has no tensor and no node 'xyzzy'." in refused(tmp_path, EndpointGroup("a", ("xyzzy",)))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("output0", "[1, 9, 20]"), ("concat_6", "[1, 16, 20]"), ("image", None), ("weight_0", None), ("weight_4", None)],
)
def test_a_tensor_that_is_no_map_is_refused(tmp_path: Path, name: str, shape: str | None) -> None:
    message = refused(tmp_path, EndpointGroup("boxes", (name,), "dfl"))
    assert "[split] of model.toml: " in message
    if shape is not None:
        assert f"'{name}' with shape {shape} is no feature map [N, C, H, W] of the 32x32 input" in message
        assert "name the tensor before it is reshaped" in message


def test_a_constant_of_the_shape_of_a_map_is_no_map(tmp_path: Path) -> None:
    b = Builder()
    grid = b.op("Identity", b.weight(b.random.random((1, 2, 4, 4))), name="grid")
    b.op("Sigmoid", b.op("Add", b.conv("image", 3, 2, 8, "map"), grid), name="output0")
    assert "'grid' with shape [1, 2, 4, 4] is no feature map" in refused(
        tmp_path, EndpointGroup("scores", ("grid",)), model=b.model("output0")
    )


def test_two_tensors_of_one_scale_are_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, EndpointGroup("boxes", ("box_map_8", "score_map_8"), "dfl"))
    assert "[split] of model.toml: the role 'boxes' comes from several tensors of one scale" in message


def test_one_tensor_in_two_roles_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, BOXES, EndpointGroup("scores", ("box_map_8", "score_map_16")))
    assert "two endpoints have the same tensor 'box_map_8'" in message


def test_one_tensor_in_two_roles_is_told_of_model_toml(tmp_path: Path) -> None:
    message = refused(tmp_path, BOXES, EndpointGroup("scores", ("box_map_8", "score_map_16")))
    assert "model.toml" in message
    assert "split hints" not in message


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        (
            (EndpointGroup("boxes", BOXES.tensors, "dfl"), EndpointGroup("scores", SCORES.tensors, None, "softmax")),
            "'score_map_8' is scores that need softmax, but run on random numbers the graph makes it scores that need "
            "sigmoid",
        ),
        (
            (EndpointGroup("boxes", BOXES.tensors, "dfl"), EndpointGroup("scores", SCORES.tensors)),
            "'score_map_8' is scores without an activation, but",
        ),
        (
            (EndpointGroup("mask_coefs", BOXES.tensors), SCORES),
            "'box_map_8' is mask_coefs without an activation, but run on random numbers the graph makes it boxes "
            "encoded as dfl",
        ),
    ],
    ids=["softmax", "no sigmoid", "another role"],
)
@pytest.mark.parametrize("metadata", [WRONG, DETECTION, None], ids=["wrong hints", "right hints", "no hints"])
def test_what_the_graph_has_shown_cannot_be_named_otherwise(
    tmp_path: Path, metadata: object, groups: tuple[EndpointGroup, ...], told: str
) -> None:
    message = refused(tmp_path, *groups, model=detection(metadata=metadata))
    assert "[split] of model.toml says that " + told in message
    assert "a role of your own" in message


def test_roles_of_ones_own_are_not_compared(tmp_path: Path) -> None:
    found = cut(tmp_path, EndpointGroup("raw_boxes", BOXES.tensors), EndpointGroup("raw_scores", SCORES.tensors))
    assert found.decoded == ()


def test_what_decodes_as_the_graph_does_is_recorded(tmp_path: Path) -> None:
    assert cut(tmp_path, BOXES, SCORES).decoded == ("boxes", "scores")
    assert cut(tmp_path, EndpointGroup("raw_boxes", BOXES.tensors), SCORES).decoded == ("scores",)


@pytest.mark.parametrize(
    ("tensors", "encoding", "told"),
    [
        (
            BOXES.tensors,
            "direct",
            "'box_map_8' [1, 16, 4, 4] has 16 channels, but boxes have one channel for each of 4",
        ),
        (SCORES.tensors, "dfl", "'score_map_8' [1, 5, 4, 4] has 5 channels, but boxes have bins for each of 4 sides"),
    ],
)
def test_boxes_have_four_sides(tmp_path: Path, tensors: tuple[str, ...], encoding: str, told: str) -> None:
    assert told in refused(tmp_path, EndpointGroup("boxes", tensors, encoding))


def test_what_is_refused_otherwise_may_be_cut_by_hand(tmp_path: Path) -> None:
    """Who names the endpoints knows what the graph does; the proof still holds."""
    b = Builder()
    logits = b.reshape(b.conv("image", 3, CLASSES, 8, "map"), 1, CLASSES, -1)
    b.op("LpNormalization", logits, name="output0")
    found = cut(tmp_path, EndpointGroup("scores", ("map",), None, "sigmoid"), model=b.model("output0"))
    assert facts(found) == [("scores", "map", None, "sigmoid")]


# Candidates.


def propose(folder: Path, b: Builder, *outputs: str) -> str:
    return proposal(view_of(b.model(*outputs), folder))


def test_the_last_layers_are_proposed_by_their_channels(tmp_path: Path) -> None:
    text = proposal(view_of(detection(metadata=None), tmp_path))
    tables = tomli.loads(text)["split"]["endpoint"]
    assert tables == [
        {"role": "?", "tensors": ["box_map_8", "box_map_16"]},
        {"role": "?", "tensors": ["score_map_8", "score_map_16"]},
    ]
    assert "# 16 channels, 4x4, 2x2:" in text
    assert "# 5 channels, 4x4, 2x2:" in text


def test_only_the_last_layers_of_each_way_are_proposed(tmp_path: Path) -> None:
    b = Builder()
    first = b.conv("image", 3, 7, 8, "first")
    second = b.conv(b.op("Relu", first), 7, 5, 1, "second")
    text = propose(tmp_path, b, b.op("Sigmoid", second, name="output0"))
    assert tomli.loads(text)["split"]["endpoint"][0]["tensors"] == ["second"]


def test_names_are_quoted_as_toml_wants(tmp_path: Path) -> None:
    b = Builder()
    name = 'a "quoted"\\name'
    text = propose(tmp_path, b, b.op("Sigmoid", b.conv("image", 3, 5, 8, name), name="output0"))
    assert tomli.loads(text)["split"]["endpoint"][0]["tensors"] == [name]


def test_names_that_break_lines_are_quoted(tmp_path: Path) -> None:
    b = Builder()
    name = "a\nb\tc\x1b[31m"
    text = propose(tmp_path, b, b.op("Sigmoid", b.conv("image", 3, 5, 8, name), name="output0"))
    assert tomli.loads(text)["split"]["endpoint"][0]["tensors"] == [name]


def test_a_long_proposal_is_cut_between_tables(tmp_path: Path) -> None:
    b = Builder()
    names = [b.conv("image", 3, channels, 8, f"map_{channels}") for channels in range(1, 12)]
    text = propose(tmp_path, b, b.op("Concat", *names, axis=1, name="output0"))
    tables = tomli.loads(text)["split"]["endpoint"]
    assert len(tables) == MAX_GROUPS
    assert all(table["tensors"] for table in tables)
    assert text.splitlines()[-1] == f"# and convolutions of {len(names) - len(tables)} other numbers of channels"


def test_without_layers_nothing_is_proposed(tmp_path: Path) -> None:
    b = Builder()
    assert propose(tmp_path, b, b.op("Sigmoid", "image", name="output0")) == ""
