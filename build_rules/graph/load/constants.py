"""The values of small tensors that do not depend on the image: slice bounds, target shapes, weights of a DFL layer.

Stored weights are read; anything else is computed with the ONNX reference implementation from the nodes that lead to
it, and only while every tensor on the way is small and every operator one that NumPy computes at once: a hostile
constant must cost neither memory nor time.
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

from build_rules.onnx_file.onnx_files import OnnxFiles
from build_rules.onnx_file.weights import is_readable, load_tensor

__all__ = ["Array", "Constants", "known_shape", "small_tensor"]

Array = NDArray[Any]
SMALL = 65536
"""Elements of the largest tensor that is evaluated."""
MAX_NODES = 1000
"""Nodes that one constant may hang on."""
MAX_WORK = 100_000
"""Nodes that are computed for all constants of a graph together; one of the largest tensors counts as many."""
ELEMENTS_PER_NODE = 256
_QUICK = """
Abs Add And Cast CastLike Ceil Clip Concat Constant ConstantOfShape Cos CumSum Div Equal Exp Expand EyeLike Flatten
Floor Gather Greater GreaterOrEqual Identity Less LessOrEqual Log MatMul Max Mean Min Mod Mul Neg NonZero Not Or Pad
Pow Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Round Shape Sigmoid Sign Sin
Size Slice Softmax Split Sqrt Squeeze Sub Sum Tanh Tile Transpose Trilu Unsqueeze Where Xor
"""
QUICK = frozenset(_QUICK.split())
"""Operators that the reference implementation computes in NumPy at once; a pool or a convolution takes it minutes."""


def small_tensor(tensor: onnx.TensorProto) -> bool:
    """Say whether a stored tensor is small enough to be evaluated."""
    return bool(prod(tensor.dims) <= SMALL)


class Constants:
    """The constants of one graph; values are remembered, and the work that they cost in all is bounded."""

    def __init__(
        self,
        nodes: Sequence[onnx.NodeProto],
        producers: Mapping[str, int],
        stored: Mapping[str, onnx.TensorProto],
        files: OnnxFiles,
        opset: int,
    ) -> None:
        self._nodes = nodes
        self._producers = producers
        self._stored = stored
        self._files = files
        self._opset = opset
        self._known: dict[str, Array] = {}
        self._left = MAX_WORK

    def value(self, tensor: str, shapes: Mapping[str, tuple[int, ...]]) -> Array | None:
        """Return the value of `tensor`, None when it is large, depends on the image or cannot be computed."""
        if tensor not in self._known:
            value = self._stored_value(tensor) if tensor in self._stored else self._computed(tensor, shapes)
            if value is None:
                return None
            self._known[tensor] = value
        return self._known[tensor]

    def _stored_value(self, tensor: str) -> Array | None:
        stored = self._stored[tensor]
        return to_array(load_tensor(stored, self._files)) if small_tensor(stored) and is_readable(stored) else None

    def _computed(self, tensor: str, shapes: Mapping[str, tuple[int, ...]]) -> Array | None:
        needed: set[int] = set()
        leaves: dict[str, Array] = {}
        waiting = [tensor]
        while waiting:
            name = waiting.pop()
            if name in leaves:
                continue
            index = self._producers.get(name)
            if name in self._known:
                leaves[name] = self._known[name]
            elif name in self._stored:
                value = self._stored_value(name)
                if value is None:
                    return None
                leaves[name] = value
            elif index is not None and (shape := known_shape(self._nodes[index], shapes)) is not None:
                leaves[name] = shape
            elif index is None or not self._may_compute(index, prod(shapes.get(name, (SMALL + 1,))), len(needed)):
                return None
            elif index not in needed:
                needed.add(index)
                waiting.extend(filter(None, self._nodes[index].input))
        if tensor in leaves:
            return leaves[tensor]
        return _run([self._nodes[i] for i in sorted(needed)], leaves, tensor, self._opset)

    def _may_compute(self, index: int, size: int, used: int) -> bool:
        self._left -= 1 + size // ELEMENTS_PER_NODE
        return size <= SMALL and used <= MAX_NODES and self._left > 0 and self._nodes[index].op_type in QUICK


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
