"""A cut graph without its front: the network begins at a tensor inside, which takes the place of the input."""

from __future__ import annotations

import onnx

from build_rules.errors import InputError

__all__ = ["begin_at"]


def begin_at(model: onnx.ModelProto, tensor: str) -> onnx.ModelProto:
    """Return the model whose input is `tensor`, under the name of the old input; what led there is left out.

    Raises `InputError` when there is no such tensor of known shape.
    """
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    kinds = {value.name: value.type.tensor_type for value in inferred.value_info}
    if tensor not in kinds or any(dim.dim_value <= 0 for dim in kinds[tensor].shape.dim):
        raise InputError(f"the network should begin at {tensor!r}, which is no tensor of known shape in it.")
    begun = onnx.ModelProto()
    begun.CopyFrom(model)
    graph = begun.graph
    stored = {value.name for value in graph.initializer}
    name = next(value.name for value in graph.input if value.name not in stored)
    shape = [dim.dim_value for dim in kinds[tensor].shape.dim]
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if tensor not in node.output and needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    for node in kept:
        for index, source in enumerate(node.input):
            if source == tensor:
                node.input[index] = name
    nodes = kept[::-1]
    weights = [value for value in graph.initializer if value.name in needed]
    del graph.node[:], graph.initializer[:], graph.input[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
    graph.input.append(onnx.helper.make_tensor_value_info(name, kinds[tensor].elem_type, shape))
    return begun
