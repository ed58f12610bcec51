from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from build_rules.errors import InputError
from build_rules.graph.load.source import image_input, load_source
from tests.graph.graphs import Builder, detection, save


def image(*shape: int | str, kind: int = TensorProto.FLOAT) -> onnx.GraphProto:
    return helper.make_graph([], "g", [helper.make_tensor_value_info("x", kind, list(shape))], [])


@pytest.mark.parametrize(
    ("shape", "layout", "size"),
    [
        ((1, 3, 480, 640), "nchw", (480, 640, 3)),
        ((1, 1, 480, 640), "nchw", (480, 640, 1)),
        ((1, 4, 480, 640), "nchw", (480, 640, 4)),
        ((1, 480, 640, 3), "nhwc", (480, 640, 3)),
        ((4, 3, 480, 640), "nchw", (480, 640, 3)),
    ],
)
def test_image_input(shape: tuple[int, ...], layout: str, size: tuple[int, int, int]) -> None:
    found = image_input(image(*shape))
    assert found.layout == layout
    assert (found.height, found.width, found.channels) == size


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (image("batch", 3, "height", "width"), r"dynamic shape [batch, 3, height, width].*export with a static shape"),
        (image(1, 3, 0, 640), "dynamic shape"),
        (image(1000, 3, 640, 640), "export the model with batch 1"),
        (image(1, 3, 1 << 20, 1 << 20), "at most 16384 pixels a side"),
        (image(1, 12, 320, 320), "expected one image"),
        (image(1, 1000), "expected one image"),
        (image(1, 3, 8, 8, kind=TensorProto.INT64), "holds INT64"),
        (helper.make_graph([], "g", [], []), "found none"),
        (
            helper.make_graph([], "g", [*image(1, 3, 8, 8).input, helper.make_tensor_value_info("y", 1, [1])], []),
            "'x', 'y'",
        ),
    ],
)
def test_refuses_input(graph: onnx.GraphProto, message: str) -> None:
    with pytest.raises(InputError) as caught:
        image_input(graph)
    for part in message.split(".*"):
        assert part in str(caught.value)


def test_weights_listed_as_inputs_are_no_images(tmp_path: Path) -> None:
    model = detection()
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    assert load_source(save(model, tmp_path)).input.name == "image"


def _truncated(folder: Path) -> Path:
    path = save(detection(), folder)
    path.write_bytes(path.read_bytes()[:2000])
    return path


def _web_page(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(b"<!DOCTYPE html><html>404</html>")
    return path


def _empty(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.touch()
    return path


def _cycle(folder: Path) -> Path:
    b = Builder()
    b.op("Add", "image", "two", name="one")
    b.op("Identity", "one", name="two")
    return save(b.model(("two", [1, 3, 32, 32])), folder)


def _self_loop(folder: Path) -> Path:
    b = Builder()
    b.op("Add", "image", "one", name="one")
    return save(b.model(("one", [1, 3, 32, 32])), folder)


def _twice(folder: Path) -> Path:
    b = Builder()
    b.op("Identity", "image", name="one")
    b.op("Sigmoid", "image", name="one")
    return save(b.model(("one", [1, 3, 32, 32])), folder)


def _dangling(folder: Path) -> Path:
    b = Builder()
    b.op("Add", "image", "nothing", name="one")
    return save(b.model(("one", [1, 3, 32, 32])), folder)


def _unknown_operator(folder: Path) -> Path:
    b = Builder()
    b.op("Frobnicate", "image", name="one")
    return save(b.model(("one", [1, 3, 32, 32])), folder)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_truncated, "not a complete ONNX file"),
        (_web_page, "not a complete ONNX file"),
        (_empty, "it is empty"),
        (_cycle, "cycle through 'one', 'two'"),
        (_self_loop, "cycle through 'one'"),
        (_twice, "two nodes produce the tensor 'one'"),
        (_dangling, "reads 'nothing', which nothing produces"),
        (_unknown_operator, "does not pass the ONNX checker: No Op registered for Frobnicate"),
        (lambda folder: folder / "none.onnx", "cannot be read"),
    ],
)
def test_refuses_file(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_source(make(tmp_path))


def test_a_long_chain_costs_no_stack(tmp_path: Path) -> None:
    b = Builder()
    name = "image"
    for _ in range(20_000):
        name = b.op("Identity", name)
    model = b.model((name, [1, 3, 32, 32]))
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert load_source(save(model, tmp_path)).model.graph.node[-1].name == name
