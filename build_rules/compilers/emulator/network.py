"""The network between parse and compile: the graph with its batch normalizations folded, layers, delivered tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from build_rules.compilers.emulator.fuse import WEIGHTED, Layer, fuse_layers
from build_rules.compilers.emulator.graph import Graph, attribute, read_graph
from build_rules.compilers.emulator.parse import META_MEMBER, ONNX_MEMBER
from build_rules.compilers.emulator.stored import read_stored
from build_rules.compilers.har import Har, output_layers
from build_rules.errors import InputError

__all__ = ["Delivered", "Network", "kernel_axis", "load_network", "prefix", "to_nhwc"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Delivered:
    """One output as the device delivers it: `name` is its vstream (`net/producer`), `shape` is [1, H, W, C].

    `tensor` is the ONNX tensor, `layout` how that stores it: `nchw`, `nhwc`, `ncl` or `nc`.
    """

    name: str
    output_layer: str
    tensor: str
    original_names: tuple[str, ...]
    layout: str
    shape: tuple[int, int, int, int]


@dataclass(frozen=True)
class Network:
    """A parsed network, ready to be quantized. `input_shape` is [1, H, W, C]; `input_name` the input's vstream."""

    name: str
    graph: Graph
    layers: tuple[Layer, ...]
    outputs: tuple[Delivered, ...]
    input_name: str
    input_shape: tuple[int, int, int, int]

    @property
    def weighted(self) -> tuple[Layer, ...]:
        """Return the layers that have a kernel."""
        return tuple(layer for layer in self.layers if layer.kind in WEIGHTED)

    def kernel(self, layer: Layer) -> Floats:
        """Return a layer's kernel as the ONNX operator takes it (OIHW; IOHW for deconvolutions)."""
        return self.graph.constant(self.graph.nodes[layer.nodes[0]].input[1]).astype(np.float32)

    def bias(self, layer: Layer) -> Floats | None:
        """Return a layer's bias, zeros where the operator has none but could, None where it cannot have one."""
        node = self.graph.nodes[layer.nodes[0]]
        if node.op_type == "MatMul":
            return None
        if len(node.input) > 2 and node.input[2]:
            return self.graph.constant(node.input[2]).astype(np.float32).reshape(-1)
        return np.zeros(self.graph.shapes[node.output[0]][1], dtype=np.float32)


def load_network(har: Har) -> Network:
    """Read the network of a parsed HAR. Raises `InputError` when it was parsed by another compiler."""
    if har.name + ONNX_MEMBER not in har.members:
        raise InputError(f"the HAR of {har.name!r} was not parsed by the emulator; parse it again with this compiler.")
    try:
        model = read_stored(har.member(ONNX_MEMBER))
        end_nodes = json.loads(har.member(META_MEMBER))["end_node_names"]
    except InputError as error:
        raise InputError(f"the HAR of {har.name!r}: {error}") from error
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(f"the HAR of {har.name!r} is damaged ({error!r}); parse it again.") from error
    parsed = read_graph(model, end_nodes)
    folded = fold_batch_norm(parsed, fuse_layers(parsed, har.name))
    graph = read_graph(folded, parsed.outputs)
    source = next(layer for layer in har.hn["layers"].values() if layer["type"] == "input_layer")
    _, height, width, channels = source["output_shapes"][0]
    return Network(
        name=har.name,
        graph=graph,
        layers=fuse_layers(graph, har.name),
        outputs=_delivered(graph, har.hn),
        input_name=f"{har.name}/input_layer1",
        input_shape=(1, height, width, channels),
    )


def _delivered(graph: Graph, hn: Mapping[str, Any]) -> tuple[Delivered, ...]:
    return tuple(
        Delivered(out.producer, out.output_layer, tensor, out.original_names, *_layout(graph, tensor))
        for out, tensor in zip(output_layers(hn), graph.outputs, strict=True)
    )


def _layout(graph: Graph, tensor: str) -> tuple[str, tuple[int, int, int, int]]:
    shape = graph.shapes[tensor]
    node = graph.nodes[graph.producer[tensor]]
    if len(shape) == 4 and node.op_type == "Transpose" and list(attribute(node, "perm", [])) == [0, 2, 3, 1]:
        return "nhwc", (1, shape[1], shape[2], shape[3])
    if len(shape) == 4:
        return "nchw", (1, shape[2], shape[3], shape[1])
    if len(shape) == 3:
        return "ncl", (1, 1, shape[2], shape[1])
    if len(shape) == 2:
        return "nc", (1, 1, 1, shape[1])
    raise InputError(f"output tensor {tensor!r} has shape {list(shape)}; the device delivers tensors of rank 2 to 4.")


def fold_batch_norm(graph: Graph, layers: Sequence[Layer]) -> onnx.ModelProto:
    """Return the model with every batch normalization that follows a convolution folded into its kernel and bias.

    y = (conv(x) - mean) / sqrt(var + epsilon) * gamma + beta, so kernel and bias scale per output channel.
    """
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    nodes = {node.output[0]: node for node in model.graph.node if node.output}
    for layer in layers:
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
    before = graph.constant(conv.input[2]).astype(np.float64) if len(conv.input) > 2 else np.zeros_like(mean)
    shape = [-1 if index == axis else 1 for index in range(kernel.ndim)]
    bias = (before - mean) * factor + beta
    return (kernel * factor.reshape(shape)).astype(np.float32), bias.astype(np.float32)


def kernel_axis(graph: Graph, layer: Layer) -> int:
    """Return the axis of a layer's ONNX kernel that counts output channels."""
    node = graph.nodes[layer.nodes[0]]
    if layer.kind == "deconv":
        return 1
    if layer.kind == "dense":
        return 0 if attribute(node, "transB", 0) else len(graph.constant(node.input[1]).shape) - 1
    return 0


def prefix(
    network: Network, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return what turns the device's input (uint8 [1, H, W, C], 0..255) into the network's: (pixel - mean) / std."""
    tensor, base = network.graph.input, network.input_name
    nodes = [helper.make_node("Cast", [base], [f"{base}/float"], to=onnx.TensorProto.FLOAT)]
    constants = []
    if mean is not None and std is not None:
        for part, value in (("mean", mean), ("std", std)):
            constants.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), f"{base}/{part}"))
        nodes.append(helper.make_node("Sub", [f"{base}/float", f"{base}/mean"], [f"{base}/centred"]))
        nodes.append(helper.make_node("Div", [f"{base}/centred", f"{base}/std"], [f"{base}/normal"]))
    if network.graph.input_is_nhwc:
        nodes.append(helper.make_node("Identity", [nodes[-1].output[0]], [tensor]))
    else:
        nodes.append(helper.make_node("Transpose", [nodes[-1].output[0]], [tensor], perm=[0, 3, 1, 2]))
    return nodes, constants


def to_nhwc(output: Delivered, tensor: str, result: str) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return what brings the tensor of `output` into the device's layout, [1, H, W, C]."""
    if output.layout == "nchw":
        return [helper.make_node("Transpose", [tensor], [result], perm=[0, 2, 3, 1])], []
    nodes, source = [], tensor
    if output.layout == "ncl":
        nodes, source = [helper.make_node("Transpose", [tensor], [f"{result}/nlc"], perm=[0, 2, 1])], f"{result}/nlc"
    shape = numpy_helper.from_array(np.asarray(output.shape, dtype=np.int64), f"{result}/shape")
    return [*nodes, helper.make_node("Reshape", [source, shape.name], [result])], [shape]
