"""Cut ONNX -> parsed HAR: the HN document, the native weights, and the ONNX itself for the stages that follow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from build_rules.compilers.begin_at import begin_at
from build_rules.compilers.emulator.fuse import WEIGHTED, Layer, fuse_layers, original_names
from build_rules.compilers.emulator.graph import Graph, attribute, end_tensors, load_model, read_graph
from build_rules.compilers.emulator.har_members import META_MEMBER, ONNX_MEMBER
from build_rules.compilers.emulator.operators import check_known, check_operators
from build_rules.compilers.har_file import Har, dump_npz
from build_rules.compilers.protocol import ParseJob
from build_rules.errors import InputError

__all__ = ["describe", "hn_shape", "parse"]


def parse(job: ParseJob, sdk_version: str) -> Har:
    """Translate `job.onnx` into a HAR of state `hailo_model`.

    Raises `InputError` for an unreadable file, unknown end nodes and operators that cannot run on the device.
    """
    model = load_model(job.onnx)
    try:
        if job.start is not None:
            model = begin_at(model, job.start)
        graph = read_graph(model, end_tensors(model.graph, job.end_nodes), check_known)
        check_operators(graph)
        layers = fuse_layers(graph, job.net_name)
        hn = describe(graph, layers, job.net_name)
        weights = native_weights(graph, layers)
    except InputError as error:
        raise InputError(f"{job.onnx}: {error}") from error
    meta = {"end_node_names": list(job.end_nodes), "model_type": "onnx", "emulated": True}
    members = {
        job.net_name + ".npz": dump_npz(weights),
        job.net_name + META_MEMBER: (json.dumps(meta, indent=1) + "\n").encode(),
        job.net_name + ONNX_MEMBER: model.SerializeToString(deterministic=True),
    }
    return Har(job.net_name, hn, "hailo_model", sdk_version, job.hw_arch, members)


def describe(graph: Graph, layers: Sequence[Layer], net_name: str) -> dict[str, Any]:
    """Return the HN document of a network: its layers in topological order, linked by name."""
    input_layer = f"{net_name}/input_layer1"
    maker = {graph.input: input_layer}
    maker.update({tensor: layer.name for layer in layers for tensor in layer.outputs})
    document: dict[str, Any] = {input_layer: _hn_input(graph)}
    for layer in layers:
        document[layer.name] = _hn_layer(graph, layer, maker)
    for layer in layers:
        for tensor in layer.inputs:
            _link(document[maker[tensor]], layer.name, _tensor_shape(graph, tensor))
    for number, tensor in enumerate(graph.outputs, start=1):
        name, shape = f"{net_name}/output_layer{number}", hn_shape(graph.shapes[tensor])
        _link(document[maker[tensor]], name, shape)
        document[name] = {
            "type": "output_layer", "input": [maker[tensor]], "output": [], "input_shapes": [shape],
            "output_shapes": [shape], "original_names": ["out"], "transposed": False,
        }  # fmt: skip
    order = [maker[tensor] for tensor in graph.outputs]
    if len(set(order)) < len(order):
        twice = next(name for name in order if order.count(name) > 1)
        raise InputError(
            f"two end nodes are delivered by one layer, {twice!r}; outputs are told apart by their layers."
        )
    params = {
        "version": "1.0", "stage": "HN", "clusters_placement": [[]], "clusters_to_skip": [],
        "output_layers_order": order, "transposed_net": False,
        "net_scopes": [net_name],
    }  # fmt: skip
    return {"name": net_name, "net_params": params, "layers": document}


def hn_shape(shape: Sequence[int]) -> list[int]:
    """Return an ONNX shape (NCHW, NCL or NC) as HN writes it: NHWC with batch -1."""
    if len(shape) == 4:
        return [-1, shape[2], shape[3], shape[1]]
    if len(shape) == 3:
        return [-1, 1, shape[2], shape[1]]
    return [-1, *shape[1:]]


def _tensor_shape(graph: Graph, tensor: str) -> list[int]:
    """Return a tensor's shape as HN writes it; the image of a TensorFlow export has its channels last already."""
    shape = graph.shapes[tensor]
    return [-1, *shape[1:]] if tensor == graph.input and graph.input_is_nhwc else hn_shape(shape)


def _link(producer: dict[str, Any], consumer: str, shape: list[int]) -> None:
    producer["output"].append(consumer)
    producer["output_shapes"].append(shape)


def _hn_input(graph: Graph) -> dict[str, Any]:
    shape = _tensor_shape(graph, graph.input)
    return {
        "type": "input_layer", "input": [], "output": [], "input_shapes": [[-1, *shape[1:]]],
        "output_shapes": [], "original_names": [graph.input], "transposed": False,
    }  # fmt: skip


def _hn_layer(graph: Graph, layer: Layer, maker: Mapping[str, str]) -> dict[str, Any]:
    return {
        "type": layer.kind,
        "input": [maker[tensor] for tensor in layer.inputs],
        "output": [],
        "input_shapes": [_tensor_shape(graph, tensor) for tensor in layer.inputs],
        "output_shapes": [],
        "original_names": list(original_names(graph, layer)),
        "params": _params(graph, layer),
    }


def _params(graph: Graph, layer: Layer) -> dict[str, Any]:
    node = graph.nodes[layer.nodes[0]]
    params: dict[str, Any] = {"activation": layer.activation}
    if layer.kind in ("conv", "dw", "deconv"):
        params["kernel_shape"] = list(_kernel(graph, layer).shape)
        params["groups"] = attribute(node, "group", 1)
        params["batch_norm"] = any(graph.nodes[index].op_type == "BatchNormalization" for index in layer.nodes)
    if layer.kind in ("conv", "dw", "deconv", "maxpool", "avgpool"):
        strides = attribute(node, "strides", [1, 1])
        params["strides"] = [1, *strides, 1]
        params["dilations"] = [1, *attribute(node, "dilations", [1] * len(strides)), 1]
        params["pads"] = list(attribute(node, "pads", [0] * 2 * len(strides)))
    if layer.kind in ("maxpool", "avgpool"):
        params["kernel_shape"] = [1, *attribute(node, "kernel_shape", graph.shapes[node.input[0]][2:]), 1]
    if layer.kind == "resize":
        before, after = graph.shapes[node.input[0]], graph.shapes[node.output[0]]
        params["resize_h_ratio_list"], params["resize_w_ratio_list"] = [after[2] / before[2]], [after[3] / before[3]]
        params["method"] = str(attribute(node, "mode", b"nearest"), "ascii")
    return params


def _kernel(graph: Graph, layer: Layer) -> npt.NDArray[Any]:
    """Return a layer's kernel as HN stores it: HWIO for convolutions, IO for dense layers."""
    node = graph.nodes[layer.nodes[0]]
    if not graph.constants.issuperset(filter(None, node.input[1:])):
        raise InputError(f"node {node.name or node.output[0]!r}: weights computed from the image are not supported.")
    kernel: npt.NDArray[Any] = graph.constant(node.input[1])
    if layer.kind == "dense":
        return kernel.T if attribute(node, "transB", 0) else kernel
    axes = (2, 3, 0, 1) if layer.kind == "deconv" else (2, 3, 1, 0)
    turned: npt.NDArray[Any] = kernel.transpose(axes if kernel.ndim == 4 else (2, 1, 0))
    return turned


def native_weights(graph: Graph, layers: Sequence[Layer]) -> dict[str, npt.NDArray[np.float32]]:
    """Return kernels (`net/conv1/kernel:0`, HWIO) and biases (`net/conv1/bias:0`) in float32, as in the ONNX graph."""
    weights: dict[str, npt.NDArray[np.float32]] = {}
    for layer in layers:
        if layer.kind not in WEIGHTED:
            continue
        node = graph.nodes[layer.nodes[0]]
        arrays = {f"{layer.name}/kernel:0": _kernel(graph, layer).astype(np.float32)}
        if len(node.input) > 2 and node.input[2]:
            arrays[f"{layer.name}/bias:0"] = graph.constant(node.input[2]).astype(np.float32)
        if any(not np.isfinite(value).all() for value in arrays.values()):
            raise InputError(f"node {node.name or node.output[0]!r}: Unsupported NaN values in its weights.")
        weights.update(arrays)
    return weights
