"""Writings that mean the same: functions become plain nodes, sequences that are picked apart become splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from build_rules.errors import InputError
from build_rules.graph.load import inline_functions as functions_module
from build_rules.graph.load.inline_functions import inline_functions
from build_rules.graph.load.replace_sequences import sequences_to_splits
from build_rules.graph.load.source import load_source
from build_rules.onnx_file.weights import is_stored_elsewhere
from tests.graph.graphs import Builder, cut_of, document, hint, image, save, split

LOCAL = "local"


def normalize(model: onnx.ModelProto) -> onnx.ModelProto:
    plain = inline_functions(model)
    sequences_to_splits(plain)
    return plain


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def run(model: onnx.ModelProto) -> list[NDArray[Any]]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"image": image()}))


def check_same(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model normalized, having run both."""
    expected = run(model)
    found = normalize(onnx.ModelProto.FromString(model.SerializeToString()))
    onnx.checker.check_model(found)
    for one, two in zip(expected, run(found), strict=True):
        np.testing.assert_array_equal(one, two)
    return found


# Functions.


def function(name: str, *nodes: NodeProto, attributes: Sequence[str] = (), opset: int = 17) -> onnx.FunctionProto:
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(LOCAL, 1)]
    return helper.make_function(LOCAL, name, ["x"], ["y"], list(nodes), imports, list(attributes))


def call(name: str, source: str, result: str, **attributes: Any) -> NodeProto:
    return helper.make_node(name, [source], [result], domain=LOCAL, name=f"call_{result}", **attributes)


def with_functions(b: Builder, output: str, *functions: onnx.FunctionProto) -> onnx.ModelProto:
    model = b.model((output, [1, 3, 32, 32]))
    model.functions.extend(functions)
    model.opset_import.append(helper.make_opsetid(LOCAL, 1))
    return model


def referring(kind: str, source: str, result: str, **attributes: tuple[str, int]) -> NodeProto:
    """A node whose attributes are those of the function around it, under the names and types given."""
    node = helper.make_node(kind, [source], [result])
    for name, (outer, type_) in attributes.items():
        node.attribute.add(name=name, ref_attr_name=outer, type=type_)
    return node


def test_a_function_becomes_its_nodes(tmp_path: Path) -> None:
    silu = function("SiLU", helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y"]))
    b = Builder()
    b.nodes += [call("SiLU", "image", "first"), call("SiLU", "first", "second")]
    found = check_same(with_functions(b, "second", silu))
    assert (kinds(found), len(found.functions)) == (["Sigmoid", "Mul", "Sigmoid", "Mul"], 0)
    names = [name for node in found.graph.node for name in node.output]
    assert len(set(names)) == 4


def test_attributes_reach_the_innermost_function() -> None:
    FLOAT = onnx.AttributeProto.FLOAT
    inner = function("Inner", referring("LeakyRelu", "x", "y", alpha=("slope", FLOAT)), attributes=["slope"])
    nested = helper.make_node("Inner", ["x"], ["y"], domain=LOCAL)
    nested.attribute.add(name="slope", ref_attr_name="outer_slope", type=FLOAT)
    outer = function("Outer", nested, attributes=["outer_slope"])
    b = Builder()
    shifted = b.op("Sub", "image", b.weight(0.5))
    b.nodes += [call("Outer", shifted, "a", outer_slope=0.25), call("Outer", "a", "b", outer_slope=0.5)]
    found = check_same(with_functions(b, "b", outer, inner))
    assert kinds(found) == ["Sub", "LeakyRelu", "LeakyRelu"]
    assert [node.attribute[0].f for node in found.graph.node[1:]] == [0.25, 0.5]


def test_functions_may_be_listed_in_any_order_and_not_be_called() -> None:
    one = function("One", helper.make_node("Two", ["x"], ["y"], domain=LOCAL))
    two = function("Two", helper.make_node("Relu", ["x"], ["y"]))
    unused = function("Three", helper.make_node("One", ["x"], ["y"], domain=LOCAL))
    b = Builder()
    b.nodes.append(call("One", "image", "out"))
    for order in ((one, two, unused), (unused, two, one)):
        assert kinds(check_same(with_functions(b, "out", *order))) == ["Relu"]


def test_a_head_inside_a_function_is_cut(tmp_path: Path) -> None:
    """Exporters keep a whole head as one function: the convolutions must come out of it."""
    b = Builder()
    weight, target = b.weight(b.random.random((2, 3, 8, 8))), b.integers(1, 2, -1)
    conv = helper.make_node("Conv", ["x", "w"], ["map"], strides=[8, 8], kernel_shape=[8, 8])
    flat = helper.make_node("Reshape", ["map", "s"], ["flat"])
    last = helper.make_node("Sigmoid", ["flat"], ["y"])
    head = helper.make_function(
        LOCAL, "Head", ["x", "w", "s"], ["y"], [conv, flat, last], [helper.make_opsetid("", 17)]
    )
    b.nodes.append(helper.make_node("Head", ["image", weight, target], ["output0"], domain=LOCAL, name="head"))
    model = b.model(("output0", [1, 2, 16]), document=document(hint(("scores", 0, 2))))
    model.functions.append(head)
    model.opset_import.append(helper.make_opsetid(LOCAL, 1))
    path = save(model, tmp_path)
    (endpoint,) = split(path).endpoints
    assert (endpoint.role, endpoint.stride, endpoint.activation) == ("scores", 8, "sigmoid")
    assert kinds(cut_of(path)) == ["Conv"]


def test_weights_inside_a_function_are_kept(tmp_path: Path) -> None:
    values = np.arange(3 * 32 * 32, dtype=np.float32).reshape(3, 32, 32)
    stored = onnx.numpy_helper.from_array(values, "v")
    constant = helper.make_node("Constant", [], ["c"], value=stored)
    b = Builder()
    b.nodes.append(call("Add3", "image", "out"))
    model = with_functions(b, "out", function("Add3", constant, helper.make_node("Add", ["x", "c"], ["y"])))
    source = load_source(save(model, tmp_path))
    assert kinds(source.model) == ["Constant", "Add"]
    assert not any(map(is_stored_elsewhere, source.model.graph.initializer))
    np.testing.assert_array_equal(run(source.model)[0], image() + values)


@pytest.mark.parametrize("ring", [1, 2, 3])
def test_functions_that_call_themselves_are_refused(ring: int) -> None:
    functions = [
        function(f"F{i}", helper.make_node(f"F{(i + 1) % ring}", ["x"], ["y"], domain=LOCAL)) for i in range(ring)
    ]
    b = Builder()
    b.nodes.append(call("F0", "image", "out"))
    with pytest.raises(InputError, match=r"the local function 'F\d' calls itself"):
        normalize(with_functions(b, "out", *functions))


def test_a_function_that_calls_itself_in_a_branch_is_refused() -> None:
    value = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1, 3, 32, 32])
    branch = helper.make_graph([call("F", "x", "inner")], "branch", [], [value])
    truth = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("", TensorProto.BOOL, [], [True]))
    choice = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    b = Builder()
    b.nodes.append(call("F", "image", "out"))
    with pytest.raises(InputError, match="the local function 'F' calls itself"):
        normalize(with_functions(b, "out", function("F", truth, choice)))


def test_functions_that_would_grow_beyond_all_bounds_are_refused_at_once() -> None:
    """Sixty functions of two calls each are a graph of 2 ** 60 nodes."""
    functions = [function("F0", helper.make_node("Relu", ["x"], ["y"]))]
    for i in range(1, 60):
        first, second = (helper.make_node(f"F{i - 1}", [a], [z], domain=LOCAL) for a, z in (("x", "m"), ("m", "y")))
        functions.append(function(f"F{i}", first, second))
    b = Builder()
    b.nodes.append(call("F59", "image", "out"))
    with pytest.raises(InputError, match="over 100000 nodes"):
        normalize(with_functions(b, "out", *functions))


def test_functions_nested_deeply_cost_no_stack() -> None:
    functions = [function("F0", helper.make_node("Relu", ["x"], ["y"]))]
    functions += [function(f"F{i}", helper.make_node(f"F{i - 1}", ["x"], ["y"], domain=LOCAL)) for i in range(1, 60)]
    b = Builder()
    b.nodes.append(call("F59", "image", "out"))
    assert kinds(normalize(with_functions(b, "out", *functions))) == ["Relu"]


@pytest.mark.parametrize("order", [1, -1])
def test_an_overload_that_calls_another_is_not_one_that_calls_itself(order: int) -> None:
    inner = function("F", helper.make_node("Relu", ["x"], ["y"]))
    outer = function("F", helper.make_node("F", ["x"], ["y"], domain=LOCAL, overload="inner"))
    inner.overload, outer.overload = "inner", "outer"
    b = Builder()
    b.nodes.append(call("F", "image", "out", overload="outer"))
    model = with_functions(b, "out", *(outer, inner)[::order])
    model.ir_version = 10
    assert kinds(normalize(model)) == ["Relu"]


@pytest.mark.parametrize("kind", ["Loop", "Scan", "SequenceMap"])
@pytest.mark.parametrize("place", ["graph", "branch", "function"])
def test_loops_are_refused_wherever_they_are(kind: str, place: str) -> None:
    body = helper.make_graph([], "body", [], [])
    loop = helper.make_node(kind, ["x"], ["y"], name="around", body=body)
    b = Builder()
    functions = []
    if place == "graph":
        b.nodes.append(loop)
    elif place == "branch":
        b.op("If", b.weight(True, bool), name="y", then_branch=helper.make_graph([loop], "t", [], []))
    else:
        functions.append(function("F", loop))
        b.nodes.append(call("F", "image", "y"))
    with pytest.raises(InputError, match=rf"node 'around' \({kind}\) is a loop.*no NMS"):
        normalize(with_functions(b, "y", *functions))


def test_graphs_of_absurd_size_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions_module, "MAX_NODES", 10)
    b = Builder()
    name = "image"
    for _ in range(10):
        name = b.op("Identity", name)
    normalize(b.model((name, [1, 3, 32, 32])))
    with pytest.raises(InputError, match="over 10 nodes"):
        normalize(b.model((b.op("Identity", name), [1, 3, 32, 32])))


# Sequences.

OPSETS = [11, 12, 13, 17, 18]


def picked(b: Builder, sequence: str, *places: int) -> list[str]:
    return [b.op("SequenceAt", sequence, b.weight(place, np.int64)) for place in places]


def sequence_model(b: Builder, *outputs: str, channels: Sequence[int] | None = None) -> onnx.ModelProto:
    """A model of the parts named; `channels` of each, one if not said."""
    sizes = channels or [1] * len(outputs)
    return b.model(*((name, [1, size, 32, 32]) for name, size in zip(outputs, sizes, strict=True)))


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("places", [(0, 1), (1, 0), (-1, 0), (0, -1), (1,), (-2,)], ids=str)
def test_picked_parts_become_one_split(opset: int, places: tuple[int, ...]) -> None:
    b = Builder(opset)
    parts = picked(b, b.op("SplitToSequence", "image", b.integers(1, 2), axis=1, name="seq"), *places)
    found = check_same(sequence_model(b, *parts, channels=[(1, 2)[place] for place in places]))
    (node,) = found.graph.node
    assert (node.op_type, node.name, len(node.output)) == ("Split", "seq", 2)
    in_attribute = [list(a.ints) for a in node.attribute if a.name == "split"]
    assert (in_attribute, len(node.input)) == (([[1, 2]], 1) if opset < 13 else ([], 2))


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize(("size", "parts"), [(1, [1, 1, 1]), (2, [2, 1]), (3, [3]), (5, [3])])
def test_a_size_of_each_part_is_a_list_of_sizes(opset: int, size: int, parts: list[int]) -> None:
    b = Builder(opset)
    sequence = b.op("SplitToSequence", "image", b.weight(size, np.int64), axis=1)
    found = check_same(sequence_model(b, *picked(b, sequence, *range(len(parts))), channels=parts))
    assert kinds(found) == ["Split"]


@pytest.mark.parametrize("axis", [1, -3, 2, -1])
def test_the_axis_is_kept(axis: int) -> None:
    b = Builder()
    size = 1 if axis in (1, -3) else 16
    shape = [1, 3, 32, 32]
    shape[axis] = size
    sequence = b.op("SplitToSequence", "image", b.weight(size, np.int64), axis=axis)
    found = check_same(b.model(*((name, shape) for name in picked(b, sequence, 0, 1))))
    assert kinds(found) == ["Split"]


def test_a_part_picked_twice_is_passed_on(tmp_path: Path) -> None:
    b = Builder()
    parts = picked(b, b.op("SplitToSequence", "image", b.integers(1, 1, 1), axis=1), 1, 0, -2, 1)
    found = check_same(sequence_model(b, *parts))
    assert sorted(kinds(found)) == ["Identity", "Identity", "Split"]
    assert "SequenceAt" not in kinds(load_source(save(sequence_model(b, *parts), tmp_path)).model)


def test_sizes_and_places_may_be_constant_nodes() -> None:
    b = Builder()
    sizes = b.op("Constant", value=onnx.numpy_helper.from_array(np.array([1, 2], np.int64)))
    place = b.op("Constant", value=onnx.numpy_helper.from_array(np.array(1, np.int64)))
    part = b.op("SequenceAt", b.op("SplitToSequence", "image", sizes, axis=1), place)
    assert "Split" in kinds(check_same(sequence_model(b, part, channels=[2])))


def test_constant_nodes_may_hold_numbers_instead_of_tensors() -> None:
    b = Builder()
    sizes, place = b.op("Constant", value_ints=[1, 2]), b.op("Constant", value_int=1)
    part = b.op("SequenceAt", b.op("SplitToSequence", "image", sizes, axis=1), place)
    assert "Split" in kinds(check_same(sequence_model(b, part, channels=[2])))


def test_many_parts(tmp_path: Path) -> None:
    """So many that the list of their sizes is a tensor that stays in its file."""
    b = Builder()
    wide = b.conv("image", 3, 300, 8)
    parts = picked(b, b.op("SplitToSequence", wide, b.integers(*[1] * 300), axis=1), 0, 299)
    path = save(b.model(*((name, [1, 1, 4, 4]) for name in parts)), tmp_path)
    assert kinds(load_source(path).model) == ["Conv", "Split"]


def test_parts_of_what_is_named_alike() -> None:
    """A part that nobody picks must not take a name that is there already."""
    b = Builder()
    b.op("Relu", "image", name="seq_1")
    part = picked(b, b.op("SplitToSequence", "image", b.integers(1, 2), axis=1, name="seq"), 0)
    assert sorted(kinds(check_same(b.model((part[0], [1, 1, 32, 32]), ("seq_1", [1, 3, 32, 32]))))) == ["Relu", "Split"]


def untouched(model: onnx.ModelProto) -> None:
    expected = kinds(model)
    assert kinds(check_same(model)) == expected
    assert "SplitToSequence" in expected


def test_sequences_that_are_joined_again_stay() -> None:
    b = Builder()
    sequence = b.op("SplitToSequence", "image", b.integers(1, 2), axis=1)
    (part,) = picked(b, sequence, 0)
    whole = b.op("ConcatFromSequence", sequence, axis=1)
    untouched(sequence_model(b, part, whole, channels=[1, 3]))


def test_sequences_that_are_counted_stay() -> None:
    b = Builder()
    sequence = b.op("SplitToSequence", "image", b.integers(1, 2), axis=1)
    (part,) = picked(b, sequence, 0)
    count = b.op("Cast", b.op("SequenceLength", sequence), to=TensorProto.FLOAT)
    untouched(sequence_model(b, b.op("Mul", part, count)))


def test_sequences_that_a_branch_picks_from_stay() -> None:
    b = Builder()
    sequence = b.op("SplitToSequence", "image", b.integers(1, 1, 1), axis=1)
    (part,) = picked(b, sequence, 0)
    inner = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1, 1, 32, 32])
    node = helper.make_node("SequenceAt", [sequence, b.weight(1, np.int64)], ["inner"])
    branch = helper.make_graph([node], "branch", [], [inner])
    chosen = b.op("If", b.weight(True, bool), then_branch=branch, else_branch=branch)
    untouched(sequence_model(b, part, chosen))


def test_sequences_that_are_outputs_stay() -> None:
    b = Builder()
    sequence = b.op("SplitToSequence", "image", b.integers(1, 2), axis=1)
    (part,) = picked(b, sequence, 0)
    model = sequence_model(b, part)
    model.graph.output.append(helper.make_tensor_sequence_value_info(sequence, TensorProto.FLOAT, None))
    expected = kinds(model)
    assert kinds(normalize(model)) == expected


@pytest.mark.parametrize("place", [2, -3])
def test_places_outside_the_sequence_are_left_to_whoever_runs_it(place: int) -> None:
    b = Builder()
    parts = picked(b, b.op("SplitToSequence", "image", b.integers(1, 2), axis=1), place)
    assert kinds(normalize(sequence_model(b, *parts))) == ["SplitToSequence", "SequenceAt"]


def test_places_that_depend_on_the_image_stay() -> None:
    b = Builder()
    sequence = b.op("SplitToSequence", "image", b.integers(1, 1, 1), axis=1)
    mean = b.op("ReduceMax", "image", axes=[0, 1, 2, 3], keepdims=0)
    part = b.op("SequenceAt", sequence, b.op("Cast", b.op("Floor", mean), to=TensorProto.INT64))
    untouched(sequence_model(b, part))


def test_sequences_without_sizes_stay() -> None:
    """Without sizes every part has one element, and the axis is gone if `keepdims` says so."""
    b = Builder()
    sequence = b.op("SplitToSequence", "image", axis=1, keepdims=0)
    model = b.model((picked(b, sequence, 1)[0], [1, 32, 32]))
    untouched(model)


def test_a_head_behind_a_sequence_is_cut(tmp_path: Path) -> None:
    """`chunk` of boxes and scores, written as a sequence: the walk goes through it."""
    b = Builder()
    flat = b.op("Concat", b.reshape(b.conv("image", 3, 4, 8, "a"), 1, 4, -1), axis=2)
    low, high = picked(b, b.op("SplitToSequence", flat, b.weight(2, np.int64), axis=1), 0, 1)
    b.op("Concat", b.op("Sigmoid", low), b.op("Sigmoid", high), axis=1, name="output0")
    path = save(b.model("output0", document=document(hint(("scores", 0, 4)))), tmp_path)
    assert [(e.tensor, e.activation) for e in split(path).endpoints] == [("a", "sigmoid")]
