"""What one node needs besides its outputs: multiplications, and room for values that no tensor of the graph holds.

Operators as in the ONNX specification (https://onnx.ai/onnx/operators); the room is what onnxruntime's kernels take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import onnx

from build_rules.graph.load.shapes import Shapes

__all__ = ["products_of", "room_of"]

CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "DeformConv": 1, "QLinearConv": 3}
"""Which input holds the weights."""
MATRICES = ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul")
POOLS = ("MaxPool", "AveragePool", "LpPool")
RECURRENT = ("RNN", "LSTM", "GRU")
TRANSFORMS = ("DFT", "STFT", "Det")
Sizes = Sequence[tuple[int, ...]]


def products_of(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Return about how many products of two numbers a node computes, if they are more than its values."""
    inputs = [shapes.get(name, ()) for name in node.input]
    kind, size = node.op_type, prod(shapes.get(node.output[0], ()))
    if kind in CONVOLUTIONS:
        return size * prod(inputs[CONVOLUTIONS[kind]][1:])
    if kind == "ConvTranspose":
        return prod(inputs[0]) * prod(inputs[1][1:])
    if kind in MATRICES and inputs[0]:
        return size * max(inputs[0][-2:])
    if kind in POOLS:
        return size * prod(map(int, _attributes(node).get("kernel_shape", ())))
    if kind == "LRN":
        return size * int(_attributes(node).get("size", 1))
    if kind == "RoiAlign":
        return size * int(_attributes(node).get("sampling_ratio", 0)) ** 2
    if kind == "Einsum":
        return _einsum_products(node, inputs)
    if kind in RECURRENT:
        return prod(inputs[0][:2]) * (prod(inputs[1]) + prod(inputs[2]))
    if kind in TRANSFORMS:
        return prod(inputs[0]) * max(inputs[0], default=1)
    if kind == "Attention":
        return 2 * _attention_scores(node, inputs) * (inputs[0][-1] if inputs[0] else 1)
    return 0


def room_of(node: onnx.NodeProto, shapes: Shapes, types: Mapping[str, int]) -> int:
    """Return about how many values a node holds while it computes, besides its inputs and outputs."""
    inputs = [shapes.get(name, ()) for name in node.input]
    kind = node.op_type
    if kind in CONVOLUTIONS and (kind != "Conv" or types.get(node.input[0]) != onnx.TensorProto.FLOAT):
        # All patches side by side; floats are multiplied where they lie.
        return prod(inputs[CONVOLUTIONS[kind]][1:]) * prod(shapes.get(node.output[0], ())[2:])
    if kind == "ConvTranspose":
        return prod(inputs[0][2:]) * prod(inputs[1][1:])
    if kind == "Einsum" and len(inputs) > 2:
        return _einsum_products(node, inputs)
    if kind == "Attention":
        return _attention_scores(node, inputs)
    return sum(prod(sparse.dims) for attribute in node.attribute for sparse in _sparse(attribute))


def _sparse(attribute: onnx.AttributeProto) -> list[onnx.SparseTensorProto]:
    return [*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []), *attribute.sparse_tensors]


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def _einsum_products(node: onnx.NodeProto, shapes: Sizes) -> int:
    equation = next((a.s.decode(errors="replace") for a in node.attribute if a.name == "equation"), "")
    terms = equation.split("->")[0].replace(" ", "").split(",")
    sizes = {letter: size for term, shape in zip(terms, shapes, strict=False) for letter, size in zip(term, shape)}  # noqa: B905
    return prod(sizes.values())


def _attention_scores(node: onnx.NodeProto, shapes: Sizes) -> int:
    """Return how many scores there are: of every query for every key, in every head."""
    query, key = shapes[0], shapes[1]
    if len(query) == len(key) == 4:
        return prod(query[:3]) * key[2]
    if len(query) == len(key) == 3:
        return prod(query[:2]) * key[1] * int(_attributes(node).get("q_num_heads", 1))
    return 0
