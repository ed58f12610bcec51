"""Whether a graph may be run here: a small file can ask for any amount of memory and time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod

import onnx

from build_rules.errors import InputError
from build_rules.graph.order import node_inputs
from build_rules.graph.view import GraphView, nodes_before_outputs

__all__ = ["check_runnable"]

MAX_ELEMENTS = 1 << 32
"""Elements of all tensors of a graph together; YOLOv8l at 1280x1280 has a third."""
MAX_LIVE = 1 << 29
"""Elements that are in use at one time, 2 GiB in float."""
MAX_PRODUCTS = 1 << 40
"""Multiplications, some minutes on one core; YOLOv8x at 1280x1280 has half."""
OFF = "write proof = false into [split] of model.toml to go without the proof"
POOLS = ("MaxPool", "AveragePool", "LpPool")
RECURRENT = ("RNN", "LSTM", "GRU")


def check_runnable(view: GraphView, given: Collection[str] = ()) -> None:
    """Raise `InputError` for what would exhaust the machine; inference has told every size there is.

    `given` are tensors that are not computed.
    """
    nodes = nodes_before_outputs(view, given=given)
    produced = [name for node in nodes for name in node.output if name]
    unknown = [name for name in produced if name in view.image_tensors and name not in view.shapes]
    if unknown:
        raise InputError(
            f"the size of '{unknown[0]}' depends on the image, so the cut cannot be proven; export the model without "
            f"post-processing (no NMS), or {OFF}."
        )
    total, live = sum(_size(view, name) for name in produced), _largest_live(view, nodes)
    if total > MAX_ELEMENTS or live > MAX_LIVE:
        raise InputError(
            f"the graph computes {total} values for one image and holds {live} of them at one time, too many to be run "
            f"here; {OFF}."
        )
    if (products := sum(_products(view, node) for node in nodes)) > MAX_PRODUCTS:
        raise InputError(f"the graph needs {products} multiplications for one image, too many to be run here; {OFF}.")


def _size(view: GraphView, name: str) -> int:
    return prod(view.shapes.get(name, ()))


def _largest_live(view: GraphView, nodes: Sequence[onnx.NodeProto]) -> int:
    """Return the largest number of elements in use at one time, when nodes run in order and free what is not needed."""
    last = {name: index for index, node in enumerate(nodes) for name in node_inputs(node)}
    last |= dict.fromkeys(view.outputs, len(nodes))
    live = largest = 0
    for index, node in enumerate(nodes):
        live += sum(_size(view, name) for name in node.output if name)
        largest = max(largest, live)
        used = {name for name in (*node_inputs(node), *node.output) if name in view.producers}
        live -= sum(_size(view, name) for name in used if last.get(name, index) == index)
    return largest


def _products(view: GraphView, node: onnx.NodeProto) -> int:
    """Return about how many products of two numbers a node computes, if they are more than its values."""
    shapes = [view.shapes.get(name, ()) for name in node.input]
    size = _size(view, node.output[0])
    if node.op_type == "Conv":
        return size * prod(shapes[1][1:])
    if node.op_type == "ConvTranspose":
        return prod(shapes[0]) * prod(shapes[1][1:])
    if node.op_type in ("MatMul", "Gemm") and shapes[0]:
        return size * max(shapes[0][-2:])
    if node.op_type in POOLS:
        return size * prod(next((a.ints for a in node.attribute if a.name == "kernel_shape"), ()))
    if node.op_type == "Einsum":
        return _einsum_products(node, shapes)
    if node.op_type in RECURRENT:
        return prod(shapes[0][:2]) * (prod(shapes[1]) + prod(shapes[2]))
    return 0


def _einsum_products(node: onnx.NodeProto, shapes: Sequence[tuple[int, ...]]) -> int:
    equation = next((a.s.decode(errors="replace") for a in node.attribute if a.name == "equation"), "")
    terms = equation.split("->")[0].replace(" ", "").split(",")
    sizes = {letter: size for term, shape in zip(terms, shapes, strict=False) for letter, size in zip(term, shape)}  # noqa: B905
    return prod(sizes.values())
