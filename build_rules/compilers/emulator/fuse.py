"""Which ONNX nodes become one layer of the device, and what that layer is called.

The compiler fuses a convolution with the batch normalization and the activation that follow it, unless somebody
else uses the tensor in between. Constant folding and shape arithmetic never become layers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import onnx

from build_rules.compilers.emulator.graph import Graph, attribute

__all__ = ["WEIGHTED", "Layer", "fuse_layers", "original_names"]

WEIGHTED = ("conv", "dw", "deconv", "dense")
"""Kinds that have a kernel, quantized per output channel."""

PASSIVE_OPERATORS = frozenset({"Identity", "Dropout"})
ACTIVATIONS = {
    "Relu": "relu", "LeakyRelu": "leaky", "Sigmoid": "sigmoid", "HardSigmoid": "hardsigmoid", "HardSwish": "hardswish",
    "Clip": "clip", "PRelu": "prelu", "Elu": "elu", "Tanh": "tanh", "Gelu": "gelu", "Mish": "mish",
    "Softplus": "softplus", "Swish": "swish",
}  # fmt: skip
GATES = {("Sigmoid",): "silu", ("HardSigmoid",): "hardswish", ("Softplus", "Tanh"): "mish"}
KINDS = {
    "ConvTranspose": "deconv", "MaxPool": "maxpool", "AveragePool": "avgpool",
    "GlobalAveragePool": "avgpool", "GlobalMaxPool": "maxpool", "Concat": "concat", "Resize": "resize",
    "Upsample": "resize", "Softmax": "softmax", "Slice": "slice", "Reshape": "format_conversion",
    "Transpose": "format_conversion",
    "Flatten": "format_conversion", "Squeeze": "format_conversion", "Unsqueeze": "format_conversion",
    "DepthToSpace": "depth_to_space", "SpaceToDepth": "space_to_depth", "BatchNormalization": "batch_norm",
}  # fmt: skip
ELEMENTWISE = {"Add": "ew_add", "Mul": "ew_mult", "Sub": "ew_sub", "Div": "ew_div"}
COUNTERS = {"dense": "fc"}
FUSING = frozenset({"conv", "dw", "deconv", "dense", "ew_add", "ew_sub", "ew_mult", "ew_div", "batch_norm", "matmul"})


@dataclass(frozen=True)
class Layer:
    """One layer of the device: `nodes` are indices into `Graph.nodes`, the first is the operator it is named for.

    `raw` is the tensor before the fused activation; `inputs` and `outputs` are data tensors of the ONNX graph.
    """

    name: str
    kind: str
    nodes: tuple[int, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    raw: str
    activation: str


def fuse_layers(graph: Graph, net_name: str) -> tuple[Layer, ...]:
    """Group the nodes of `graph` into layers, in topological order, named `net_name/<kind><counter>`."""
    taken: set[int] = set()
    counters: Counter[str] = Counter()
    layers: list[Layer] = []
    for index in range(len(graph.nodes)):
        if index in taken:
            continue
        kind = _kind(graph, index)
        members, raw, activation = _grow(graph, index, kind)
        taken.update(members)
        prefix = COUNTERS.get(kind, kind)
        counters[prefix] += 1
        layers.append(
            Layer(
                name=f"{net_name}/{prefix}{counters[prefix]}",
                kind=kind,
                nodes=members,
                inputs=graph.data_inputs(index),
                outputs=tuple(filter(None, graph.nodes[members[-1]].output)),
                raw=raw,
                activation=activation,
            )
        )
    return tuple(layers)


def _kind(graph: Graph, index: int) -> str:
    node = graph.nodes[index]
    if node.op_type == "Conv":
        groups, channels = attribute(node, "group", 1), graph.shapes[node.input[0]][1]
        return "dw" if groups == channels > 1 else "conv"
    if node.op_type in ("MatMul", "Gemm"):
        return "dense" if node.input[1] in graph.constants else "matmul"
    if node.op_type == "Split":
        rank = len(graph.shapes[node.input[0]])
        return "feature_splitter" if attribute(node, "axis", 0) % rank == 1 else "spatial_splitter"
    if node.op_type in ELEMENTWISE:
        # One constant operand makes it an affine map of a single tensor, which the device does like a normalization.
        return ELEMENTWISE[node.op_type] if len(graph.data_inputs(index)) > 1 else "normalization"
    if node.op_type in ACTIVATIONS:
        return "activation"
    if node.op_type in PASSIVE_OPERATORS:
        return "shortcut"
    return KINDS.get(node.op_type, node.op_type.lower())


def _grow(graph: Graph, index: int, kind: str) -> tuple[tuple[int, ...], str, str]:
    members = [index]
    tensor = graph.nodes[index].output[0]
    activation = ACTIVATIONS.get(graph.nodes[index].op_type, "linear") if kind == "activation" else "linear"
    raw = tensor
    while tensor not in graph.outputs:
        joining, name = _follower(graph, tensor, kind, closed=activation != "linear", bare=len(members) == 1)
        if not joining:
            break
        members += joining
        tensor = graph.nodes[joining[-1]].output[0]
        if name != "linear":
            activation = name
        elif activation == "linear":
            raw = tensor
    return tuple(members), raw, activation


def _follower(graph: Graph, tensor: str, kind: str, *, closed: bool, bare: bool) -> tuple[list[int], str]:
    """Return the nodes that join the layer ending in `tensor`, and the activation they make (`linear` for none)."""
    users = graph.consumers.get(tensor, ())
    only = graph.nodes[users[0]] if len(users) == 1 else None
    if kind not in FUSING:
        return [], "linear"
    if only is not None and only.op_type in PASSIVE_OPERATORS:
        return [users[0]], "linear"
    if closed:
        return [], "linear"
    if only is not None and only.op_type == "BatchNormalization" and kind in WEIGHTED and bare:
        return [users[0]], "linear"
    if only is not None and only.op_type == "Add" and kind == "dense" and len(graph.data_inputs(users[0])) == 1:
        return [users[0]], "linear"
    if only is not None and only.op_type in ACTIVATIONS and graph.data_inputs(users[0]) == (tensor,):
        return [users[0]], ACTIVATIONS[only.op_type]
    return _gate(graph, tensor, users)


def _gate(graph: Graph, tensor: str, users: tuple[int, ...]) -> tuple[list[int], str]:
    """Recognize `x * f(x)` (SiLU and its kin), where nobody else sees `x` or `f(x)`."""
    products = [user for user in users if graph.nodes[user].op_type == "Mul"]
    if len(users) != 2 or len(products) != 1:
        return [], "linear"
    chain = [next(user for user in users if user != products[0])]
    while len(chain) <= 2:
        inner = graph.nodes[chain[-1]].output[0]
        following = graph.consumers.get(inner, ())
        if len(following) != 1 or inner in graph.outputs:
            return [], "linear"
        if following[0] == products[0]:
            name = GATES.get(tuple(graph.nodes[node].op_type for node in chain))
            return ([], "linear") if name is None else ([*chain, products[0]], name)
        chain.append(following[0])
    return [], "linear"


def original_names(graph: Graph, layer: Layer) -> tuple[str, ...]:
    """Return the names of the fused ONNX nodes; a node without a name is known by its output tensor."""
    return tuple(_node_name(graph.nodes[index]) for index in layer.nodes)


def _node_name(node: onnx.NodeProto) -> str:
    return node.name or node.output[0]
