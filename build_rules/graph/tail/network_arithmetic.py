"""Arithmetic that belongs to the network although it looks like decoding.

An activation written out as a product (SiLU: x * sigmoid(x)), and a per-channel scale or offset right after a
convolution (an unfused batch normalization, a learned scale), which the compiler folds into it.
"""

from __future__ import annotations

import numpy as np
import onnx

from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.tail.layout import SAME
from build_rules.records.roles import SIGMOID, SOFTMAX, TANH

__all__ = ["ACTIVATIONS", "NETWORK_UNARY", "is_folded", "is_gate"]

ACTIVATIONS = {"Sigmoid": SIGMOID, "Softmax": SOFTMAX, "Tanh": TANH}
"""Operators that may follow a cut."""
NETWORK_UNARY = ("Relu", "LeakyRelu", "Clip", "HardSwish", "HardSigmoid", "Elu", "Softplus")
FOLDABLE = ("Add", "Sub", "Mul", "Div")
LAYERS = ("Conv", "ConvTranspose", "BatchNormalization")
GATES = ("Sigmoid", "Tanh")
GATE_LENGTH = 3
"""Operators in the longest gate: x * tanh(softplus(x)) has two."""


def is_gate(view: GraphView, node: onnx.NodeProto) -> bool:
    """Say whether the node is x * f(x), an activation of the network such as SiLU or Mish."""
    if node.op_type != "Mul" or len(node.input) != 2:
        return False
    for gated, gate in (tuple(node.input), tuple(node.input)[::-1]):
        name = gate
        for _ in range(GATE_LENGTH):
            producer = view.producer(name)
            if producer is None or producer.op_type not in (*GATES, *NETWORK_UNARY, *SAME):
                break
            name = producer.input[0]
            if name == gated:
                return True
    return False


def is_folded(view: GraphView, tensor: str) -> bool:
    """Say whether the tensor is a convolution followed by nothing but per-channel scales and offsets."""
    name = tensor
    while (node := view.producer(name)) is not None and node.op_type in FOLDABLE:
        data = [source for source in node.input if source in view.image_tensors]
        if len(data) != 1 or (node.op_type in ("Sub", "Div") and data[0] != node.input[0]):
            return False
        if not _is_per_channel(view, node, next((s for s in node.input if s != data[0]), "")):
            return False
        name = data[0]
    return name != tensor and node is not None and node.op_type in LAYERS


def _is_per_channel(view: GraphView, node: onnx.NodeProto, constant: str) -> bool:
    shape = view.shapes.get(constant)
    if shape is None or any(size != 1 for size in (*shape[:-3], *shape[-2:])):
        return False
    value = view.constant(constant)
    # A product with the stride itself turns grid units into pixels: that is decoding.
    is_stride = node.op_type == "Mul" and value is not None and bool(np.all(value == view.stride(node.output[0])))
    return not is_stride
