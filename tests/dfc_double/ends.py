"""Where a network begins and ends, from the names that callers of the DFC give, and refusals in its words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx

from build_rules.compilers.emulator.graph import STATIC_SOURCES
from build_rules.compilers.emulator.operators import SUPPORTED

__all__ = ["Refusal", "choose_ends", "choose_start", "explain_operators", "give_shapes"]


class Refusal(Exception):
    """The double shall raise the DFC's exception called `kind`, with this text."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def give_shapes(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Set the shapes of inputs, as `net_input_shapes` asks; what was inferred from others is forgotten."""
    inputs = {value.name: value for value in _inputs(model.graph)}
    for name, shape in shapes.items():
        if name not in inputs:
            raise Refusal(
                "MisspellNodeError", f"Unable to find start node names: [{name!r}], please verify and try again."
            )
        dims = inputs[name].type.tensor_type.shape.dim
        if [dim.dim_value for dim in dims] == list(shape):
            continue
        if len(dims) != len(shape) or any(
            dim.dim_value not in (0, size) for dim, size in zip(dims, shape, strict=True)
        ):
            was = [dim.dim_value or dim.dim_param for dim in dims]
            raise Refusal("UnsupportedModelError", f"input {name} has shape {was}, which cannot become {list(shape)}")
        for dim, size in zip(dims, shape, strict=True):
            dim.dim_value = size
        del model.graph.value_info[:]
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")


def choose_ends(graph: onnx.GraphProto, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the end nodes, given as node names or as tensors; the graph's outputs when nobody names any."""
    tensors = {tensor for node in graph.node for tensor in node.output}
    known = tensors.union(node.name for node in graph.node if node.name)
    wanted = list(names) if names else [value.name for value in graph.output]
    missing = [name for name in wanted if name not in known]
    if missing:
        raise Refusal("MisspellNodeError", f"Unable to find end node names: {missing}, please verify and try again.")
    return tuple(wanted)


def choose_start(graph: onnx.GraphProto, names: Sequence[str] | None) -> str | None:
    """Return the tensor at which the network begins, None for the graph's input: start nodes belong to the network."""
    inputs = [value.name for value in _inputs(graph)]
    if not names or set(names) <= set(inputs):
        return None
    nodes = {node.name: node for node in graph.node}
    missing = [name for name in names if name not in nodes and name not in inputs]
    if missing:
        raise Refusal("MisspellNodeError", f"Unable to find start node names: {missing}, please verify and try again.")
    stored = {tensor.name for tensor in graph.initializer}
    read = {next(tensor for tensor in nodes[name].input if tensor not in stored) for name in names if name in nodes}
    if len(names) != len([name for name in names if name in nodes]) or len(read) != 1:
        raise Refusal("UnsupportedModelError", "the double takes networks with one input only")
    tensor = read.pop()
    return None if tensor in inputs else tensor


def explain_operators(graph: onnx.GraphProto, ends: Iterable[str]) -> None:
    """Raise what the DFC raises for operators it cannot place: all of them, and end nodes that would do."""
    makers = {tensor: node for node in graph.node for tensor in node.output}
    by_name = {node.name: node for node in graph.node if node.name}
    alive: dict[str, onnx.NodeProto] = {}
    waiting = [by_name[end] if end in by_name else makers[end] for end in ends]
    while waiting:
        node = waiting.pop()
        if node.output[0] not in alive:
            alive[node.output[0]] = node
            waiting += [makers[tensor] for tensor in node.input if tensor in makers]
    from_image = {value.name for value in _inputs(graph)}
    for node in graph.node:
        if node.op_type not in STATIC_SOURCES and from_image.intersection(node.input):
            from_image.update(node.output)
    computed = [node for node in graph.node if node.output[0] in alive and node.output[0] in from_image]
    bad = [node for node in computed if node.op_type not in SUPPORTED]
    if not bad:
        return
    told = [f" UnsupportedOperationError in op {node.name}: {node.op_type} operation is unsupported" for node in bad]
    message = "Parsing failed. The errors found in the graph are:\n" + "\n".join(told)
    advice = ", ".join(_nearest_convolutions(bad, makers))
    if advice:
        message += f"\nPlease try to parse the model again, using these end node names: {advice}"
    raise Refusal("ParsingWithRecommendationException", message)


def _nearest_convolutions(nodes: Iterable[onnx.NodeProto], makers: Mapping[str, onnx.NodeProto]) -> list[str]:
    found: dict[str, None] = {}
    seen: set[str] = set()
    waiting = [tensor for node in nodes for tensor in node.input]
    while waiting:
        tensor = waiting.pop(0)
        if tensor in seen or tensor not in makers:
            continue
        seen.add(tensor)
        if makers[tensor].op_type == "Conv":
            found[makers[tensor].name] = None
        else:
            waiting += makers[tensor].input
    return list(found)


def _inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    stored = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in stored]
