"""The static shapes and element types of a skeleton's tensors, by ONNX shape inference.

What the file claims about tensors (`value_info`, the shapes of outputs) is not believed: inference says it again, and a
claim that only the file makes could be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import onnx
from onnx.shape_inference import InferenceError, infer_shapes

from build_rules.errors import InputError
from build_rules.graph.load.long_lists import check_lists
from build_rules.onnx_file.weights import is_stored_elsewhere

__all__ = ["InferredTypes", "Shapes", "element_types", "infer_once", "opset_of", "static_shape", "without_weights"]

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class InferredTypes:
    """What is known of the tensors of a graph: static shapes, their element types, and how many elements each holds.

    `sizes` has what inference says alone, the empty tensors among them; of the claims of the file it has none.
    """

    shapes: Shapes
    types: dict[str, int]
    sizes: dict[str, int]


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the ONNX operators that the model uses."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def static_shape(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """Return the shape of a value, or None when it is unknown or not fixed to positive numbers."""
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        return None
    shape = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    return shape if all(size > 0 for size in shape) else None


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which tensors that stay in their files are inputs, for whoever would open the files."""
    graph = onnx.GraphProto(name=model.graph.name or "graph")
    graph.node.extend(model.graph.node)
    graph.output.extend(model.graph.output)
    graph.sparse_initializer.extend(model.graph.sparse_initializer)
    stored = {tensor.name for tensor in model.graph.initializer}
    graph.input.extend(value for value in model.graph.input if value.name not in stored)
    for tensor in model.graph.initializer:
        if is_stored_elsewhere(tensor):
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tuple(tensor.dims)))
        else:
            graph.initializer.append(tensor)
    scratch = onnx.ModelProto(ir_version=max(model.ir_version, 4), graph=graph)
    scratch.opset_import.extend(model.opset_import)
    scratch.functions.extend(model.functions)
    return scratch


def infer_once(model: onnx.ModelProto) -> InferredTypes:
    """Return what one pass of inference tells.

    Raises `InputError` when the shapes in the graph contradict each other.
    """
    scratch = without_weights(model)
    # An output that is an input again would take the input's shape with it.
    made = {name for node in scratch.graph.node for name in node.output}
    outputs = [value for value in scratch.graph.output if value.name in made]
    del scratch.graph.output[:]
    scratch.graph.output.extend(outputs)
    claimed = {value.name: value for value in model.graph.output}
    for value in scratch.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = _inferred(scratch)
    values = [*inferred.value_info, *inferred.input, *inferred.output]
    # Of an output that inference cannot tell, the claim is all there is.
    claims = [claimed[value.name] for value in inferred.output if static_shape(value) is None]
    shapes = {value.name: shape for value in (*values, *claims) if (shape := static_shape(value)) is not None}
    types = {v.name: v.type.tensor_type.elem_type for v in (*values, *claims) if v.name in shapes}
    sizes = {value.name: size for value in values if (size := _size(value)) is not None}
    stored = {t.name: tuple(t.dims) for t in inferred.initializer}
    sparse = {t.values.name: prod(t.dims) for t in inferred.sparse_initializer}
    return InferredTypes(
        shapes | stored,
        types | {t.name: t.data_type for t in inferred.initializer},
        sizes | sparse | {name: prod(shape) for name, shape in stored.items()},
    )


def _size(value: onnx.ValueInfoProto) -> int | None:
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    return prod(dim.dim_value for dim in dims) if all(dim.HasField("dim_value") for dim in dims) else None


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element types that inference finds, of tensors whose shape it cannot tell as well.

    Raises `InputError` when the shapes in the graph contradict each other.
    """
    graph = _inferred(without_weights(model))
    values = (*graph.value_info, *graph.input, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values} | {
        tensor.name: tensor.data_type for tensor in graph.initializer
    }


def _inferred(model: onnx.ModelProto) -> onnx.GraphProto:
    check_lists(model.graph)
    try:
        return infer_shapes(model, strict_mode=False, data_prop=True).graph
    except (InferenceError, RuntimeError) as error:
        raise InputError(f"the shapes in the graph contradict each other: {error}") from error
