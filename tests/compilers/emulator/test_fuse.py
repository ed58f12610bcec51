"""What each operator becomes on the device: kind, counter, and what is fused with it; every entry of the tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from build_rules.compilers.emulator.fuse import Layer, fuse_layers
from build_rules.compilers.emulator.graph import read_graph
from tests.compilers.nets import SIZE, Net


def layers_of(net: Net, *outputs: str, opset: int = 17) -> list[Layer]:
    source = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    values = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(net.nodes, "net", [source], values, net.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return list(fuse_layers(read_graph(onnx.shape_inference.infer_shapes(model), outputs), "net"))


ACTIVATIONS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "Relu": ("relu", 17, {}),
    "LeakyRelu": ("leaky", 17, {"alpha": 0.1}),
    "Sigmoid": ("sigmoid", 17, {}),
    "HardSigmoid": ("hardsigmoid", 17, {}),
    "HardSwish": ("hardswish", 17, {}),
    "Clip": ("clip", 17, {}),
    "Elu": ("elu", 17, {}),
    "Tanh": ("tanh", 17, {}),
    "Softplus": ("softplus", 17, {}),
    "Mish": ("mish", 18, {}),
    "Gelu": ("gelu", 20, {}),
    "Swish": ("swish", 24, {}),
}


@pytest.mark.parametrize("operator", ACTIVATIONS)
def test_an_activation_is_fused_with_what_comes_before(operator: str) -> None:
    name, opset, attributes = ACTIVATIONS[operator]
    net = Net()
    conv = net.conv("images", (3, 4))
    (layer,) = layers_of(net, net.op(operator, conv, **attributes), opset=opset)
    assert (layer.name, layer.kind, layer.activation, layer.raw) == ("net/conv1", "conv", name, conv)


def test_an_activation_with_slopes_of_its_own() -> None:
    net = Net()
    conv = net.conv("images", (3, 4))
    (layer,) = layers_of(net, net.op("PRelu", conv, net.constant(np.full((4, 1, 1), 0.1))))
    assert layer.activation == "prelu"


@pytest.mark.parametrize("operator", ACTIVATIONS)
def test_an_activation_of_the_image_is_a_layer(operator: str) -> None:
    name, opset, attributes = ACTIVATIONS[operator]
    net = Net()
    (layer,) = layers_of(net, net.op(operator, "images", **attributes), opset=opset)
    assert (layer.name, layer.kind, layer.activation) == ("net/activation1", "activation", name)


GATES = {"silu": ("Sigmoid",), "hardswish": ("HardSigmoid",), "mish": ("Softplus", "Tanh")}


@pytest.mark.parametrize("name", GATES)
def test_a_gate_is_one_activation(name: str) -> None:
    net = Net()
    conv = value = net.conv("images", (3, 4))
    for operator in GATES[name]:
        value = net.op(operator, value)
    (layer,) = layers_of(net, net.op("Mul", conv, value))
    assert (layer.activation, layer.raw, len(layer.nodes)) == (name, conv, 2 + len(GATES[name]))


@pytest.mark.parametrize("chain", [("Tanh",), ("Tanh", "Softplus"), ("Sigmoid", "Tanh")])
def test_other_products_are_no_gate(chain: tuple[str, ...]) -> None:
    net = Net()
    conv = value = net.conv("images", (3, 4))
    for operator in chain:
        value = net.op(operator, value)
    layers = layers_of(net, net.op("Mul", conv, value))
    assert [layer.kind for layer in layers][:: len(layers) - 1] == ["conv", "ew_mult"]
    assert layers[0].activation == "linear"


def test_a_gate_whose_inside_is_seen_by_others_is_none() -> None:
    net = Net()
    conv = net.conv("images", (3, 4))
    inside = net.op("Sigmoid", conv)
    layers = layers_of(net, net.op("Mul", conv, inside), inside)
    assert [layer.kind for layer in layers] == ["conv", "activation", "ew_mult"]


def half(net: Net, axis: int) -> str:
    sizes = [2, 2] if axis == 1 else [16, 16]
    made: str = net.op("Split", net.conv("images", (3, 4)), net.constant(sizes, np.int64), outputs=2, axis=axis)[0]
    return made


def numbers(net: Net, *values: int) -> str:
    return net.constant(values, np.int64)


def after_a_map(operator: str, *inputs: Callable[[Net], str], **attributes: Any) -> Callable[[Net], str]:
    def make(net: Net) -> str:
        conv = net.conv("images", (3, 4))
        made: str = net.op(operator, conv, *(one(net) for one in inputs), **attributes)
        return made

    return make


def twice(operator: str) -> Callable[[Net], str]:
    def make(net: Net) -> str:
        conv = net.conv("images", (3, 4))
        made: str = net.op(operator, conv, conv)
        return made

    return make


def multiplied(net: Net) -> str:
    conv = net.conv("images", (3, 4))
    made: str = net.op("MatMul", conv, net.op("Transpose", conv, perm=[0, 1, 3, 2]))
    return made


def dense(net: Net) -> str:
    flat = net.op("Flatten", net.conv("images", (3, 4)))
    made: str = net.op("Gemm", flat, net.constant(np.ones((4 * SIZE * SIZE, 2))))
    return made


KERNEL = {"kernel_shape": [2, 2], "strides": [2, 2]}
KINDS: dict[str, tuple[str, Callable[[Net], str]]] = {
    "convolution": ("conv", lambda net: net.conv("images", (3, 4))),
    "depthwise": ("dw", lambda net: net.conv("images", (3, 3), group=3)),
    "transposed": ("deconv", after_a_map("ConvTranspose", lambda net: net.constant(np.ones((4, 4, 2, 2))), **KERNEL)),
    "dense": ("dense", dense),
    "product of two": ("matmul", multiplied),
    "largest": ("maxpool", after_a_map("MaxPool", **KERNEL)),
    "mean": ("avgpool", after_a_map("AveragePool", **KERNEL)),
    "mean of all": ("avgpool", after_a_map("GlobalAveragePool")),
    "largest of all": ("maxpool", after_a_map("GlobalMaxPool")),
    "softmax": ("softmax", after_a_map("Softmax", axis=1)),
    "slice": ("slice", after_a_map("Slice", *(lambda net, n=n: numbers(net, n) for n in (0, 8, 2)))),
    "reshape": ("format_conversion", after_a_map("Reshape", lambda net: numbers(net, 1, 4, -1))),
    "transpose": ("format_conversion", after_a_map("Transpose", perm=[0, 1, 3, 2])),
    "flatten": ("format_conversion", after_a_map("Flatten")),
    "unsqueeze": ("format_conversion", after_a_map("Unsqueeze", lambda net: numbers(net, 0))),
    "squeeze": ("format_conversion", after_a_map("Squeeze", lambda net: numbers(net, 0))),
    "channels into pixels": ("depth_to_space", after_a_map("DepthToSpace", blocksize=2)),
    "pixels into channels": ("space_to_depth", after_a_map("SpaceToDepth", blocksize=2)),
    "resize": ("resize", after_a_map("Resize", lambda net: "", lambda net: net.constant([1, 1, 2, 2]))),
    "concatenation": ("concat", lambda net: str(net.op("Concat", net.conv("images", (3, 4)), "images", axis=1))),
    "sum": ("ew_add", twice("Add")),
    "difference": ("ew_sub", twice("Sub")),
    "product": ("ew_mult", twice("Mul")),
    "quotient": ("ew_div", twice("Div")),
    "by a constant": ("normalization", after_a_map("Mul", lambda net: net.constant(2.0))),
    "channels apart": ("feature_splitter", lambda net: half(net, 1)),
    "rows apart": ("spatial_splitter", lambda net: half(net, 2)),
    "nothing": ("shortcut", lambda net: str(net.op("Identity", "images"))),
    "nothing in use": ("shortcut", lambda net: str(net.op("Dropout", "images"))),
}


@pytest.mark.parametrize("case", KINDS)
def test_the_kind_of_an_operator(case: str) -> None:
    kind, make = KINDS[case]
    net = Net()
    layers = layers_of(net, make(net))
    counter = {"dense": "fc"}.get(kind, kind)
    assert (layers[-1].kind, layers[-1].name) == (kind, f"net/{counter}1")


def test_layers_of_a_kind_are_counted() -> None:
    net = Net()
    first = net.conv("images", (3, 4))
    second = net.op("Add", first, net.conv(first, (4, 4)))
    names = [layer.name for layer in layers_of(net, net.op("Add", second, first))]
    assert names == ["net/conv1", "net/conv2", "net/ew_add1", "net/ew_add2"]
