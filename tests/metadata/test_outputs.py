"""What `outputs[]` looks like, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from build_rules.errors import InputError
from build_rules.metadata.checks import check_document
from build_rules.metadata.compiled_document import compile_document
from build_rules.metadata.outputs import check_endpoints, class_count, compile_outputs
from build_rules.metadata.physical import PhysicalTensor
from build_rules.records.split_json import Endpoint, ModelInput, Split
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.vocabulary import CARRIED_TYPE, OUTPUT_TYPES, UNDECODED_TYPES
from tests.metadata.synthetic import Head, encode, tensors_of
from tests.metadata.test_decoding import FACTS, Decode, compiled, every_decoder, three_things


def outputs_of(head: Head) -> dict[str, dict[str, Any]]:
    """Compile a head's outputs, by name."""
    compiled = compile_outputs(head.split, tensors_of(head), head.folded)
    return {output["name"]: output for output in compiled}


def with_endpoint(split: Split, name: str, **changes: Any) -> Split:
    """Change one endpoint of a split."""
    return replace(split, endpoints=tuple(replace(e, **changes) if e.name == name else e for e in split.endpoints))


def with_tensor(tensors: tuple[PhysicalTensor, ...], node: str, **changes: Any) -> tuple[PhysicalTensor, ...]:
    """Change the tensor of one node."""
    return tuple(replace(t, **changes) if node in t.original_names else t for t in tensors)


def test_the_documented_example() -> None:
    outputs = outputs_of(Head(masks=32))
    assert list(outputs) == ["boxes", "scores", "mask_coefs", "protos"]
    assert outputs["boxes"]["shape"] == [1, 64, 8400]
    assert outputs["boxes"]["dshape"] == [{"batch": 1}, {"num_features": 64}, {"num_boxes": 8400}]
    assert outputs["boxes"]["encoding"] == "dfl"
    assert outputs["boxes"]["normalized"] is False
    assert outputs["scores"]["dshape"] == [{"batch": 1}, {"num_classes": 80}, {"num_boxes": 8400}]
    assert outputs["scores"]["score_format"] == "per_class"
    assert outputs["mask_coefs"]["dshape"] == [{"batch": 1}, {"num_protos": 32}, {"num_boxes": 8400}]
    assert outputs["protos"]["shape"] == [1, 32, 160, 160]
    assert [child["shape"] for child in outputs["protos"]["outputs"]] == [[1, 160, 160, 32]]


def test_children_are_the_hefs_tensors() -> None:
    tensors = {tensor.name: tensor for tensor in tensors_of(Head())}
    for output in outputs_of(Head()).values():
        for index, child in enumerate(output["outputs"]):
            tensor = tensors.pop(child["name"])
            assert tuple(child["shape"]) == tensor.shape
            assert child["stride"] == (8, 16, 32)[index]
            assert child["scale_index"] == index
            assert child["dtype"] == child["quantization"]["dtype"] == tensor.dtype
            assert child["quantization"]["scale"] == np.float32(tensor.scale)
            assert child["quantization"]["zero_point"] == tensor.zero_point
    assert not tensors


def test_a_scale_is_written_with_every_digit_of_its_float32() -> None:
    tensors = with_tensor(tensors_of(Head()), "/head/scores.0/Conv", scale=0.0035226592)
    scores = compile_outputs(Head().split, tensors, Head().folded)[1]
    written = scores["outputs"][0]["quantization"]["scale"]
    assert written != 0.0035226592
    assert written == float(np.float32(0.0035226592))


def test_a_float_tensor_is_what_it_is() -> None:
    head = Head(masks=32, fold=False, box_dtype="float32", score_dtype="float32", other_dtype="float32")
    document = compile_document(
        TrainerDocument({"nms": "class_aware"}), head.split, tensors_of(head), FACTS, ()
    ).document
    children = [child for output in document["outputs"] for child in output["outputs"]]
    assert {child["dtype"] for child in children} == {"float32"}
    # The decoders ask the children of what they decode for a dtype in there, and refuse null.
    assert all(child["quantization"] == {"scale": 1.0, "zero_point": 0, "dtype": "float32"} for child in children)
    assert {child.get("activation_required") for child in document["outputs"][1]["outputs"]} == {"sigmoid"}
    assert {problem.item for problem in check_document(document, tensors_of(head))} == {14}


@every_decoder
@pytest.mark.parametrize("output", range(4))
def test_why_a_float_child_has_a_quantization(output: int, find: Decode) -> None:
    head = Head(nc=3, masks=32, box_dtype="float32", score_dtype="float32", other_dtype="float32")
    document, tensors = compiled(head)
    arrays = encode(head, [], tensors)
    for child in document["outputs"][output]["outputs"]:
        child["quantization"] = None
    assert 12 in {problem.item for problem in check_document(document) if problem.severity == "error"}
    with pytest.raises(RuntimeError, match="missing quantization dtype"):
        find(document, arrays)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"scale": 0.5}, "scales a float32 tensor"),
        ({"zero_point": 3}, "scales a float32 tensor"),
        ({"dtype": "uint8"}, "but the tensor is float32"),
    ],
)
def test_a_float_tensor_that_is_scaled_is_found(numbers: dict[str, Any], words: str) -> None:
    document, _ = compiled(Head(nc=3, score_dtype="float32"))
    document["outputs"][1]["outputs"][0]["quantization"] |= numbers
    assert any(problem.item == 12 and words in problem.text for problem in check_document(document))


def test_limits_tell_whether_a_float_is_folded() -> None:
    head = Head(score_dtype="float32")
    compile_outputs(head.split, tensors_of(head), head.folded)
    tensors = with_tensor(tensors_of(head), "/head/scores.2/Conv", limits=(-9.0, 9.0))
    with pytest.raises(InputError, match=r"sigmoid.*scores_2.*from -9 to 9"):
        compile_outputs(head.split, tensors, head.folded)


def test_logical_outputs_carry_no_tensor_members() -> None:
    for output in outputs_of(Head(masks=32)).values():
        assert not {"dtype", "quantization", "scale_index", "activation_applied"} & output.keys()
        for child in output["outputs"]:
            assert not {"decoder", "encoding", "score_format", "normalized", "anchors"} & child.keys()


@pytest.mark.parametrize(("fold", "member"), [(True, "activation_applied"), (False, "activation_required")])
def test_the_sigmoid_is_declared_where_it_happens(fold: bool, member: str) -> None:
    children = outputs_of(Head(fold=fold))["scores"]["outputs"]
    assert [child.get(member) for child in children] == ["sigmoid"] * 3
    assert all(len({"activation_applied", "activation_required"} & child.keys()) == 1 for child in children)


def test_boxes_and_scores_lead_whatever_the_split_says() -> None:
    head = Head(masks=32)
    split = replace(head.split, endpoints=head.split.endpoints[::-1])
    outputs = compile_outputs(split, tensors_of(head), head.folded)
    assert [output["name"] for output in outputs] == ["boxes", "scores", "mask_coefs", "protos"]
    assert [child["stride"] for child in outputs[0]["outputs"]] == [8, 16, 32]


def test_a_head_with_one_scale_still_has_a_child() -> None:
    head = Head(nc=3)
    split = replace(
        head.split, endpoints=tuple(replace(e, scale_index=None) for e in head.split.endpoints if e.scale_index == 0)
    )
    tensors = tuple(t for t in tensors_of(head) if t.shape[1] == 80)
    outputs = compile_outputs(split, tensors, {"scores_0"})
    assert [len(output["outputs"]) for output in outputs] == [1, 1]
    assert outputs[0]["outputs"][0]["scale_index"] == 0


def test_a_stride_that_differs_per_axis_is_a_pair() -> None:
    split = Split("odd", ModelInput("images", (1, 3, 64, 128)), (endpoint("boxes", (1, 4, 8, 8)),), (), None)
    tensors = (tensor("odd/conv1", (1, 8, 8, 4), "/boxes"),)
    assert compile_outputs(split, tensors, ())[0]["outputs"][0]["stride"] == [16, 8]


@pytest.mark.parametrize("size", [(60, 128), (64, 124)])
def test_cells_that_do_not_divide_the_input_are_refused(size: tuple[int, int]) -> None:
    split = Split("odd", ModelInput("images", (1, 3, *size)), (endpoint("boxes", (1, 4, 8, 8)),), (), None)
    with pytest.raises(InputError, match=r"8x8 cells.*multiple of its stride"):
        compile_outputs(split, (tensor("odd/conv1", (1, 8, 8, 4), "/boxes"),), ())


def endpoint(role: str, shape: tuple[int, ...], **members: Any) -> Endpoint:
    """An endpoint that is alone in its role."""
    facts: dict[str, Any] = {"encoding": "direct" if role == "boxes" else None, "activation": None, "stride": None}
    names = {"name": role, "tensor": f"{role}:0", "node": f"/{role}"}
    return Endpoint(role=role, scale_index=None, shape=shape, **{**names, **facts, **members})


def tensor(name: str, shape: tuple[int, int, int, int], node: str) -> PhysicalTensor:
    """A tensor of some quantization."""
    return PhysicalTensor(name, shape, "uint8", 0.05, 128, (node,))


@pytest.mark.parametrize("role", ["landmarks", "objectness", "angle", "confidence"])
@every_decoder
def test_what_no_decoder_decodes_is_carried_along(role: str, find: Decode) -> None:
    head = Head(nc=3)
    extra = tuple(endpoint(role, (1, 51, 640 // s, 640 // s), name=f"{role}_{s}", node=f"/{s}") for s in (8, 16, 32))
    tensors = (*tensors_of(head), *(tensor(f"x/{s}", (1, 640 // s, 640 // s, 51), f"/{s}") for s in (8, 16, 32)))
    split = replace(head.split, endpoints=(*head.split.endpoints, *extra))
    compiled = compile_document(TrainerDocument({"nms": "class_aware"}), split, tensors, FACTS, head.folded)
    output = compiled.document["outputs"][-1]
    # The EdgeFirst validator asks every output for a type; the decoders refuse two of them, and read none of these.
    assert output["type"] == CARRIED_TYPE
    assert not {"decoder", "encoding"} & output.keys()
    assert output["shape"] == [1, 51, 8400]
    scored = compiled.document["outputs"][1]["score_format"]
    assert scored == ("obj_x_class" if role == "objectness" else "per_class")
    assert [child.get("type") for child in output["outputs"]] == [role if role in OUTPUT_TYPES else None] * 3
    (warning,) = compiled.warnings
    assert f"of {role!r} is 'detection'; the output is carried, but not decoded" in warning
    arrays = encode(head, three_things(head), tensors_of(head))
    arrays |= {f"x/{s}": np.zeros((1, 640 // s, 640 // s, 51), np.uint8) for s in (8, 16, 32)}
    assert len(find(compiled.document, arrays).boxes) == 3


@pytest.mark.parametrize(("role", "lost"), [("angle", "unrotated"), ("objectness", "scores come out too high")])
def test_what_is_lost_with_it_is_said(role: str, lost: str) -> None:
    head = Head(nc=3, extras=((role, 1),))
    (warning,) = compile_document(
        TrainerDocument({"nms": "class_aware"}), head.split, tensors_of(head), FACTS, head.folded
    ).warnings
    assert lost in warning


@pytest.mark.parametrize("member", ["decoder", "outputs"])
def test_what_is_carried_is_no_grid(member: str) -> None:
    document, _ = compiled(Head(nc=3, extras=(("landmarks", 10),)))
    assert {problem.severity for problem in check_document(document)} == {"warning"}
    document["outputs"][2][member] = "modelpack" if member == "decoder" else []
    assert 16 in {problem.item for problem in check_document(document)}


def test_what_is_carried_needs_boxes_and_scores_beside_it() -> None:
    document, _ = compiled(Head(nc=3, extras=(("landmarks", 10),)))
    document["outputs"] = document["outputs"][2:]
    (problem,) = (problem for problem in check_document(document) if problem.item == 5)
    assert (problem.severity, problem.path) == ("error", "outputs[0].type")
    assert "decoded where there are no split boxes" in problem.text


@every_decoder
@pytest.mark.parametrize("role", UNDECODED_TYPES)
def test_why_it_is_not_their_own(role: str, find: Decode) -> None:
    document, tensors = compiled(Head(nc=3))
    arrays = encode(Head(nc=3), [], tensors)
    document["outputs"].append({"name": "x", "type": role, "shape": [1, 1], "dshape": [{"batch": 1}, {"padding": 1}]})
    document["outputs"][-1] |= {"dtype": "float32", "quantization": None}
    assert 5 in {problem.item for problem in check_document(document) if problem.severity == "error"}
    with pytest.raises(RuntimeError, match="NotSupported"):
        find(document, arrays | {"x": np.zeros((1, 1), np.float32)})


def test_the_class_count_of_a_head() -> None:
    assert class_count(list(outputs_of(Head(nc=7)).values())) == 7
    assert class_count([]) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": (1, 80, 40, 64)}, ["synthetic/conv40", "[1, 80, 40, 64]", "boxes_0", "[1, 80, 80, 64]"]),
        ({"original_names": ("/else",)}, ["/head/boxes.0/Conv", "boxes_0", "/else"]),
        ({"dtype": "uint16"}, ["boxes", "dtype", "synthetic/conv40 uint16", "synthetic/conv41 uint8"]),
        ({"dtype": "int4"}, ["synthetic/conv40", "int4", "uint8"]),
        ({"zero_point": 0.5}, ["synthetic/conv40", "0.5", "integer"]),
        ({"scale": 0.0}, ["synthetic/conv40", "0.0"]),
        ({"scale": float("nan")}, ["synthetic/conv40", "nan"]),
        ({"scale": 1e300}, ["synthetic/conv40", "1e+300"]),
        ({"scale": None}, ["synthetic/conv40", "None"]),
        ({"dtype": "float32"}, ["synthetic/conv40", "float32", "no scale and no zero point"]),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(changes: dict[str, Any], words: list[str]) -> None:
    tensors = with_tensor(tensors_of(Head()), "/head/boxes.0/Conv", **changes)
    with pytest.raises(InputError) as caught:
        compile_outputs(Head().split, tensors, Head().folded)
    assert all(word in str(caught.value) for word in words), caught.value


def test_ambiguous_names_are_listed() -> None:
    tensors = (*tensors_of(Head()), tensor("twin", (1, 80, 80, 64), "/head/boxes.0/Conv"))
    with pytest.raises(InputError, match=r"boxes_0.*ambiguous.*synthetic/conv40, twin"):
        compile_outputs(Head().split, tensors, Head().folded)


def test_two_endpoints_in_one_tensor_are_refused() -> None:
    tensors = tensors_of(Head())
    split = with_endpoint(Head().split, "boxes_1", node="/head/boxes.0/Conv", shape=(1, 64, 80, 80), stride=8)
    with pytest.raises(InputError, match=r"'boxes_0' and 'boxes_1'.*synthetic/conv40"):
        compile_outputs(split, tensors, Head().folded)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, None),
        ({"shape": (1, 66, 80, 80)}, "one number of channels on all scales"),
        ({"encoding": "direct"}, "one encoding on all scales"),
        ({"activation": "softplus"}, "activation 'softplus', which no reader applies"),
        ({"stride": 16}, "is said to have stride 16"),
        ({"role": "boxes of another kind"}, None),
    ],
)
def test_what_could_not_be_described_is_told_before_anything_is_compiled(
    changes: dict[str, Any], told: str | None
) -> None:
    split = with_endpoint(Head().split, "boxes_0", **changes)
    if told is None:
        check_endpoints(split, ())
        return
    with pytest.raises(InputError, match=told):
        check_endpoints(split, ())


def test_boxes_need_scores() -> None:
    split = Head().split
    with pytest.raises(InputError, match="boxes but no scores"):
        check_endpoints(replace(split, endpoints=tuple(e for e in split.endpoints if e.role != "scores")), ())


def test_an_output_that_nothing_explains_is_refused() -> None:
    tensors = (*tensors_of(Head()), tensor("stranger", (1, 2, 2, 1), "/aux"))
    with pytest.raises(InputError, match="no endpoint of the split explains: stranger"):
        compile_outputs(Head().split, tensors, Head().folded)


def test_a_sigmoid_that_was_not_folded_is_found_out() -> None:
    head = Head(fold=False)
    with pytest.raises(InputError, match=r"conv45.*sigmoid.*scores_2.*from -1\d.* to 1\d"):
        compile_outputs(head.split, tensors_of(head), {"scores_2"})


def test_a_sigmoid_is_folded_on_every_scale_or_none() -> None:
    with pytest.raises(InputError, match=r"'scores'.*conv43 applied.*conv44 required"):
        compile_outputs(Head().split, tensors_of(Head()), {"scores_0"})


def test_the_limits_decide_over_the_range() -> None:
    # A compiler may widen a range of [0, 0.9] to whole steps; what it measured counts.
    tensors = with_tensor(tensors_of(Head()), "/head/scores.0/Conv", scale=0.0045, limits=(0.0, 0.9))
    compile_outputs(Head().split, tensors, Head().folded)


@pytest.mark.parametrize(
    ("endpoint_name", "changes", "folded", "words"),
    [
        ("scores_0", {"activation": "swish"}, set(), ["scores_0", "swish", "sigmoid, softmax, tanh"]),
        ("boxes_0", {"encoding": "direct"}, set(), ["boxes", "encoding"]),
        ("boxes_0", {"stride": 4}, set(), ["boxes_0", "stride 4", "8x8"]),
        ("boxes_0", {"shape": (1, 64, 6400)}, set(), ["boxes_0", "[1, 64, 6400]", "four axes"]),
        ("boxes_0", {}, {"boxes_0"}, ["boxes_0", "it has none"]),
        ("boxes_0", {}, {"boxes_9"}, ["boxes_9"]),
    ],
)
def test_an_endpoint_that_makes_no_sense_is_named(
    endpoint_name: str, changes: dict[str, Any], folded: set[str], words: list[str]
) -> None:
    split = with_endpoint(Head().split, endpoint_name, **changes)
    with pytest.raises(InputError) as caught:
        compile_outputs(split, tensors_of(Head()), folded)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(("encoding", "channels"), [("dfl", 4), ("dfl", 66), ("dfl", 260), ("direct", 5), (None, 64)])
def test_box_channels_fit_their_encoding(encoding: str | None, channels: int) -> None:
    own = endpoint("boxes", (1, channels, 8, 8), encoding=encoding)
    split = Split("odd", ModelInput("images", (1, 3, 64, 64)), (own,), (), None)
    with pytest.raises(InputError, match=f"{channels} channels"):
        compile_outputs(split, (tensor("odd/conv1", (1, 8, 8, channels), "/boxes"),), ())
