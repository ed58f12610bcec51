"""Graphs that a compiler of float networks cannot take: quantized already, optimized for one runtime, other types.

Judged where the image's data go. What constants are computed with (sizes, weights that are stored in few bits) is
nobody's fault: it becomes plain numbers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

import onnx

from build_rules.errors import InputError
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.load.node_order import node_inputs

__all__ = ["refuse_foreign_operators", "refuse_foreign_types"]

STANDARD = ("", "ai.onnx")
RUNTIME = ("com.microsoft", "com.ms.")
"""Domains of the operators that onnxruntime puts in place of ONNX's."""

QUANTIZED = frozenset(
    {
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
        *("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"),
    }
)
_QUANTIZED_ELSEWHERE = re.compile(r"Q[A-Z]|.*[Qq]uant|ConvInteger|MatMul(Integer|NBits|Bnb4|FpQ4)")
"""QLinearAdd, QGemm, QAttention, DynamicQuantizeMatMul, MatMulNBits, Quant (Brevitas, QONNX), FakeQuantize ..."""

MOVING = frozenset(
    {
        *("Cast", "Concat", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose"),
        *("Unsqueeze",),
    }
)
NUMBERS = (
    *(onnx.TensorProto.UINT8, onnx.TensorProto.INT8, onnx.TensorProto.UINT16, onnx.TensorProto.INT16),
    *(onnx.TensorProto.INT32, onnx.TensorProto.INT64, onnx.TensorProto.UINT32, onnx.TensorProto.UINT64),
)
SHOWN = 5


def refuse_foreign_operators(view: GraphView, ends: Collection[str] = ()) -> None:
    """Raise `InputError` for operators of quantized graphs and of onnxruntime before `ends`, else before the outputs.

    `ends` are names of tensors or of nodes; names that the graph does not have count for nothing.
    """
    nodes = _before(view, ends or view.outputs)
    for node in nodes:
        moved = any(name in view.image_tensors for name in node.output)
        # ONNX's own operators may bring back stored weights; those of a runtime no other program computes.
        if _is_quantized(node) and (moved or node.domain not in STANDARD):
            where = "lies on the way of the image" if moved else "makes its weights"
            raise InputError(
                f"the graph is quantized already: node '{node.name}' ({_kind(node)}) {where}, and "
                "no compiler takes such nodes; export the float model (no quantize_static, quantize_dynamic, int8=True "
                "or quantization-aware nodes). The compiler quantizes it."
            )
    own = [node for node in nodes if node.domain.startswith(RUNTIME)]
    if own:
        kinds = list(dict.fromkeys(node.op_type for node in own))
        more = f" and {len(kinds) - SHOWN} more" if len(kinds) > SHOWN else ""
        raise InputError(
            f"the graph has operators of {own[0].domain} ({', '.join(kinds[:SHOWN])}{more}; the first is node "
            f"'{own[0].name}'), which only onnxruntime knows: its optimizer has saved this file; give the file from "
            "before the optimization, as it was exported."
        )


def refuse_foreign_types(view: GraphView, nodes: Iterable[onnx.NodeProto]) -> None:
    """Raise `InputError` when one of `nodes`, those that are to be compiled, makes anything but floats of the image.

    Pixels stay whole numbers as long as they are only moved.
    """
    kept = list(nodes)
    used = {name for node in kept for name in node.input}
    pixels = {view.input.name}
    for node in kept:
        sources = [name for name in node.input if name in view.image_tensors]
        moves = node.op_type in MOVING and sources and pixels.issuperset(sources)
        for name in node.output:
            kind = view.types.get(name, onnx.TensorProto.FLOAT)
            if name not in view.image_tensors or name not in used or kind == onnx.TensorProto.FLOAT:
                continue
            if not moves or kind not in NUMBERS:
                raise _foreign_type(node, name, kind)
            pixels.add(name)


def _foreign_type(node: onnx.NodeProto, tensor: str, kind: int) -> InputError:
    dtype = onnx.TensorProto.DataType.Name(kind)
    cure = "export the model so that its layers compute in float32"
    if kind == onnx.TensorProto.DOUBLE:
        cure += " (no .double(), no float64 constants in forward)"
    else:
        cure += " (comparisons, indices and rounded values belong behind the last maps, or out of the graph)"
    return InputError(
        f"node '{node.name}' ({node.op_type}) makes '{tensor}' a tensor of {dtype} between the layers that are to be "
        f"compiled, which no chip of this kind computes; {cure}."
    )


def _before(view: GraphView, ends: Collection[str]) -> Sequence[onnx.NodeProto]:
    """Return the nodes that some tensors or nodes hang on, in computable order."""
    needed = set(ends)
    before = []
    for node in reversed(view.nodes):
        if node.name in ends or needed.intersection(filter(None, node.output)):
            needed.update(node_inputs(node))
            before.append(node)
    return before[::-1]


def _is_quantized(node: onnx.NodeProto) -> bool:
    if node.domain in STANDARD:
        return node.op_type in QUANTIZED
    return _QUANTIZED_ELSEWHERE.match(node.op_type) is not None


def _kind(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in STANDARD else f"{node.op_type} of {node.domain}"
