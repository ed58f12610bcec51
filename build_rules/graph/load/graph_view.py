"""A graph as the walk needs it: who produces a tensor, its shape, and whether it depends on the image.

Shapes come from ONNX shape inference; where one hangs on a computed constant (exports that were not simplified), that
constant is evaluated and inference runs again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from build_rules.errors import InputError
from build_rules.graph.load.constants import Array, Constants
from build_rules.graph.load.node_order import node_inputs
from build_rules.graph.load.shapes import InferredTypes, infer_once, opset_of
from build_rules.graph.load.source import Source
from build_rules.onnx_file.onnx_files import OnnxFiles
from build_rules.records.split_json import ModelInput

__all__ = ["GraphView", "nodes_before_outputs", "view_graph", "with_outputs"]

MAX_ROUNDS = 16


@dataclass(frozen=True)
class GraphView:
    """A model and what is known of its tensors.

    `nodes` are in computable order. `sizes` are the numbers of elements that inference alone tells, whatever the file
    claims.
    """

    model: onnx.ModelProto
    input: ModelInput
    files: OnnxFiles
    nodes: tuple[onnx.NodeProto, ...]
    producers: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, int]
    sizes: Mapping[str, int]
    image_tensors: frozenset[str]
    constants: Constants
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
        return self.constants.value(tensor, self.shapes)

    def stride(self, tensor: str) -> int | None:
        """Return input size / map size of a feature map [N, C, H, W], None when that is not one integer."""
        shape = self.shapes.get(tensor, ())
        if len(shape) != 4 or shape[0] != self.batch or self.input.height % shape[2] or self.input.width % shape[3]:
            return None
        rows, columns = self.input.height // shape[2], self.input.width // shape[3]
        return rows if rows == columns else None

    @property
    def batch(self) -> int:
        """Images that the exported graph takes at once."""
        return self.input.shape[0]

    def shape_text(self, tensor: str) -> str:
        """Return a tensor's shape for messages."""
        return str(list(self.shapes[tensor])) if tensor in self.shapes else "an unknown shape"


def view_graph(source: Source) -> GraphView:
    """Return the view of a model as `load_source` leaves it.

    Raises `InputError` when its shapes contradict each other.
    """
    model, nodes = source.model, tuple(source.model.graph.node)
    producers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    image_tensors = _image_tensors(nodes, source.input.name)
    constants = Constants(nodes, producers, stored, source.files, opset_of(model))
    inferred = _infer(model, nodes, image_tensors, constants)
    return GraphView(
        model=model,
        input=source.input,
        files=source.files,
        nodes=nodes,
        producers=producers,
        shapes=inferred.shapes,
        types=inferred.types,
        sizes=inferred.sizes,
        image_tensors=image_tensors,
        constants=constants,
        outputs=tuple(value.name for value in model.graph.output),
        opset=opset_of(model),
    )


def with_outputs(view: GraphView, outputs: Sequence[str]) -> GraphView:
    """Return the view with these outputs of the graph alone, with all of them when none is named.

    Raises `InputError` for a name that is no output.
    """
    if unknown := [name for name in outputs if name not in view.outputs]:
        there = ", ".join(f"'{name}' {view.shape_text(name)}" for name in view.outputs)
        raise InputError(
            f"[split] of model.toml: outputs names '{unknown[0]}', but the graph's outputs are {there}; name some of "
            "these."
        )
    return replace(view, outputs=tuple(name for name in view.outputs if name in outputs or not outputs))


def _image_tensors(nodes: tuple[onnx.NodeProto, ...], image: str) -> frozenset[str]:
    """Return the tensors whose values depend on the image; the shape of a tensor does not, all shapes being static."""
    tensors = {image}
    for node in nodes:
        if node.op_type not in ("Shape", "Size") and any(name in tensors for name in node_inputs(node)):
            tensors.update(filter(None, node.output))
    return frozenset(tensors)


def _infer(
    model: onnx.ModelProto, nodes: tuple[onnx.NodeProto, ...], image_tensors: frozenset[str], constants: Constants
) -> InferredTypes:
    """Return what inference tells, with the constants that shapes hang on."""
    scratch = onnx.ModelProto()
    scratch.CopyFrom(model)
    produced = {name for node in nodes for name in node.output}
    stored: set[str] = set()
    sizes: dict[str, int] = {}
    for _ in range(MAX_ROUNDS):
        inferred = infer_once(scratch)
        sizes |= inferred.sizes
        lacking = [node for node in nodes if any(name and name not in inferred.shapes for name in node.output)]
        wanted = {name for node in lacking for name in node.input if name in produced and name not in image_tensors}
        values = {name: constants.value(name, inferred.shapes) for name in sorted(wanted - stored)}
        new = {name: value for name, value in values.items() if value is not None}
        if not new:
            break
        stored |= new.keys()
        kept = [node for node in scratch.graph.node if not any(name in new for name in node.output)]
        del scratch.graph.node[:]
        scratch.graph.node.extend(kept)
        scratch.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in new.items())
    return replace(inferred, sizes=sizes)


def nodes_before_outputs(
    view: GraphView, stop_at: Sequence[str] = (), given: Collection[str] = ()
) -> tuple[onnx.NodeProto, ...]:
    """Return the nodes that the outputs hang on, in computable order.

    Neither operators of `stop_at` are among them, nor what leads to them or to the tensors `given`.
    """
    needed = set(view.outputs) - set(given)
    nodes = []
    for node in reversed(view.nodes):
        if needed.intersection(node.output) and node.op_type not in stop_at:
            needed.update(name for name in node_inputs(node) if name not in given)
            nodes.append(node)
    return tuple(nodes[::-1])
