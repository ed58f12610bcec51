from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from build_rules.graph.load.graph_view import view_graph
from build_rules.graph.load.source import load_source
from tests.graph.graphs import Builder, save, view_of


def test_strides_are_those_of_the_image(tmp_path: Path) -> None:
    b = Builder(image=(1, 3, 64, 32))
    square = b.conv("image", 3, 2, 8)
    uneven = b.op("MaxPool", square, kernel_shape=[2, 1], strides=[2, 1])
    flat = b.reshape(square, 1, 2, -1)
    view = view_of(b.model(uneven, flat), tmp_path)
    assert [view.stride(name) for name in (square, uneven, flat, "nothing")] == [8, None, None, None]


def test_values_of_constants(tmp_path: Path) -> None:
    b = Builder()
    conv = b.conv("image", 3, 6, 8)
    half = b.op("Div", b.op("Gather", b.op("Shape", conv), b.integers(1), axis=0), b.integers(2))
    view = view_of(b.model(b.op("Reshape", conv, b.op("Concat", half, b.integers(-1), axis=0))), tmp_path)
    value = view.constant(half)
    assert value is not None
    assert value.tolist() == [3]
    assert view.constant(conv) is None
    assert view.constant("nothing") is None


def test_shapes_that_hang_on_computed_constants(tmp_path: Path) -> None:
    b = Builder()
    conv = b.conv("image", 3, 6, 8)
    doubled = b.op("Mod", b.weight([7], np.int64), b.integers(5))  # shape inference does not follow Mod
    shape = b.op("Concat", doubled, b.integers(-1), axis=0)
    reshaped = b.op("Reshape", conv, shape)
    source = load_source(save(b.model((reshaped, [2, 48])), tmp_path))
    del source.model.graph.output[:]
    assert view_graph(source).shapes[reshaped] == (2, 48)


def test_what_the_file_claims_of_inner_tensors_is_not_believed(tmp_path: Path) -> None:
    b = Builder()
    inner = b.conv("image", 3, 6, 8)
    model = b.model(b.op("Sigmoid", inner))
    model.graph.value_info.append(onnx.helper.make_tensor_value_info(inner, 1, [1, 6, 400, 4]))
    assert view_of(model, tmp_path).shapes[inner] == (1, 6, 4, 4)


def test_large_constants_are_not_computed(tmp_path: Path) -> None:
    b = Builder()
    large = b.op("ConstantOfShape", b.integers(1, 1, 1 << 20, 1 << 20))
    b.op("Add", b.conv("image", 3, 1, 32), b.op("ReduceMax", large, keepdims=1), name="out")
    view = view_of(b.model(("out", [1, 1, 1, 1])), tmp_path)
    assert view.constant(large) is None
    assert view.constant(view.nodes[-1].input[1]) is None
