"""A network and a plan -> ONNX models: the float reference, and the quantized one with its grids written out.

Grids are QuantizeLinear/DequantizeLinear pairs of the domain com.microsoft, which know 16 bits and channel axes
whatever the opset of the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from build_rules.compilers.emulator.network import Delivered, Network, kernel_axis, prefix, to_nhwc
from build_rules.compilers.emulator.quantization_plan import Grid, Kernel, Plan

__all__ = ["DOMAIN", "float_model", "quantized_model", "real_output", "seen"]

DOMAIN = "com.microsoft"
OPERATORS = {"sigmoid": "Sigmoid", "relu": "Relu", "tanh": "Tanh"}


class _Parts:
    """The pieces of a model under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def add(self, parts: tuple[list[onnx.NodeProto], list[onnx.TensorProto]]) -> None:
        self.nodes += parts[0]
        self.constants += parts[1]

    def operator(self, kind: str, inputs: Sequence[str], output: str, domain: str = "") -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], domain=domain))

    def quantize(self, tensor: str, grid: Grid, result: str) -> None:
        self.constants.append(numpy_helper.from_array(np.asarray(grid.scale, dtype=np.float32), f"{result}/scale"))
        self.constants.append(numpy_helper.from_array(np.asarray(grid.zero_point, dtype=grid.dtype), f"{result}/zero"))
        self.operator("QuantizeLinear", [tensor, f"{result}/scale", f"{result}/zero"], result, DOMAIN)


def float_model(network: Network, plan: Plan, taps: Sequence[str] = (), *, delivers: bool = True) -> onnx.ModelProto:
    """Return the float network on the device's input and outputs (float32 [1, H, W, C], named by vstream).

    `taps` are inner tensors to deliver besides, or alone where it does not deliver: what they do not need is left out.
    Of `plan` only normalization and folded activations are used.
    """
    parts = _Parts()
    parts.add(prefix(network, plan.mean, plan.std))
    parts.nodes += network.graph.model.graph.node
    parts.constants += network.graph.model.graph.initializer
    for output in network.outputs if delivers else ():
        _deliver(parts, output, plan.folded.get(output.name), output.name)
        parts.outputs.append(helper.make_tensor_value_info(output.name, onnx.TensorProto.FLOAT, output.shape))
    return _assemble(network, parts, taps)


def quantized_model(network: Network, plan: Plan, taps: Sequence[str] = ()) -> onnx.ModelProto:
    """Return the quantized network: uint8 [1, H, W, C] in, the physical tensors (uint8 or uint16, [1, H, W, C]) out.

    `taps` are inner tensors (see `seen`) to deliver besides.
    """
    parts = _Parts()
    parts.add(prefix(network, plan.mean, plan.std))
    parts.constants += network.graph.model.graph.initializer
    kernels = {network.graph.nodes[layer.nodes[0]].output[0]: layer for layer in network.weighted}
    for original in network.graph.model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        node.input[:] = [seen(plan, tensor) for tensor in node.input]
        layer = kernels.get(node.output[0])
        if layer is not None and layer.name in plan.kernels:
            axis = kernel_axis(network.graph, layer)
            node.input[1] = _kernel(parts, layer.name, plan.kernels[layer.name], axis)
            _set_bias(parts, node, layer.name, plan)
        parts.nodes.append(node)
        for tensor in node.output:
            if tensor in plan.tensors:
                _round(parts, tensor, plan.tensors[tensor])
    for output in network.outputs:
        grid, real = plan.outputs[output.name], real_output(output)
        _deliver(parts, output, plan.folded.get(output.name), real)
        parts.quantize(real, grid, output.name)
        dtype = helper.np_dtype_to_tensor_dtype(np.dtype(grid.dtype))
        parts.outputs.append(helper.make_tensor_value_info(output.name, dtype, output.shape))
    return _assemble(network, parts, taps)


def real_output(output: Delivered) -> str:
    """Return the name, in the quantized model, of an output before it is put on its grid."""
    return f"{output.name}/real"


def seen(plan: Plan, tensor: str) -> str:
    """Return the name, in the quantized model, of what the readers of a tensor see."""
    return f"{tensor}/rounded" if tensor in plan.tensors else tensor


def _round(parts: _Parts, tensor: str, grid: Grid) -> None:
    quantized = f"{tensor}/quantized"
    parts.quantize(tensor, grid, quantized)
    parts.operator(
        "DequantizeLinear", [quantized, f"{quantized}/scale", f"{quantized}/zero"], f"{tensor}/rounded", DOMAIN
    )


def _kernel(parts: _Parts, layer: str, kernel: Kernel, axis: int) -> str:
    names = [f"{layer}/kernel", f"{layer}/kernel_scale"]
    parts.constants.append(numpy_helper.from_array(kernel.values, names[0]))
    parts.constants.append(numpy_helper.from_array(kernel.scales, names[1]))
    parts.nodes.append(helper.make_node("DequantizeLinear", names, [f"{layer}/kernel_real"], domain=DOMAIN, axis=axis))
    return f"{layer}/kernel_real"


def _set_bias(parts: _Parts, node: onnx.NodeProto, layer: str, plan: Plan) -> None:
    if layer not in plan.biases:
        return
    parts.constants.append(numpy_helper.from_array(plan.biases[layer], f"{layer}/bias"))
    del node.input[2:]
    node.input.append(f"{layer}/bias")


def _deliver(parts: _Parts, output: Delivered, activation: str | None, result: str) -> None:
    tensor = output.tensor
    if activation in OPERATORS:
        parts.operator(OPERATORS[activation], [tensor], f"{output.name}/folded")
        tensor = f"{output.name}/folded"
    parts.add(to_nhwc(output, tensor, result))


def _assemble(network: Network, parts: _Parts, taps: Sequence[str]) -> onnx.ModelProto:
    source = helper.make_tensor_value_info(network.input_name, onnx.TensorProto.UINT8, network.input_shape)
    outputs = [*parts.outputs, *(onnx.ValueInfoProto(name=tap) for tap in taps)]
    nodes = _needed(parts.nodes, [output.name for output in outputs])
    used = {name for node in nodes for name in node.input}
    # A network that repeats a constant's name (a shared grid) keeps the first.
    constants = {tensor.name: tensor for tensor in reversed(parts.constants) if tensor.name in used}
    graph = helper.make_graph(nodes, network.name, [source], outputs, list(constants.values())[::-1])
    model = network.graph.model
    opsets = [opset for opset in model.opset_import if opset.domain != DOMAIN]
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=[*opsets, helper.make_opsetid(DOMAIN, 1)])
    made.ir_version = model.ir_version
    return made


def _needed(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> list[onnx.NodeProto]:
    """Drop what no output needs; the nodes are in topological order already."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(filter(None, node.input))
            kept.append(node)
    return kept[::-1]
