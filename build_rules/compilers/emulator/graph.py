"""An ONNX graph as the emulator looks at it: static, single-input, with everything constant told apart from data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from build_rules.errors import InputError

__all__ = ["Graph", "attribute", "end_tensors", "evaluate", "load_model", "read_graph"]

IMAGE_CHANNELS = (1, 2, 3, 4)
STATIC_SOURCES = frozenset({"Constant", "Shape", "Size"})


@dataclass(frozen=True)
class Graph:
    """A cut ONNX graph.

    `nodes` are the data nodes only, in topological order; `constants` names every tensor that does not depend on the
    input image. `shapes` holds every data tensor's static shape. `outputs` are the delivered tensors, in end-node
    order. `producer` and `consumers` map a tensor to indices into `nodes`. `values` holds the stored constants,
    `aliases` names the source of each Identity (exporters share equal weights that way).
    """

    model: onnx.ModelProto
    nodes: tuple[onnx.NodeProto, ...]
    constants: frozenset[str]
    shapes: dict[str, tuple[int, ...]]
    input: str
    outputs: tuple[str, ...]
    producer: dict[str, int]
    consumers: dict[str, tuple[int, ...]]
    values: dict[str, onnx.TensorProto]
    aliases: dict[str, str]

    @property
    def input_is_nhwc(self) -> bool:
        """Whether the image input is [1, H, W, C] (exports of TensorFlow) rather than [1, C, H, W]."""
        shape = self.shapes[self.input]
        return shape[1] not in IMAGE_CHANNELS and shape[3] in IMAGE_CHANNELS

    def data_inputs(self, index: int) -> tuple[str, ...]:
        """Return the inputs of node `index` that are data."""
        return tuple(name for name in self.nodes[index].input if name and name not in self.constants)

    def constant(self, name: str) -> npt.NDArray[Any]:
        """Return the value of a constant tensor, evaluating the constant part of the graph when needed."""
        while name not in self.values and name in self.aliases:
            name = self.aliases[name]
        if name in self.values:
            return numpy_helper.to_array(self.values[name])
        return evaluate(self.model, [name])[name]


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return a node's attribute, or `default` when the node does not carry it."""
    for item in node.attribute:
        if item.name == name:
            return onnx.helper.get_attribute_value(item)
    return default


def load_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX file. Raises `InputError` when it is not one."""
    try:
        return onnx.load(str(path))
    except Exception as error:  # protobuf's own exception class differs between its implementations
        raise InputError(f"{path}: not a readable ONNX file ({error}).") from error


def end_tensors(graph: onnx.GraphProto, end_nodes: Sequence[str]) -> tuple[str, ...]:
    """Return the tensors that end nodes deliver; each is named by its node or, where no node has that name, itself.

    Raises `InputError` when an end node does not exist.
    """
    return tuple(_delivered(graph, end) for end in end_nodes)


def read_graph(
    model: onnx.ModelProto,
    outputs: Sequence[str],
    check: Callable[[Sequence[onnx.NodeProto]], None] | None = None,
) -> Graph:
    """Look at a cut graph that is to deliver the tensors `outputs`, in this order.

    `check` gets the data nodes before anything is run to learn their shapes. Raises what it raises, and `InputError`
    when there are no outputs, or the input is not one static image.
    """
    graph = model.graph
    initializers = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initializers]
    if len(inputs) != 1:
        raise InputError(f"the network has {len(inputs)} inputs; the compiler takes exactly one image.")
    if not outputs:
        raise InputError("no end node was named; the network would have no output.")
    alive = _ancestors(graph, outputs)
    constants = _constants(alive, initializers)
    nodes = tuple(node for node in alive if not constants.issuperset(filter(None, node.output)))
    if check is not None:
        check(nodes)
    return Graph(
        model=model,
        nodes=nodes,
        constants=constants,
        shapes=_shapes(model, nodes, inputs[0]),
        input=inputs[0].name,
        outputs=tuple(outputs),
        producer={tensor: index for index, node in enumerate(nodes) for tensor in node.output if tensor},
        consumers=_consumers(nodes),
        values=_stored(graph),
        aliases={node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"},
    )


def _stored(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            stored[node.output[0]] = node.attribute[0].t
    return stored


def _delivered(graph: onnx.GraphProto, end: str) -> str:
    for node in graph.node:
        if node.name == end and end:
            return str(node.output[0])
    if any(end in node.output for node in graph.node):
        return end
    names = ", ".join(sorted(value.name for value in graph.output))
    raise InputError(f"end node {end!r} is neither a node nor a tensor of the network; its outputs are: {names}.")


def _ancestors(graph: onnx.GraphProto, outputs: Iterable[str]) -> list[onnx.NodeProto]:
    wanted = set(outputs)
    alive: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if wanted.intersection(filter(None, node.output)):
            wanted.update(_read_by(node))
            alive.append(node)
    return alive[::-1]


def _read_by(node: onnx.NodeProto) -> set[str]:
    """Return the tensors that a node reads, those that its branches take from outside included."""
    read = set(filter(None, node.input))
    for item in node.attribute:
        for graph in [*item.graphs, *([item.g] if item.HasField("g") else [])]:
            own = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
            inner = {value.name for value in graph.output}.union(*map(_read_by, graph.node))
            read |= inner - own - {name for child in graph.node for name in child.output}
    return read


def _constants(nodes: Iterable[onnx.NodeProto], initializers: set[str]) -> frozenset[str]:
    constants = set(initializers)
    for node in nodes:
        read = _read_by(node)
        if node.op_type in STATIC_SOURCES or (read and constants.issuperset(read)):
            constants.update(filter(None, node.output))
    return frozenset(constants)


def _consumers(nodes: Iterable[onnx.NodeProto]) -> dict[str, tuple[int, ...]]:
    consumers: dict[str, tuple[int, ...]] = {}
    for index, node in enumerate(nodes):
        for name in dict.fromkeys(node.input):
            consumers[name] = (*consumers.get(name, ()), index)
    return consumers


def _shapes(
    model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto], source: onnx.ValueInfoProto
) -> dict[str, tuple[int, ...]]:
    image = _static(source)
    if image is None or len(image) != 4:
        raise InputError(f"input {source.name!r} is not a static image of rank 4; export the network with fixed sizes.")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    inferred_shapes = {
        value.name: _static(value) for value in (*inferred.input, *inferred.value_info, *inferred.output)
    }
    wanted = [tensor for node in nodes for tensor in node.output if tensor]
    missing = [tensor for tensor in wanted if inferred_shapes.get(tensor) is None]
    shapes = {name: shape for name, shape in inferred_shapes.items() if shape is not None}
    if missing:
        shapes.update(_measured_shapes(model, source, image, missing))
    return shapes


def _static(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape") or any(dim.dim_value <= 0 for dim in tensor.shape.dim):
        return None
    return tuple(dim.dim_value for dim in tensor.shape.dim)


def _measured_shapes(
    model: onnx.ModelProto, source: onnx.ValueInfoProto, image: tuple[int, ...], tensors: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """Run the network once on a black image: what inference cannot tell, execution can."""
    values = _run(model, tensors, {source.name: _black(source, image)})
    return {name: value.shape for name, value in zip(tensors, values, strict=True)}


def evaluate(model: onnx.ModelProto, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Return tensors that do not depend on what the image shows; where its size is asked for, a black one is run."""
    needed = onnx.ModelProto()
    needed.CopyFrom(model)
    nodes = _ancestors(model.graph, names)
    del needed.graph.node[:]
    needed.graph.node.extend(nodes)
    read = set[str]().union(*map(_read_by, nodes))
    sources = [value for value in model.graph.input if value.name in read]
    stored = {tensor.name for tensor in model.graph.initializer}
    images = [value for value in sources if value.name not in stored]
    del needed.graph.input[:]
    needed.graph.input.extend(images)
    feeds = {value.name: _black(value, _static(value) or ()) for value in images}
    return dict(zip(names, _run(needed, names, feeds), strict=True))


def _black(source: onnx.ValueInfoProto, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    return np.zeros(shape, dtype=onnx.helper.tensor_dtype_to_np_dtype(source.type.tensor_type.elem_type))


def _run(model: onnx.ModelProto, tensors: Sequence[str], feeds: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    from build_rules.compilers.emulator.sessions import open_session

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in tensors)
    results: list[npt.NDArray[Any]] = open_session(probe).run(None, feeds)
    return results
