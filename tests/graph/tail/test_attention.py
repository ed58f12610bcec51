"""Attention blocks, in all the ways in which exporters write them, and everything that only looks like one."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build_rules.graph.tail.attention import find_attention
from build_rules.records.split_json import AttentionBlock
from tests.graph.graphs import Builder, detection
from tests.profiles import either
from tests.shared import corpus_model, needs_shared

HEADS, KEY, VALUE, SIDE = 2, 2, 4, 4
CELLS = SIDE * SIDE
CHANNELS = HEADS * VALUE
WIDTH = 2 * KEY + VALUE
PATIENCE = 60.0
"""Seconds for `LENGTH` nodes: a linear search needs one or two, any other would not end."""


@dataclass(frozen=True)
class Form:
    """One way to write a block: all of them compute the same kind of thing."""

    areas: int = 0  # 0: no areas, the tokens stay behind the channels
    folded: bool = False  # heads folded into the batch: 3-D products
    product: str = "MatMul"
    scale: str = "query"
    mask: str = ""
    softmax: str = "Softmax"
    cast: bool = False
    encoding: str = "Add"
    swapped: bool = False  # the values are the second factor


def queries_keys_values(b: Builder, qkv: str, form: Form) -> list[str]:
    """Three tensors [..., channels of a head, tokens] from the map [1, HEADS * WIDTH, SIDE, SIDE]."""
    if form.areas:
        tokens = b.op("Transpose", b.op("Flatten", qkv, axis=2), perm=[1, 0])
        split = b.reshape(tokens, form.areas, CELLS // form.areas, HEADS, WIDTH)
        split = b.op("Transpose", split, perm=[0, 2, 3, 1])
    else:
        split = b.reshape(qkv, *([HEADS] if form.folded else [1, HEADS]), WIDTH, CELLS)
    first = b.op("Split", split, b.integers(KEY, KEY, VALUE), outputs=3, axis=-2)
    return [first, f"{first}_1", f"{first}_2"]


def turned(b: Builder, tensor: str, form: Form) -> str:
    """The last two axes swapped."""
    return b.op("Transpose", tensor, perm=[0, 2, 1] if form.folded and not form.areas else [0, 1, 3, 2])


def product(b: Builder, form: Form, first: str, second: str, name: str) -> str:
    if form.product == "MatMul":
        return b.op("MatMul", first, second, name=name)
    equation = {"Einsum": "...ij,...jk->...ik", "Einsum, implicit": "...ij,...jk"}[form.product]
    return b.op("Einsum", first, second, name=name, equation=equation)


def softmax(b: Builder, scores: str, form: Form, name: str) -> str:
    if form.softmax == "Softmax":
        return b.op("Softmax", scores, axis=-1, name=name)
    if form.softmax == "written out, maximum subtracted":
        scores = b.op("Sub", scores, b.op("ReduceMax", scores, axes=[-1]))
    powers = b.op("Exp", scores)
    return b.op("Div", powers, b.op("ReduceSum", powers, b.integers(-1)), name=name)


def as_map(b: Builder, tensor: str, form: Form) -> str:
    """[..., VALUE, tokens] to the map [1, CHANNELS, SIDE, SIDE]."""
    if not form.areas:
        return b.reshape(tensor, 1, CHANNELS, SIDE, SIDE)
    tokens = b.reshape(b.op("Transpose", tensor, perm=[0, 3, 1, 2]), 1, SIDE, SIDE, CHANNELS)
    return b.op("Transpose", tokens, perm=[0, 3, 1, 2])


def depthwise(b: Builder, source: str, name: str) -> str:
    return b.op("Conv", source, b.weight(np.ones((CHANNELS, 1, 1, 1))), group=CHANNELS, name=name)


def attention(b: Builder, source: str, name: str, form: Form = Form()) -> str:
    """A block with layers around it, on a map [1, CHANNELS, SIDE, SIDE]; returns a map of the same shape."""
    query, key, value = queries_keys_values(b, b.conv(source, CHANNELS, HEADS * WIDTH, 1, f"{name}_qkv"), form)
    if form.scale == "query":
        query = b.op("Mul", query, b.weight(0.7))
    if form.scale == "key":
        key = b.op("Div", key, b.weight(1.4))
    scores = product(b, form, turned(b, query, form), key, f"{name}_scores")
    if form.scale == "scores":
        scores = b.op("Mul", scores, b.weight(0.7))
    if form.mask == "stored":
        scores = b.op("Add", scores, b.weight(np.zeros((CELLS // (form.areas or 1),) * 2)))
    if form.mask == "computed":  # a bias for each position, taken from the image
        scores = b.op("Add", scores, b.op("ReduceMean", query, axes=[-2]))
    if form.mask == "where":
        scores = b.op("Where", b.weight(True, np.bool_), scores, b.weight(-1e9))
    if form.cast:
        scores = b.op("Cast", b.op("Cast", scores, to=onnx.TensorProto.DOUBLE), to=onnx.TensorProto.FLOAT)
    weights = softmax(b, scores, form, f"{name}_softmax")
    if form.swapped:
        mixed = turned(b, product(b, form, weights, turned(b, value, form), f"{name}_mixed"), form)
    else:
        mixed = product(b, form, value, turned(b, weights, form), f"{name}_mixed")
    out = as_map(b, mixed, form)
    if form.encoding:
        out = b.op(form.encoding, out, depthwise(b, as_map(b, value, form), f"{name}_encoding"))
    return b.op("Add", source, b.conv(out, CHANNELS, CHANNELS, 1, f"{name}_projection"))


def block(name: str, form: Form = Form()) -> AttentionBlock:
    """What `attention` of that name and form has to be found as."""
    return AttentionBlock(
        scores=f"{name}_scores",
        softmax=f"{name}_softmax",
        mixed=f"{name}_mixed",
        fed_by=(f"{name}_qkv",),
        feeds=(f"{name}_projection",),
        beside=(f"{name}_encoding",) if form.encoding else (),
    )


def stem(b: Builder) -> str:
    return b.conv("image", 3, CHANNELS, 8, "stem")


forms = st.builds(
    Form,
    areas=st.sampled_from([0, 1, 4]),
    folded=st.booleans(),
    product=st.sampled_from(["MatMul", "Einsum", "Einsum, implicit"]),
    scale=st.sampled_from(["query", "key", "scores", ""]),
    mask=st.sampled_from(["", "stored", "computed", "where"]),
    softmax=st.sampled_from(["Softmax", "written out", "written out, maximum subtracted"]),
    cast=st.booleans(),
    encoding=st.sampled_from(["Add", "Sum", ""]),
    swapped=st.booleans(),
)


@given(st.lists(forms, min_size=1, max_size=3))
@settings(deadline=None)
def test_finds_every_form(chosen: Sequence[Form]) -> None:
    b = Builder()
    out = stem(b)
    for index, form in enumerate(chosen):
        out = attention(b, out, f"block{index}", form)
    onnx.checker.check_model(b.model((out, [1, CHANNELS, SIDE, SIDE])), full_check=True)  # the forms are real ones
    assert find_attention(b.nodes) == tuple(block(f"block{index}", form) for index, form in enumerate(chosen))


AREA = Form(areas=4, scale="scores")


@pytest.mark.parametrize(
    "form",
    [
        Form(),  # PSA of YOLOv10, YOLO11, YOLO26
        AREA,  # area attention of YOLO12
        Form(folded=True, scale="key", mask="stored"),
        Form(product="Einsum", softmax="written out, maximum subtracted", cast=True),
        Form(scale="", mask="computed", swapped=True, encoding=""),
    ],
)
def test_names_nodes_of_each_part(form: Form) -> None:
    b = Builder()
    attention(b, stem(b), "a", form)
    assert find_attention(b.nodes) == (block("a", form),)


def test_blocks_come_in_the_order_of_computation() -> None:
    b = Builder()
    source = stem(b)
    for name in "cab":
        source = attention(b, source, name)
    assert [found.scores for found in find_attention(b.nodes)] == ["c_scores", "a_scores", "b_scores"]


@given(st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=20)
def test_the_order_of_nodes_does_not_matter_for_what_is_found(shuffler: random.Random) -> None:
    b = Builder()
    attention(b, attention(b, stem(b), "a"), "b", AREA)
    nodes = list(b.nodes)
    shuffler.shuffle(nodes)
    found = find_attention(nodes)
    assert {(f.scores, f.softmax, f.mixed, f.beside) for f in found} == {
        (f.scores, f.softmax, f.mixed, f.beside) for f in (block("a"), block("b"))
    }


def test_nodes_without_names_are_told_apart() -> None:
    b = Builder()
    attention(b, attention(b, stem(b), "a"), "b", AREA)
    for node in b.nodes:
        node.name = ""
    assert find_attention(b.nodes) == (AttentionBlock("", "", "", ("",), ("",), ("",)),) * 2


def test_nodes_of_one_name_are_told_apart() -> None:
    b = Builder()
    attention(b, stem(b), "a")
    for node in b.nodes:
        node.name = node.op_type
    assert find_attention(b.nodes) == (AttentionBlock("MatMul", "Softmax", "MatMul", ("Conv",), ("Conv",), ("Conv",)),)


def test_constant_nodes_are_like_stored_weights() -> None:
    b = Builder()
    attention(b, stem(b), "a", Form(scale="scores", mask="stored"))
    constants = [onnx.helper.make_node("Constant", [], [w.name], name=w.name, value=w) for w in b.weights]
    assert find_attention([*constants, *b.nodes]) == (block("a"),)


def projected(b: Builder, source: str, name: str, dense: str = "MatMul") -> str:
    """Queries, keys and values from a dense layer each, on tokens [1, CELLS, CHANNELS]."""
    kinds = ("query", "key", "value")
    query, key, value = (b.op("MatMul", source, b.weight(np.eye(CHANNELS)), name=f"{name}_{kind}") for kind in kinds)
    scores = b.op("MatMul", query, b.op("Transpose", key, perm=[0, 2, 1]), name=f"{name}_scores")
    mixed = b.op("MatMul", b.op("Softmax", scores, name=f"{name}_softmax"), value, name=f"{name}_mixed")
    if dense == "Gemm":
        return b.op("Gemm", b.reshape(mixed, CELLS, CHANNELS), b.weight(np.eye(CHANNELS)), name=f"{name}_out")
    return b.op(dense, mixed, b.weight(np.eye(CHANNELS)), name=f"{name}_out")


@pytest.mark.parametrize("dense", ["MatMul", "Gemm"])
def test_dense_layers_stand_for_convolutions(dense: str) -> None:
    b = Builder()
    tokens = b.op("Transpose", b.reshape(stem(b), 1, CHANNELS, CELLS), perm=[0, 2, 1])
    projected(b, tokens, "a", dense)
    assert find_attention(b.nodes) == (
        AttentionBlock("a_scores", "a_softmax", "a_mixed", ("a_query", "a_key", "a_value"), ("a_out",), ()),
    )


def test_weights_stored_in_few_bits_are_weights() -> None:
    """A dense layer whose weights are dequantized or cast is no product of computed tensors."""
    b = Builder()
    tokens = b.reshape(stem(b), 1, CHANNELS, CELLS)
    matrix = b.op("DequantizeLinear", b.weight(np.eye(CELLS), np.int8), b.weight(0.1))
    other = b.op("Transpose", b.op("Cast", b.weight(np.eye(CELLS), np.float16), to=1), perm=[1, 0])
    b.op("MatMul", b.op("Softmax", b.op("MatMul", tokens, matrix)), other)
    assert find_attention(b.nodes) == ()


def heads(b: Builder) -> tuple[str, str, str]:
    """Queries [1, CELLS, CHANNELS], keys and values [1, CHANNELS, CELLS] from one convolution, `source`."""
    tokens = b.reshape(b.conv(stem(b), CHANNELS, CHANNELS, 1, "source"), 1, CHANNELS, CELLS)
    return b.op("Transpose", tokens, perm=[0, 2, 1]), tokens, tokens


def parts(b: Builder) -> tuple[str, str]:
    """A block without layers; returns what it gives, as a map, and the map of the values."""
    query, key, value = heads(b)
    scores = b.op("MatMul", query, key, name="scores")
    mixed = b.op("MatMul", value, b.op("Softmax", scores, name="softmax"), name="mixed")
    return b.reshape(mixed, 1, CHANNELS, SIDE, SIDE), b.reshape(value, 1, CHANNELS, SIDE, SIDE)


def found_beside(b: Builder) -> tuple[str, ...]:
    (found,) = find_attention(b.nodes)
    assert (found.scores, found.softmax, found.mixed, found.fed_by) == ("scores", "softmax", "mixed", ("source",))
    return found.beside


def test_several_layers_beside() -> None:
    b = Builder()
    out, values = parts(b)
    silu = depthwise(b, values, "first")
    out = b.op("Add", out, b.op("Mul", silu, b.op("Sigmoid", silu)))
    out = b.op("Add", depthwise(b, values, "second"), out)
    b.conv(out, CHANNELS, 1, 1, "last")
    assert found_beside(b) == ("first", "second")


def test_a_layer_on_the_map_of_the_feeding_convolution_is_beside() -> None:
    b = Builder()
    out, _ = parts(b)
    b.op("Add", out, depthwise(b, "source", "encoding"))
    assert found_beside(b) == ("encoding",)


def test_a_layer_whose_output_is_joined_and_not_added_is_not_beside() -> None:
    b = Builder()
    out, values = parts(b)
    b.op("Concat", out, depthwise(b, values, "other"), axis=1)
    assert found_beside(b) == ()


def test_a_skip_around_the_feeding_convolution_is_not_beside() -> None:
    b = Builder()
    out, _ = parts(b)
    b.op("Add", out, depthwise(b, "stem", "skip"))
    assert found_beside(b) == ()


def test_a_layer_after_the_block_is_not_beside() -> None:
    b = Builder()
    out, values = parts(b)
    b.op("Add", depthwise(b, out, "after"), depthwise(b, values, "values"))
    assert found_beside(b) == ()


def test_queries_and_values_of_several_convolutions() -> None:
    b = Builder()
    source = stem(b)
    query, key, value = (
        b.reshape(b.conv(source, CHANNELS, CHANNELS, 1, name), 1, CHANNELS, CELLS) for name in ("q", "k", "v")
    )
    scores = b.op("MatMul", b.op("Transpose", query, perm=[0, 2, 1]), key, name="scores")
    mixed = b.op("MatMul", value, b.op("Softmax", scores, name="softmax"), name="mixed")
    out = b.op("Add", b.reshape(mixed, 1, CHANNELS, SIDE, SIDE), depthwise(b, "v", "encoding"))
    for name in ("one", "two"):
        b.conv(out, CHANNELS, 1, 1, name)
    expected = AttentionBlock("scores", "softmax", "mixed", ("q", "k", "v"), ("one", "two"), ("encoding",))
    assert find_attention(b.nodes) == (expected,)


def test_one_softmax_for_two_values_makes_two_blocks() -> None:
    b = Builder()
    query, key, value = heads(b)
    weights = b.op("Softmax", b.op("MatMul", query, key, name="scores"), name="softmax")
    for name in ("first", "second"):
        b.op("MatMul", value, weights, name=name)
    found = find_attention(b.nodes)
    assert [(f.scores, f.softmax, f.mixed) for f in found] == [("scores", "softmax", n) for n in ("first", "second")]


def test_values_that_only_a_subgraph_passes_on() -> None:
    b = Builder()
    query, key, value = heads(b)
    output = onnx.helper.make_tensor_value_info("inner", 1, [1, CHANNELS, CELLS])
    branch = onnx.helper.make_graph([onnx.helper.make_node("Identity", [value], ["inner"])], "branch", [], [output])
    chosen = b.op("If", b.weight(True, np.bool_), then_branch=branch, else_branch=branch)
    b.op("MatMul", chosen, b.op("Softmax", b.op("MatMul", query, key, name="scores"), name="softmax"), name="mixed")
    assert find_attention(b.nodes) == (AttentionBlock("scores", "softmax", "mixed", ("source",), (), ()),)


@pytest.mark.parametrize("kind", ["conv", "conv, softmax on the last axis", "matmul", "sum", "direct"])
def test_a_head_has_none(kind: str) -> None:
    assert find_attention(detection(kind).graph.node) == ()


def test_a_classifier_has_none() -> None:
    b = Builder()
    b.op("Softmax", b.op("Gemm", b.op("Flatten", stem(b)), b.weight(np.ones((CHANNELS * CELLS, 5)))))
    assert find_attention(b.nodes) == ()


def test_a_segmentation_has_none() -> None:
    b = Builder()
    b.op("Softmax", b.conv(stem(b), CHANNELS, 5, 1), axis=1)
    assert find_attention(b.nodes) == ()


def test_masks_made_in_the_graph_are_none() -> None:
    """Coefficients times prototypes is a product of two computed tensors; a softmax over it mixes nothing."""
    b = Builder()
    query, key, _ = heads(b)
    b.conv(b.reshape(b.op("Softmax", b.op("MatMul", query, key)), 1, CELLS, SIDE, SIDE), CELLS, 1, 1)
    assert find_attention(b.nodes) == ()


def test_global_context_is_none() -> None:
    """A softmax of one layer's output that weighs the pixels: there is no query."""
    b = Builder()
    weights = b.op("Softmax", b.reshape(b.conv(stem(b), CHANNELS, 1, 1), 1, CELLS, 1), axis=1)
    b.op("MatMul", b.reshape("stem", 1, CHANNELS, CELLS), weights)
    assert find_attention(b.nodes) == ()


def test_products_with_stored_factors_are_none() -> None:
    b = Builder()
    query, key, value = heads(b)
    b.op("MatMul", b.op("Softmax", b.op("MatMul", query, b.weight(np.ones((CHANNELS, CELLS))))), query)
    b.op("MatMul", b.weight(np.ones((1, CHANNELS, CELLS))), b.op("Softmax", b.op("MatMul", query, key)))
    b.op("Mul", b.op("Softmax", b.op("MatMul", query, value)), query)
    assert find_attention(b.nodes) == ()


def test_the_size_of_a_tensor_is_no_computed_tensor() -> None:
    b = Builder()
    query, key, _ = heads(b)
    size = b.op("Cast", b.op("Shape", key), to=onnx.TensorProto.FLOAT)
    b.op("MatMul", b.op("Softmax", b.op("MatMul", query, key)), b.op("Expand", size, b.integers(CELLS, 3)))
    assert find_attention(b.nodes) == ()


@pytest.mark.parametrize("equation", ["bij,bij->bij", "bij,bkl->bijkl", "bij", "", "bij,bjk,bkl->bil"])
def test_an_einsum_that_sums_over_nothing_is_no_product(equation: str) -> None:
    b = Builder()
    query, key, value = heads(b)
    b.op("MatMul", value, b.op("Softmax", b.op("Einsum", query, key, equation=equation)))
    assert find_attention(b.nodes) == ()


def test_operators_of_other_domains_are_unknown() -> None:
    b = Builder()
    attention(b, stem(b), "a")
    next(node for node in b.nodes if node.op_type == "Softmax").domain = "com.example"
    assert find_attention(b.nodes) == ()


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.NodeProto:
    return onnx.NodeProto(op_type=kind, input=inputs, output=outputs, name=outputs[0] if outputs else "")


KINDS = (
    "Conv",
    "MatMul",
    "MatMul",
    "Softmax",
    "Softmax",
    "Mul",
    "Add",
    "Transpose",
    "Split",
    "Exp",
    "ReduceSum",
    "Div",
)
tensors = st.integers(0, 12).map(str)
any_node = st.builds(
    node, st.sampled_from(KINDS), st.lists(tensors | st.just(""), max_size=3), st.lists(tensors, max_size=2)
)


@given(st.lists(any_node, max_size=30))
@settings(deadline=None)
def test_whatever_is_found_in_any_graph_is_what_it_is_called(nodes: list[onnx.NodeProto]) -> None:
    """Cycles, tensors of two producers and missing inputs included: such graphs are inspected, too."""
    for index, each in enumerate(nodes):
        each.name = str(index)
    kinds = {each.name: each.op_type for each in nodes}
    for found in find_attention(nodes):
        assert kinds[found.scores] == kinds[found.mixed] == "MatMul"
        assert kinds[found.softmax] in ("Softmax", "Div")
        assert {kinds[name] for name in found.fed_by + found.feeds + found.beside} <= {"Conv", "MatMul"}


LENGTH = either(30_000, 100_000)


def chain(kinds: str, length: int, first: str, wide: int = 1) -> tuple[list[onnx.NodeProto], str]:
    """Nodes that each read the `wide` tensors before them; returns them and the last tensor."""
    names = [first] * wide
    nodes = []
    for index in range(length):
        names.append(f"{first}.{index}")
        nodes.append(node(kinds, names[-1 - wide : -1], names[-1:]))
    return nodes, names[-1]


@pytest.mark.parametrize(("kind", "wide"), [("Identity", 1), ("Add", 2), ("Sum", 5)])
def test_however_long_the_way_and_however_many_ways(kind: str, wide: int) -> None:
    """Between product and softmax `LENGTH` nodes, where a node has several inputs with exponentially many ways."""
    start = [node("Conv", ["image", "weight"], ["map"]), node("MatMul", ["map", "map"], ["scores"])]
    between, last = chain(kind, LENGTH, "scores", wide)
    end = [node("Softmax", [last], ["softmax"]), node("MatMul", ["softmax", "map"], ["mixed"])]
    began = time.perf_counter()
    assert find_attention([*start, *between, *end]) == (AttentionBlock("scores", "softmax", "mixed", ("map",), (), ()),)
    assert time.perf_counter() - began < PATIENCE


def test_layers_too_far_away_to_belong_to_the_block() -> None:
    before, value = chain("Add", LENGTH // 2, "map", 3)
    after, _ = chain("Add", LENGTH // 2, "mixed", 3)
    block = [
        node("MatMul", [value, value], ["scores"]),
        node("Softmax", ["scores"], ["softmax"]),
        node("MatMul", ["softmax", value], ["mixed"]),
    ]
    began = time.perf_counter()
    found = find_attention([node("Conv", ["image", "weight"], ["map"]), *before, *block, *after])
    assert found == (AttentionBlock("scores", "softmax", "mixed", (), (), ()),)
    assert time.perf_counter() - began < PATIENCE


def test_many_blocks_that_share_everything() -> None:
    nodes = [node("Conv", ["image", "weight"], ["map"])]
    for index in range(LENGTH // 10):
        scores, weights, mixed = (f"{name}.{index}" for name in ("scores", "softmax", "mixed"))
        nodes += [node("MatMul", ["map", "map"], [scores]), node("Softmax", [scores], [weights])]
        nodes.append(node("MatMul", [weights, "map"], [mixed]))
    nodes.append(node("Sum", [f"mixed.{index}" for index in range(LENGTH // 10)], ["sum"]))
    began = time.perf_counter()
    assert len(find_attention(nodes)) == LENGTH // 10
    assert time.perf_counter() - began < PATIENCE


PSA = {"yolo11n": 1, "yolo11n-seg": 1, "yolo11n_bare": 1, "yolo26n": 2, "yolo26n-seg": 2, "yolo26n_e2e": 2}
WITHOUT = [
    "yolov5n_anchor",
    "yolov8n",
    "yolov8n-cls",
    "yolov8n-pose",
    "yolov8n-seg",
    "yolov8n_dynamic",
    "yolov8n_dynamo",
    "yolov8n_ul83",
    "modelpack_det_seg",
]


@needs_shared
@pytest.mark.parametrize("name", PSA)
def test_real_blocks(name: str) -> None:
    found = find_attention(onnx.load(corpus_model(name)).graph.node)
    assert len(found) == PSA[name]
    for each in found:
        folder = each.softmax.removesuffix("Softmax")
        assert each == AttentionBlock(
            scores=f"{folder}MatMul",
            softmax=f"{folder}Softmax",
            mixed=f"{folder}MatMul_1",
            fed_by=(f"{folder}qkv/conv/Conv",),
            feeds=(f"{folder}proj/conv/Conv",),
            beside=(f"{folder}pe/conv/Conv",),
        )


@needs_shared
@pytest.mark.parametrize("name", WITHOUT)
def test_real_networks_without(name: str) -> None:
    assert find_attention(onnx.load(corpus_model(name)).graph.node) == ()
