"""A graph is not run when it would take hours or all memory: multiplications and values are counted before."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

from build_rules.errors import InputError
from build_rules.graph.prove import run_limits
from build_rules.graph.prove.run_limits import check_runnable
from tests.graph.graphs import CLASSES, Builder, view_of

CONV = 2 * 4 * 4 * (3 * 8 * 8)
"""The products of the first convolution: two channels of 4x4 cells, three channels of 8x8 pixels each."""


def matmul(b: Builder) -> str:
    return b.op("MatMul", b.reshape("map", 1, 2, 16), b.weight(b.random.random((16, 5))))


def einsum(b: Builder) -> str:
    return b.op("Einsum", "map", b.weight(b.random.random((2, 7))), equation="bchw,ck->bkhw")


def transposed(b: Builder) -> str:
    return b.op("ConvTranspose", "map", b.weight(b.random.random((2, 3, 2, 2))), strides=[2, 2], kernel_shape=[2, 2])


def pool(b: Builder) -> str:
    return b.op("MaxPool", "map", kernel_shape=[3, 3], pads=[1, 1, 1, 1])


@pytest.mark.parametrize(
    ("operator", "products"),
    [
        (matmul, 2 * 5 * 16),
        (einsum, 2 * 7 * 4 * 4),
        (transposed, 2 * 4 * 4 * (3 * 2 * 2)),
        (pool, 2 * 4 * 4 * (3 * 3)),
    ],
)
def test_multiplications_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: Callable[[Builder], str], products: int
) -> None:
    b = Builder()
    b.conv("image", 3, 2, 8, "map")
    view = view_of(b.model(operator(b)), tmp_path)
    monkeypatch.setattr(run_limits, "MAX_PRODUCTS", CONV + products)
    check_runnable(view)
    monkeypatch.setattr(run_limits, "MAX_PRODUCTS", CONV + products - 1)
    with pytest.raises(InputError, match=f"needs {CONV + products} multiplications.*proof = false"):
        check_runnable(view)
    check_runnable(view, given=["map"])


OUTPUT = [1, 2, 4, 4]
MAP = 2 * 4 * 4
"""The values of the map that the convolution makes."""


@pytest.mark.parametrize(
    ("limit", "values"),
    [
        # The map, what is added to it (twice the map) and the sum of both; the sum is made while both are needed.
        ("MAX_ELEMENTS", MAP + 2 * MAP + 2 * MAP),
        ("MAX_LIVE", MAP + 2 * MAP + 2 * MAP),
    ],
)
def test_values_are_counted_up_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, values: int
) -> None:
    b = Builder()
    b.conv("image", 3, 2, 8, "map")
    wide = b.op("Expand", "map", b.integers(2, 2, 4, 4))
    view = view_of(b.model(b.op("Add", "map", wide)), tmp_path)
    monkeypatch.setattr(run_limits, limit, values)
    check_runnable(view)
    monkeypatch.setattr(run_limits, limit, values - 1)
    with pytest.raises(InputError, match=rf"computes {values} values for one image and holds {values} of them"):
        check_runnable(view)


def test_what_is_not_needed_any_more_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a chain two neighbours are in use at one time; of a branch what it begins with until it has ended."""
    b = Builder()
    name = b.conv("image", 3, 2, 8, "map")
    for _ in range(5):
        name = b.op("Relu", name)
    chain = view_of(b.model(name), tmp_path)
    b.op("Add", name, "map", name="sum")
    loop = view_of(b.model("sum"), tmp_path)
    for view, held in ((chain, 2 * MAP), (loop, 3 * MAP)):
        monkeypatch.setattr(run_limits, "MAX_LIVE", held)
        check_runnable(view)
        monkeypatch.setattr(run_limits, "MAX_LIVE", held - 1)
        with pytest.raises(InputError, match=f"holds {held} of them at one time"):
            check_runnable(view)


AS_LARGE: dict[str, Callable[[Builder, str], str]] = {
    "Reshape": lambda b, x: b.reshape(x, 2, -1),
    "Flatten": lambda b, x: b.op("Flatten", x),
    "Squeeze": lambda b, x: b.op("Squeeze", x),
    "Unsqueeze": lambda b, x: b.op("Unsqueeze", x, b.integers(0)),
    "Transpose": lambda b, x: b.op("Transpose", x),
    "Identity": lambda b, x: b.op("Identity", x),
    "Cast": lambda b, x: b.op("Cast", x, to=TensorProto.FLOAT),
    "Dropout": lambda b, x: b.op("Dropout", x),
}


@pytest.mark.parametrize("operator", [*AS_LARGE, "Relu"])
def test_operators_whose_output_is_as_large_as_their_input(tmp_path: Path, operator: str) -> None:
    """Where nothing tells a shape, they still tell a size; others may make more of what they read."""
    b = Builder()
    b.conv("image", 3, 2, 8, "map")
    untold = b.op("Reshape", "map", b.op("ReduceMax", b.weight(np.arange(70_000), np.int64), axes=[0], keepdims=1))
    result = AS_LARGE[operator](b, untold) if operator in AS_LARGE else b.op(operator, untold)
    b.op("Add", "map", b.reshape(result, *OUTPUT), name="output0")
    view = view_of(b.model(("output0", OUTPUT)), tmp_path)
    if operator in AS_LARGE:
        check_runnable(view)
    else:
        with pytest.raises(InputError, match=rf"not tell \(node '.*', {operator}\)"):
            check_runnable(view)


# Sizes that are hidden from who looks at the main graph alone.

HUGE = 1 << 34


def number(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])


def reduced(source: str, result: str) -> onnx.NodeProto:
    return helper.make_node("ReduceMax", [source], [result], axes=[0], keepdims=1)


def branch(name: str, *nodes: onnx.NodeProto, **stored: Any) -> onnx.GraphProto:
    weights = [from_array(np.asarray(value), key) for key, value in stored.items()]
    return helper.make_graph(list(nodes), name, [], [number(f"{name}_out")], weights)


def small(name: str) -> onnx.GraphProto:
    value = from_array(np.zeros(1, np.float32))
    return branch(name, helper.make_node("Constant", [], [f"{name}_out"], value=value))


def expanding(name: str, size: int = HUGE) -> onnx.GraphProto:
    expand = helper.make_node("Expand", [f"{name}_x", f"{name}_s"], [f"{name}_big"])
    stored = {f"{name}_x": np.zeros(1, np.float32), f"{name}_s": np.array([size])}
    return branch(name, expand, reduced(f"{name}_big", f"{name}_out"), **stored)


def branching(b: Builder, graph: onnx.GraphProto) -> str:
    return b.op("If", b.weight(True, np.bool_), then_branch=graph, else_branch=small("else"))


def in_a_branch(b: Builder) -> str:
    return branching(b, expanding("then"))


def in_a_branch_of_a_branch(b: Builder) -> str:
    choice = helper.make_node("If", ["c"], ["outer_out"], then_branch=small("else2"), else_branch=expanding("inner"))
    return branching(b, branch("outer", choice, c=True))


def by_a_number_around_the_branch(b: Builder) -> str:
    size = b.integers(HUGE)
    expand = helper.make_node("Expand", ["x", size], ["big"])
    return branching(b, branch("then", expand, reduced("big", "then_out"), x=np.zeros(1, np.float32)))


def by_a_number_that_nothing_tells(b: Builder) -> str:
    """The largest of more numbers than are looked at."""
    many = b.weight(np.arange(70_000), np.int64)
    largest = b.op("ReduceMax", many, axes=[0], keepdims=1)
    return b.op("ReduceMax", b.op("ConstantOfShape", largest), axes=[0], keepdims=1)


def by_a_range_that_nothing_tells(b: Builder) -> str:
    many = b.op("Pad", b.weight(np.arange(70_000), np.float32), b.integers(0, 1))
    end = b.op("ReduceMax", many, axes=[0], keepdims=0)
    return b.op("ReduceMax", b.op("Range", b.weight(0.0), end, b.weight(1.0)), axes=[0], keepdims=1)


def tiled(b: Builder) -> str:
    return b.op("ReduceMax", b.op("Tile", b.weight([0.0]), b.integers(HUGE)), axes=[0], keepdims=1)


def resized(b: Builder) -> str:
    sizes = b.integers(1, 2, 1 << 17, 1 << 17)
    return b.op("ReduceMax", b.op("Resize", "map", "", "", sizes), axes=[2, 3], keepdims=1)


def padded(b: Builder) -> str:
    wide = b.op("Pad", "map", b.integers(0, 0, 0, 0, 0, 0, 1 << 16, 1 << 16))
    return b.op("ReduceMax", wide, axes=[2, 3], keepdims=1)


def stored_sparsely(b: Builder) -> str:
    values, places = from_array(np.ones(1, np.float32)), from_array(np.array([3]))
    sparse = helper.make_sparse_tensor(values, places, [HUGE])
    return b.op("ReduceMax", b.op("Constant", sparse_value=sparse), axes=[0], keepdims=1)


def of_another_domain(b: Builder) -> str:
    """An operator that inference knows nothing of."""
    found = b.op("Range", b.weight(0.0), b.weight(float(HUGE)), b.weight(1.0), domain="com.microsoft")
    return b.op("ReduceMax", found, axes=[0], keepdims=1)


def text(b: Builder) -> str:
    name = b.weight(np.array(["x"], object), object)
    for _ in range(40):
        name = b.op("StringConcat", name, name)
    return b.op("Cast", b.op("Equal", name, name), to=TensorProto.FLOAT)


def regions(b: Builder) -> str:
    boxes = b.weight([[0, 0, 1e9, 1e9]])
    found = b.op("RoiAlign", "map", boxes, b.integers(0), output_height=1, output_width=1, sampling_ratio=0)
    return b.reshape(b.op("ReduceMax", found, axes=[1], keepdims=1), 1)


def scored(b: Builder) -> str:
    queries = b.op("Expand", b.weight(np.zeros((1, 1, 1, 8))), b.integers(1, 1, 1 << 17, 8))
    return b.op("ReduceMax", b.op("Attention", queries, queries, queries), axes=[2, 3], keepdims=1)


HIDDEN = [
    (in_a_branch, 17),
    (in_a_branch_of_a_branch, 17),
    (by_a_number_around_the_branch, 17),
    (by_a_number_that_nothing_tells, 17),
    (by_a_range_that_nothing_tells, 17),
    (tiled, 17),
    (resized, 17),
    (padded, 17),
    (stored_sparsely, 17),
    (of_another_domain, 17),
    (text, 20),
    (regions, 16),
    (scored, 23),
]


def added(operator: Callable[[Builder], str], opset: int) -> onnx.ModelProto:
    """A map to which something is added that has one value."""
    b = Builder(opset)
    b.conv("image", 3, 2, 8, "map")
    if opset >= 18:  # since then the axes of a reduction are an input
        plain = b.op

        def op(kind: str, *inputs: str, **attributes: Any) -> str:
            if kind.startswith("Reduce"):
                inputs = (*inputs, b.integers(*attributes.pop("axes")))
            return plain(kind, *inputs, **attributes)

        b.op = op  # type: ignore[method-assign]
    b.op("Add", "map", operator(b), name="output0")
    model = b.model(("output0", OUTPUT))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


@pytest.mark.parametrize(("operator", "opset"), HIDDEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_hidden_size_is_refused_at_once(tmp_path: Path, operator: Callable[[Builder], str], opset: int) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match=r"too many to be run here|not tell \(node '"):
        check_runnable(view_of(added(operator, opset), tmp_path))
    assert time.monotonic() - started < 2


def test_small_branches_are_run(tmp_path: Path) -> None:
    check_runnable(view_of(added(lambda b: branching(b, expanding("then", 8)), 17), tmp_path))


def test_branches_without_number_are_refused_at_once(tmp_path: Path) -> None:
    b = Builder()
    b.conv("image", 3, 2, 8, "map")
    condition = b.weight(True, np.bool_)
    for index in range(1001):
        b.op("If", condition, then_branch=small(f"then{index}"), else_branch=small(f"else{index}"))
    b.op("Sigmoid", "map", name="output0")
    started = time.monotonic()
    with pytest.raises(InputError, match=r"an If counts as 100"):
        view_of(b.model(("output0", OUTPUT)), tmp_path)
    assert time.monotonic() - started < 2


def test_empty_tensors_have_a_size(tmp_path: Path) -> None:
    b = Builder()
    b.conv("image", 3, 2, 8, "map")
    empty = b.op("ConstantOfShape", b.integers(0), value=from_array(np.zeros(1, np.float32)))
    b.op("Resize", "map", empty, b.weight([1, 1, 2, 2]), mode="nearest", name="output0")
    check_runnable(view_of(b.model("output0"), tmp_path))


def test_matrices_of_whole_numbers_are_counted(tmp_path: Path) -> None:
    def operator(b: Builder) -> str:
        square = b.op("Expand", b.weight([[0]], np.uint8), b.integers(1 << 13, 1 << 13))
        products = [b.op("MatMulInteger", square, square) for _ in range(3)]
        found = b.op("Cast", b.op("Max", *products), to=TensorProto.FLOAT)
        return b.reshape(b.op("ReduceMax", found, axes=[0, 1], keepdims=1), 1)

    with pytest.raises(InputError, match=r"needs 1649267\d+ multiplications"):
        check_runnable(view_of(added(operator, 17), tmp_path))


def test_constants_are_not_computed_by_slow_operators(tmp_path: Path) -> None:
    """The reference implementation takes a minute for each of these pools."""
    b = Builder()
    pool = b.weight(np.zeros((1, 1, 256, 256)))
    for _ in range(20):
        pool = b.op("MaxPool", pool, kernel_shape=[101, 101], pads=[50] * 4)
    size = b.op("Cast", b.reshape(b.op("ReduceMax", pool, axes=[2, 3]), 1), to=TensorProto.INT64)
    shape = b.op("Concat", b.integers(1, CLASSES, 16), b.op("Add", size, b.integers(1)), axis=0)
    b.op("Reshape", b.conv("image", 3, CLASSES, 8, "map"), shape, name="output0")
    started = time.monotonic()
    view_of(b.model(("output0", [1, CLASSES, 16, 1])), tmp_path)
    assert time.monotonic() - started < 2
