"""Where the attention blocks are: a product of two computed tensors, a softmax of it, a product of that.

Compilers need to treat these products apart: they have no weights that could be quantized per channel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import onnx

__all__ = ["find_attention"]

BETWEEN = ("Mul", "Div", "Add", "Sub", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Cast", "Identity", "Dropout")
MAX_BETWEEN = 8
"""Operators between a product and the softmax: scale, mask, casts, layout."""


def find_attention(nodes: Sequence[onnx.NodeProto]) -> tuple[str, ...]:
    """Return the names of all MatMul nodes of attention blocks, in the order of `nodes`."""
    computed = [node for node in nodes if node.op_type != "Constant"]
    producers = {name: node for node in computed for name in node.output}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in computed:
        for name in node.input:
            users.setdefault(name, []).append(node)

    def before(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        return [producers[name] for name in node.input if name in producers]

    def after(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        return [user for name in node.output for user in users.get(name, [])]

    found: set[str] = set()
    for node in computed:
        if node.op_type == "Softmax":
            scores, mixed = _products(node, before), _products(node, after)
            products = [product for product in (*scores, *mixed) if all(name in producers for name in product.input)]
            if scores and mixed and len(products) == len(scores) + len(mixed):
                found |= {product.name for product in products}
    return tuple(node.name for node in computed if node.name in found)


def _products(
    softmax: onnx.NodeProto, step: Callable[[onnx.NodeProto], Iterable[onnx.NodeProto]]
) -> list[onnx.NodeProto]:
    """Return the MatMul nodes that only few and simple operators separate from the softmax, one way."""
    found: dict[str, onnx.NodeProto] = {}
    layer = list(step(softmax))
    for _ in range(MAX_BETWEEN):
        found |= {node.name: node for node in layer if node.op_type == "MatMul"}
        onward = [other for node in layer if node.op_type in BETWEEN for other in step(node)]
        layer = list({other.name: other for other in onward}.values())
    return list(found.values())
