"""The network between parse and compile: the graph with its batch normalizations folded, layers, delivered tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from build_rules.compilers.emulator.fold import fold_batch_norm, fold_constants
from build_rules.compilers.emulator.fresh_names import rename, reserved
from build_rules.compilers.emulator.fuse import WEIGHTED, Layer, fuse_layers
from build_rules.compilers.emulator.graph import Graph, attribute, end_tensors, read_graph
from build_rules.compilers.emulator.har_members import META_MEMBER, ONNX_MEMBER
from build_rules.compilers.emulator.operators import check_known
from build_rules.compilers.emulator.stored import read_stored
from build_rules.compilers.har_file import Har, output_layers
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
    """A parsed network, ready to be quantized.

    `input_shape` is [1, H, W, C], `input_name` the input's vstream, `image` what the input is called in the ONNX that
    was parsed; in `graph` it may have another name.
    """

    name: str
    graph: Graph
    layers: tuple[Layer, ...]
    outputs: tuple[Delivered, ...]
    input_name: str
    input_shape: tuple[int, int, int, int]
    image: str

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
    end_nodes = har.document(META_MEMBER).get("end_node_names")
    if not isinstance(end_nodes, list) or not all(isinstance(name, str) for name in end_nodes):
        raise InputError(f"the HAR of {har.name!r} is damaged (it names no end nodes); parse it again.")
    try:
        model = read_stored(har.member(ONNX_MEMBER))
    except InputError as error:
        raise InputError(f"the HAR of {har.name!r}: {error}; build it again.") from error
    outputs = end_tensors(model.graph, end_nodes)
    # What is added to the graph is named after its tensors and its layers; no tensor of the user's may be called so.
    others = reserved(model.graph, har.name)
    rename(model.graph, others)
    graph = read_graph(model, [others.get(name, name) for name in outputs], check_known)
    for fold in (fold_constants, fold_batch_norm):
        graph = read_graph(fold(graph, har.name), graph.outputs)
    source = next(layer for layer in har.hn["layers"].values() if layer["type"] == "input_layer")
    _, height, width, channels = source["output_shapes"][0]
    return Network(
        name=har.name,
        graph=graph,
        layers=fuse_layers(graph, har.name),
        outputs=_delivered(graph, har.hn),
        input_name=f"{har.name}/input_layer1",
        input_shape=(1, height, width, channels),
        image=source["original_names"][0],
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
    """Return what turns the device's input (uint8 [1, H, W, C], 0..255) into the network's: (pixel - mean) / std.

    Pixels are brought into the network's layout first: numbers that are the same for a whole plane are subtracted many
    times as fast as those that change from value to value, and bytes move faster than floats.
    """
    base, column = network.input_name, (-1,) if network.graph.input_is_nhwc else (-1, 1, 1)
    nodes, constants, source = [], [], base
    if not network.graph.input_is_nhwc:
        nodes.append(helper.make_node("Transpose", [base], [f"{base}/planes"], perm=[0, 3, 1, 2]))
        source = f"{base}/planes"
    nodes.append(helper.make_node("Cast", [source], [f"{base}/float"], to=onnx.TensorProto.FLOAT))
    if mean is not None and std is not None:
        for part, value in (("mean", mean), ("std", std)):
            values = np.asarray(value, dtype=np.float32).reshape(column)
            constants.append(numpy_helper.from_array(values, f"{base}/{part}"))
        nodes.append(helper.make_node("Sub", [f"{base}/float", f"{base}/mean"], [f"{base}/centred"]))
        nodes.append(helper.make_node("Div", [f"{base}/centred", f"{base}/std"], [f"{base}/normal"]))
    nodes.append(helper.make_node("Identity", [nodes[-1].output[0]], [network.graph.input]))
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
