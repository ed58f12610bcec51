"""What comes behind one layer, as an ONNX model of its own: from what it reads to the outputs that it reaches."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import onnx
from onnx import helper

from build_rules.compilers.emulator.fuse import Layer
from build_rules.compilers.emulator.network import Network
from build_rules.compilers.emulator.qdq import quantized_model, real_output
from build_rules.compilers.emulator.quantization_plan import Plan

__all__ = ["Suffix", "alone", "read_behind", "suffix_model"]


class Suffix(NamedTuple):
    """A model that begins at one layer; `ends` maps the streams that it reaches to the tensors that it delivers."""

    model: onnx.ModelProto
    ends: dict[str, str]


def alone(plan: Plan, layer: Layer, weights_alone: bool = False) -> Plan:
    """Return the plan by which one layer is quantized and no other: its kernel, its bias and what it makes."""
    return replace(
        plan,
        tensors={} if weights_alone else {name: plan.tensors[name] for name in layer.outputs if name in plan.tensors},
        kernels={name: kernel for name, kernel in plan.kernels.items() if name == layer.name},
        biases={name: bias for name, bias in plan.biases.items() if name == layer.name},
    )


def read_behind(network: Network, layer: Layer) -> tuple[str, ...]:
    """Return the tensors of the float network that a layer reads, and those that what hangs on it reads besides."""
    graph = network.graph
    made, read = set[str](), dict[str, None]()
    for index, node in enumerate(graph.nodes):
        if index == layer.nodes[0] or not made.isdisjoint(node.input):
            read.update(dict.fromkeys(name for name in graph.data_inputs(index) if name not in made))
            made.update(node.output)
    return tuple(read)


def suffix_model(network: Network, plan: Plan, layer: Layer, *, delivers_codes: bool) -> Suffix:
    """Return the model behind a layer, quantized as `plan` says, which is that of the layer alone.

    Its inputs are those of `read_behind` (float32). Outputs are real values, [1, H, W, C]; with `delivers_codes` those
    of the layer itself are the codes of its grid.
    """
    whole = quantized_model(network, plan)
    stored = {tensor.name: tensor for tensor in whole.graph.initializer}
    changed: set[str] = set()
    for node in whole.graph.node:
        if network.graph.nodes[layer.nodes[0]].output[0] in node.output or not changed.isdisjoint(node.input):
            changed.update(node.output)
    ends = {
        output.name: output.name if delivers_codes and output.name == layer.name else real_output(output)
        for output in network.outputs
        if real_output(output) in changed
    }
    kept, wanted = [], set(ends.values())
    for node in reversed(whole.graph.node):
        is_constant = all(name in stored for name in node.input)
        if not wanted.isdisjoint(node.output) and (is_constant or not changed.isdisjoint(node.output)):
            kept.append(node)
            wanted.update(node.input)
    sources = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, network.graph.shapes[name])
        for name in read_behind(network, layer)
    ]
    graph = helper.make_graph(
        kept[::-1],
        network.name,
        sources,
        [onnx.ValueInfoProto(name=name) for name in ends.values()],
        [tensor for name, tensor in stored.items() if name in wanted],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=whole.opset_import)
    model.ir_version = whole.ir_version
    return Suffix(model, ends)
