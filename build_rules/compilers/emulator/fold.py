"""What becomes plain numbers before a network is quantized: constants that are computed, and batch normalizations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from build_rules.compilers.emulator.fuse import fuse_layers
from build_rules.compilers.emulator.graph import Graph, attribute, evaluate

__all__ = ["fold_batch_norm", "fold_constants"]

Floats = npt.NDArray[np.float32]


def fold_constants(graph: Graph, net_name: str) -> onnx.ModelProto:
    """Return the model with its data nodes alone; what else they read is stored, weights in few bits as floats."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    stored = {tensor.name for tensor in model.graph.initializer}
    read = dict.fromkeys(name for node in graph.nodes for name in node.input if name in graph.constants)
    wanted = [name for name in read if name not in stored]
    computed = [name for name in wanted if name not in graph.values]
    values = evaluate(graph.model, computed) if computed else {}
    for name in wanted:
        tensor = numpy_helper.from_array(values[name]) if name in values else graph.values[name]
        model.graph.initializer.add().CopyFrom(tensor)
        model.graph.initializer[-1].name = name
    del model.graph.node[:]
    model.graph.node.extend(graph.nodes)
    return model


def fold_batch_norm(graph: Graph, net_name: str) -> onnx.ModelProto:
    """Return the model with every batch normalization that follows a convolution folded into its kernel and bias.

    y = (conv(x) - mean) / sqrt(var + epsilon) * gamma + beta, so kernel and bias scale per output channel.
    """
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    nodes = {node.output[0]: node for node in model.graph.node if node.output}
    for layer in fuse_layers(graph, net_name):
        followers = [graph.nodes[index] for index in layer.nodes[1:]]
        norm = next((node for node in followers if node.op_type == "BatchNormalization"), None)
        grouped_deconv = layer.kind == "deconv" and attribute(graph.nodes[layer.nodes[0]], "group", 1) > 1
        if norm is None or layer.kind == "dense" or grouped_deconv:
            continue
        conv = nodes[graph.nodes[layer.nodes[0]].output[0]]
        kernel, bias = _folded(graph, conv, norm, axis=1 if layer.kind == "deconv" else 0)
        names = [f"{layer.name}/folded_kernel", f"{layer.name}/folded_bias"]
        model.graph.initializer.append(numpy_helper.from_array(kernel, names[0]))
        model.graph.initializer.append(numpy_helper.from_array(bias, names[1]))
        source = conv.input[0]
        del conv.input[:]
        conv.input.extend([source, *names])
        conv.output[0] = norm.output[0]
        model.graph.node.remove(nodes[norm.output[0]])
    return model


def _folded(graph: Graph, conv: onnx.NodeProto, norm: onnx.NodeProto, axis: int) -> tuple[Floats, Floats]:
    gamma, beta, mean, variance = (graph.constant(name).astype(np.float64) for name in norm.input[1:5])
    factor = gamma / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
    kernel = graph.constant(conv.input[1]).astype(np.float64)
    has_bias = len(conv.input) > 2 and conv.input[2]
    before = graph.constant(conv.input[2]).astype(np.float64) if has_bias else np.zeros_like(mean)
    shape = [-1 if index == axis else 1 for index in range(kernel.ndim)]
    bias = (before - mean) * factor + beta
    return (kernel * factor.reshape(shape)).astype(np.float32), bias.astype(np.float32)
