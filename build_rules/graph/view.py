"""A graph as the walk needs it: who produces a tensor, its shape, and whether it depends on the image.

Shapes come from ONNX shape inference. It runs on a copy whose large weights are replaced by inputs of the same shape,
so that its cost does not grow with them; where a shape hangs on a computed constant (exports that were not simplified),
that constant is evaluated and inference runs again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx.shape_inference import InferenceError, infer_shapes

from build_rules.endpoints import ModelInput
from build_rules.errors import InputError
from build_rules.graph.constants import Array, evaluate, small_tensor
from build_rules.graph.order import node_inputs
from build_rules.graph.source import static_shape

__all__ = ["GraphView", "view_graph"]

MAX_ROUNDS = 16
_Inferred = tuple[dict[str, tuple[int, ...]], dict[str, int]]


@dataclass(frozen=True)
class GraphView:
    """A model and what is known of its tensors. `nodes` are in computable order."""

    model: onnx.ModelProto
    input: ModelInput
    nodes: tuple[onnx.NodeProto, ...]
    producers: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, int]
    image_tensors: frozenset[str]
    stored: Mapping[str, onnx.TensorProto]
    outputs: tuple[str, ...]
    opset: int

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """Return the node that computes a tensor, None for inputs and stored weights."""
        index = self.producers.get(tensor)
        return None if index is None else self.nodes[index]

    def constant(self, tensor: str) -> Array | None:
        """Return the value of a small tensor that does not depend on the image, else None."""
        if tensor in self.image_tensors:
            return None
        return evaluate(tensor, self.nodes, self.producers, self.stored, self.shapes, self.opset)

    def stride(self, tensor: str) -> int | None:
        """Return input size / map size of a feature map [1, C, H, W], None when that is not one integer."""
        shape = self.shapes.get(tensor, ())
        if len(shape) != 4 or shape[0] != 1 or self.input.height % shape[2] or self.input.width % shape[3]:
            return None
        rows, columns = self.input.height // shape[2], self.input.width // shape[3]
        return rows if rows == columns else None

    def shape_text(self, tensor: str) -> str:
        """Return a tensor's shape for messages."""
        return str(list(self.shapes[tensor])) if tensor in self.shapes else "an unknown shape"


def view_graph(model: onnx.ModelProto, image: ModelInput) -> GraphView:
    """Return the view of a model as `load_source` leaves it.

    Raises `InputError` when its shapes contradict each other.
    """
    nodes = tuple(model.graph.node)
    shapes, types = _infer(model, image, nodes)
    return GraphView(
        model=model,
        input=image,
        nodes=nodes,
        producers={name: index for index, node in enumerate(nodes) for name in node.output if name},
        shapes=shapes,
        types=types,
        image_tensors=_image_tensors(nodes, image.name),
        stored={tensor.name: tensor for tensor in model.graph.initializer},
        outputs=tuple(value.name for value in model.graph.output),
        opset=_opset(model),
    )


def _opset(model: onnx.ModelProto) -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def _image_tensors(nodes: tuple[onnx.NodeProto, ...], image: str) -> frozenset[str]:
    """Return the tensors whose values depend on the image; the shape of a tensor does not, all shapes being static."""
    found = {image}
    for node in nodes:
        if node.op_type not in ("Shape", "Size") and any(name in found for name in node_inputs(node)):
            found.update(filter(None, node.output))
    return frozenset(found)


def _infer(model: onnx.ModelProto, image: ModelInput, nodes: tuple[onnx.NodeProto, ...]) -> _Inferred:
    """Return all static shapes that inference finds, and the element types of those tensors."""
    scratch = _without_weights(model)
    producers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    image_tensors = _image_tensors(nodes, image.name)
    known: set[str] = set()
    for _ in range(MAX_ROUNDS):
        shapes, types = _infer_once(scratch)
        lacking = [node for node in nodes if any(name and name not in shapes for name in node.output)]
        wanted = {name for node in lacking for name in node.input if name in producers and name not in image_tensors}
        values = {
            name: evaluate(name, nodes, producers, stored, shapes, _opset(model)) for name in sorted(wanted - known)
        }
        found = {name: value for name, value in values.items() if value is not None}
        if not found:
            return shapes, types
        known |= found.keys()
        kept = [node for node in scratch.graph.node if not any(name in found for name in node.output)]
        del scratch.graph.node[:]
        scratch.graph.node.extend(kept)
        scratch.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in found.items())
    return shapes, types


def _infer_once(scratch: onnx.ModelProto) -> _Inferred:
    try:
        inferred = infer_shapes(scratch, strict_mode=False, data_prop=True).graph
    except (InferenceError, RuntimeError) as error:
        raise InputError(f"the shapes in the graph contradict each other: {error}") from error
    values = [*inferred.value_info, *inferred.input, *inferred.output]
    shapes = {value.name: shape for value in values if (shape := static_shape(value)) is not None}
    types = {value.name: value.type.tensor_type.elem_type for value in values if value.name in shapes}
    stored = inferred.initializer
    return shapes | {t.name: tuple(t.dims) for t in stored}, types | {t.name: t.data_type for t in stored}


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy for shape inference in which large weights are inputs."""
    graph = onnx.GraphProto(name=model.graph.name)
    graph.node.extend(model.graph.node)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    small = [tensor for tensor in model.graph.initializer if small_tensor(tensor)]
    stored = {tensor.name for tensor in model.graph.initializer}
    graph.initializer.extend(small)
    graph.input.extend(value for value in model.graph.input if value.name not in stored)
    for tensor in model.graph.initializer:
        if not small_tensor(tensor):
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tuple(tensor.dims)))
    scratch = onnx.ModelProto(ir_version=max(model.ir_version, 4), graph=graph)
    scratch.opset_import.extend(model.opset_import)
    return scratch
