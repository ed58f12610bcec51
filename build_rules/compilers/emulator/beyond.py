"""What of a float network lies beyond some tensors: the part that has to run again when only their rounding changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from build_rules.compilers.emulator.network import Network
from build_rules.compilers.emulator.qdq import DOMAIN

__all__ = ["SCALE", "ZERO", "Beyond", "beyond"]

SCALE, ZERO = "/searched/scale", "/searched/zero"


@dataclass(frozen=True)
class Beyond:
    """A part of the float network: reads the tensors `read`, rounds some on the grid that is its inputs `SCALE` and
    `ZERO`, and gives those delivered outputs (`outputs`, by vstream) that depend on them.
    """

    model: onnx.ModelProto
    read: tuple[str, ...]
    outputs: tuple[str, ...]


def beyond(network: Network, whole: onnx.ModelProto, rounded: Sequence[str], bits: int) -> Beyond:
    """Return what lies beyond the tensors `rounded`, with them rounded to `bits` bits wherever they are read.

    `whole` is the float network with its outputs (`float_model`).
    """
    inside, kept = set[str](), list[onnx.NodeProto]()
    made = {name for node in whole.graph.node for name in node.output}
    for node in whole.graph.node:
        # What is delivered is put on a grid of its own, not on that of the tensor.
        sees = set(rounded) if node.output[0] in network.graph.producer else set[str]()
        if not (inside | sees).isdisjoint(node.input):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[:] = [f"{name}/searched" if name in sees else name for name in node.input]
            kept.append(copy)
            inside.update(node.output)
    # A rounded tensor that itself lies beyond another is made here, the first ones are read.
    read = dict.fromkeys(tensor for tensor in rounded if tensor not in inside)
    read.update(dict.fromkeys(n for node in kept for n in node.input if n in made and n not in inside))
    outputs = [output for output in whole.graph.output if output.name in inside]
    nodes = _placed(kept, rounded)
    return Beyond(_model(whole, nodes, tuple(read), outputs, bits), tuple(read), tuple(out.name for out in outputs))


def _placed(nodes: Sequence[onnx.NodeProto], rounded: Sequence[str]) -> list[onnx.NodeProto]:
    """Return the nodes with the rounding of each tensor behind the node that makes it, or at the beginning."""
    inside = {name for node in nodes for name in node.output}
    placed = [part for tensor in rounded if tensor not in inside for part in _rounding(tensor)]
    for node in nodes:
        placed.append(node)
        placed += [part for tensor in node.output if tensor in rounded for part in _rounding(tensor)]
    return placed


def _rounding(tensor: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [tensor, SCALE, ZERO], [f"{tensor}/searched/quantized"], domain=DOMAIN),
        helper.make_node(
            "DequantizeLinear", [f"{tensor}/searched/quantized", SCALE, ZERO], [f"{tensor}/searched"], domain=DOMAIN
        ),
    ]


def _model(
    whole: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    read: Sequence[str],
    outputs: Sequence[onnx.ValueInfoProto],
    bits: int,
) -> onnx.ModelProto:
    used = {name for node in nodes for name in node.input}
    zero = helper.np_dtype_to_tensor_dtype(np.dtype(np.uint8 if bits == 8 else np.uint16))
    inputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in read]
    inputs += [helper.make_tensor_value_info(SCALE, onnx.TensorProto.FLOAT, [])]
    inputs += [helper.make_tensor_value_info(ZERO, zero, [])]
    constants = [tensor for tensor in whole.graph.initializer if tensor.name in used]
    graph = helper.make_graph(list(nodes), "beyond", inputs, list(outputs), constants)
    opsets = [opset for opset in whole.opset_import if opset.domain != DOMAIN]
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=[*opsets, helper.make_opsetid(DOMAIN, 1)])
    made.ir_version = whole.ir_version
    return made
