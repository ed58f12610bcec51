"""Graphs made to hurt: each ends in an `InputError`, or in a cut, within seconds; nothing else, and nothing is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from build_rules.errors import InputError
from build_rules.graph import split_model
from build_rules.records.choices import AUTOMATIC, SplitChoice
from tests.graph.graphs import CLASSES, Builder, detection, save

SECONDS = 20
QUICK = SplitChoice(prove=False)
CONTENT = detection().SerializeToString()


def attempt(path: Path, choice: SplitChoice = AUTOMATIC) -> str:
    """Return the error, empty when there was none."""
    started = time.monotonic()
    try:
        split_model(path, "m", path.with_suffix(".cut"), choice)
        message = ""
    except InputError as error:
        message = str(error)
    assert time.monotonic() - started < SECONDS
    assert {file.name for file in path.parent.iterdir()} <= {path.name, path.with_suffix(".cut").name}
    return message


def scores(b: Builder, name: str, cells: int = 16, classes: int = CLASSES) -> onnx.ModelProto:
    b.op("Sigmoid", b.reshape(name, 1, classes, cells), name="output0")
    return b.model(("output0", [1, classes, cells]))


def doubling_functions() -> onnx.ModelProto:
    model = detection()
    model.opset_import.append(helper.make_opsetid("f", 1))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    for level in range(40):
        kind, domain = (f"F{level - 1}", "f") if level else ("Identity", "")
        calls = [helper.make_node(kind, [x], [y], domain=domain) for x, y in (("x", "t"), ("t", "y"))]
        model.functions.append(helper.make_function("f", f"F{level}", ["x"], ["y"], calls, opsets))
    model.graph.node.append(helper.make_node("F39", ["output0"], ["more"], domain="f"))
    return model


def calling_itself() -> onnx.ModelProto:
    model = detection()
    model.opset_import.append(helper.make_opsetid("f", 1))
    call = helper.make_node("F", ["x"], ["y"], domain="f")
    model.functions.append(helper.make_function("f", "F", ["x"], ["y"], [call], [helper.make_opsetid("f", 1)]))
    return model


def many_nodes() -> onnx.ModelProto:
    b = Builder()
    name = b.conv("image", 3, CLASSES, 8)
    for _ in range(120_000):
        name = b.op("Identity", name)
    return scores(b, name)


def endless_loop() -> onnx.ModelProto:
    b = Builder()
    state: tuple[tuple[str, int, list[int]], ...] = (("i", 7, []), ("c", 9, []), ("v", 1, [1, CLASSES, 4, 4]))
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in state],
        [helper.make_tensor_value_info("d", 9, []), helper.make_tensor_value_info("w", 1, [1, CLASSES, 4, 4])],
    )
    conv = b.conv("image", 3, CLASSES, 8)
    return scores(b, b.op("Loop", b.weight(1 << 40, np.int64), b.weight(True, bool), conv, body=body))


def huge_tail() -> onnx.ModelProto:
    b = Builder()
    conv = b.reshape(b.conv("image", 3, CLASSES, 8), 1, CLASSES, 16, 1)
    big = b.op("Expand", conv, b.integers(1, CLASSES, 16, 1 << 38))
    b.op("Sigmoid", b.op("ReduceMax", big, axes=[3], keepdims=0), name="output0")
    return b.model(("output0", [1, CLASSES, 16]))


def huge_constant() -> onnx.ModelProto:
    b = Builder()
    big = b.op("ReduceMax", b.op("ConstantOfShape", b.integers(1 << 40)), keepdims=1, axes=[0])
    return scores(b, b.op("Add", b.conv("image", 3, CLASSES, 8), big))


def many_ways() -> onnx.ModelProto:
    b = Builder()
    name = b.reshape(b.conv("image", 3, CLASSES, 8), 1, CLASSES, 16)
    for _ in range(60):
        name = b.op("Add", name, name)
    b.op("Sigmoid", name, name="output0")
    return b.model(("output0", [1, CLASSES, 16]))


def many_channels() -> onnx.ModelProto:
    b = Builder()
    name = b.reshape(b.conv(b.conv("image", 3, 2, 32), 2, 50_000, 1), 1, 50_000, 1)
    for _ in range(200):
        name = b.op("Identity", name)
    b.op("Sigmoid", name, name="output0")
    return b.model(("output0", [1, 50_000, 1]))


def wrong_data() -> onnx.ModelProto:
    model = detection()
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([1 << 40, 1 << 40])
    return model


def unknown_type() -> onnx.ModelProto:
    model = detection()
    model.graph.initializer[0].data_type = 99
    return model


def produced_and_stored() -> onnx.ModelProto:
    model = detection()
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, dtype=np.float32), "box_map_8"))
    return model


REFUSED = [
    doubling_functions,
    calling_itself,
    many_nodes,
    endless_loop,
    huge_tail,
    many_channels,
    wrong_data,
    unknown_type,
    produced_and_stored,
]


@pytest.mark.parametrize("make", REFUSED)
def test_is_refused_in_time(tmp_path: Path, make: Callable[[], onnx.ModelProto]) -> None:
    assert attempt(save(make(), tmp_path))


@pytest.mark.parametrize("make", [huge_constant, many_ways])
def test_ends_in_time(tmp_path: Path, make: Callable[[], onnx.ModelProto]) -> None:
    attempt(save(make(), tmp_path), QUICK)


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Transpose", ["box_map_8"], ["x"], perm=[0, 1]),
        helper.make_node("Concat", ["box_map_8"], ["x"], axis=9),
        helper.make_node("Softmax", ["box_map_8"], ["x"], axis=99),
        helper.make_node("Split", ["box_map_8"], ["x"], axis=99),
        helper.make_node("Flatten", ["box_map_8"], ["x"], axis=-99),
    ],
    ids=lambda node: str(node.op_type),
)
def test_attributes_that_fit_nothing(tmp_path: Path, node: onnx.NodeProto) -> None:
    model = detection(metadata=None)
    model.graph.node.append(node)
    model.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 4, 4]))
    assert attempt(save(model, tmp_path))


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    changes=st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 255)), max_size=4),
    end=st.integers(0, len(CONTENT)) | st.just(len(CONTENT)),
)
def test_damaged_files(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], end: int) -> None:
    content = bytearray(CONTENT)
    for place, value in changes:
        content[place] = value
    path = tmp_path_factory.mktemp("damaged") / "model.onnx"
    path.write_bytes(content[:end])
    attempt(path)
