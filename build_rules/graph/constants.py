"""The values of small tensors that do not depend on the image: slice bounds, target shapes, weights of a DFL layer.

Stored weights are read; anything else is computed with the ONNX reference implementation from the nodes that lead to
it, and only while every tensor on the way is small: a hostile constant must not cost memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.numpy_helper import from_array, to_array
from onnx.reference import ReferenceEvaluator

from build_rules.graph.order import node_inputs

__all__ = ["Array", "evaluate", "known_shape", "small_tensor"]

Array = NDArray[Any]
SMALL = 65536
"""Elements of the largest tensor that is evaluated."""
MAX_NODES = 1000
"""Nodes that one constant may hang on."""


def small_tensor(tensor: onnx.TensorProto) -> bool:
    """Say whether a stored tensor is small enough to be evaluated."""
    return bool(prod(tensor.dims) <= SMALL)


def evaluate(
    tensor: str,
    nodes: Sequence[onnx.NodeProto],
    producers: Mapping[str, int],
    stored: Mapping[str, onnx.TensorProto],
    shapes: Mapping[str, tuple[int, ...]],
    opset: int,
) -> Array | None:
    """Return the value of `tensor`, None when it is large, depends on the image or cannot be computed."""
    if tensor in stored:
        return to_array(stored[tensor]) if small_tensor(stored[tensor]) else None
    needed: set[int] = set()
    leaves: dict[str, Array] = {}
    waiting = [tensor]
    while waiting:
        name = waiting.pop()
        index = producers.get(name)
        if name in stored and small_tensor(stored[name]):
            leaves[name] = to_array(stored[name])
        elif index is not None and (value := known_shape(nodes[index], shapes)) is not None:
            leaves[name] = value
        elif index is None or prod(shapes.get(name, (SMALL + 1,))) > SMALL or len(needed) > MAX_NODES:
            return None
        elif index not in needed:
            needed.add(index)
            waiting.extend(filter(None, node_inputs(nodes[index])))
    return leaves[tensor] if tensor in leaves else _run([nodes[i] for i in sorted(needed)], leaves, tensor, opset)


def known_shape(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> Array | None:
    """Return the value of a `Shape` node whose tensor has a static shape, None for every other node."""
    if node.op_type != "Shape" or node.input[0] not in shapes:
        return None
    shape = shapes[node.input[0]]
    bounds: dict[str, int] = {str(a.name): int(a.i) for a in node.attribute}
    return np.array(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], dtype=np.int64)


def _run(nodes: Sequence[onnx.NodeProto], leaves: Mapping[str, Array], tensor: str, opset: int) -> Array | None:
    result = onnx.ValueInfoProto(name=tensor)
    graph = onnx.helper.make_graph(nodes, "constant", [], [result], [from_array(v, k) for k, v in leaves.items()])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        values = ReferenceEvaluator(model).run(None, {})
    except Exception:
        # Any operator may fail in its own way (unknown domain, missing implementation): then the value is unknown.
        return None
    value = values[0] if isinstance(values, list) else None
    return np.asarray(value) if isinstance(value, (np.ndarray, np.generic)) else None
