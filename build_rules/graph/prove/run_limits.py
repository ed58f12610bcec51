"""Whether a graph may be run here: a small file can ask for any amount of memory and time.

What is not told is not run: the size of every tensor has to be known by inference, inside branches as well as outside.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import onnx

from build_rules.errors import InputError
from build_rules.graph.load.branches import Branch, branches_of, stored_sparsely
from build_rules.graph.load.graph_view import GraphView, nodes_before_outputs
from build_rules.graph.load.node_order import node_inputs
from build_rules.graph.prove.node_work import products_of, room_of

__all__ = ["check_runnable"]

MAX_ELEMENTS = 1 << 32
"""Elements of all tensors of a graph together; YOLOv8l at 1280x1280 has a third."""
MAX_LIVE = 1 << 29
"""Elements that are in use at one time, 2 GiB in float."""
MAX_PRODUCTS = 1 << 40
"""Multiplications, some minutes on one core; YOLOv8x at 1280x1280 has half."""
OFF = "write proof = false into [split] of model.toml to go without the proof"
KEEPS_SIZE = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Cast", "Dropout")
"""Operators whose output holds as many elements as their input, whatever the file claims."""
OWN_DOMAINS = ("", "ai.onnx")


def check_runnable(view: GraphView, given: Collection[str] = ()) -> None:
    """Raise `InputError` for what would exhaust the machine.

    `given` are tensors that are not computed.
    """
    nodes = nodes_before_outputs(view, given=given)
    whole = Branch(nodes, dict(view.shapes), view.types, view.sizes)
    inner = [list(branches_of(view, node)) for node in nodes]
    sizes = _sizes(whole)
    inside = [
        room_of(node, whole.shapes, whole.types) + sum(map(_held, branches))
        for node, branches in zip(nodes, inner, strict=True)
    ]
    stored = stored_sparsely(view.model.graph)
    total = stored + sum(sizes.values()) + sum(inside)
    live = stored + _largest_live(view.outputs, nodes, sizes, inside)
    if total > MAX_ELEMENTS or live > MAX_LIVE:
        raise InputError(
            f"the graph computes {total} values for one image and holds {live} of them at one time, too many to be run "
            f"here; {OFF}."
        )
    parts = [whole, *(branch for branches in inner for branch in branches)]
    if (products := sum(products_of(node, part.shapes) for part in parts for node in part.nodes)) > MAX_PRODUCTS:
        raise InputError(f"the graph needs {products} multiplications for one image, too many to be run here; {OFF}.")


def _held(branch: Branch) -> int:
    """Return how many elements a branch computes in all."""
    room = sum(room_of(node, branch.shapes, branch.types) for node in branch.nodes)
    return sum(_sizes(branch).values()) + branch.stored + room


def _sizes(branch: Branch) -> dict[str, int]:
    """Return how many elements each computed tensor holds. Raises `InputError` for one of which nothing tells it."""
    sizes: dict[str, int] = {}
    with_given = dict(branch.sizes)
    for node in branch.nodes:
        for name in filter(None, node.output):
            size = _size(node, name, with_given, branch.types)
            if size is None:
                raise _untold(node, name)
            with_given[name] = sizes[name] = size
    return sizes


def _size(node: onnx.NodeProto, name: str, sizes: Mapping[str, int], types: Mapping[str, int]) -> int | None:
    if node.domain not in OWN_DOMAINS or types.get(name) == onnx.TensorProto.STRING:
        return None
    if node.op_type == "Constant":
        return sizes.get(name, 0)  # the file holds it
    if node.op_type == "RoiAlign" and not any(a.name == "sampling_ratio" and a.i > 0 for a in node.attribute):
        return None  # as many samples as a region has pixels
    return sizes.get(name, sizes.get(node.input[0]) if node.op_type in KEEPS_SIZE and node.input else None)


def _untold(node: onnx.NodeProto, name: str) -> InputError:
    kind = node.op_type if node.domain in OWN_DOMAINS else f"{node.domain}.{node.op_type}"
    return InputError(
        f"the size of '{name}' depends on the image or on what the graph does not tell (node '{node.name}', {kind}), "
        f"so the cut cannot be proven; export the model without post-processing (no NMS), or {OFF}."
    )


def _largest_live(
    outputs: Collection[str], nodes: Sequence[onnx.NodeProto], sizes: Mapping[str, int], inside: Sequence[int]
) -> int:
    """Return the largest number of elements in use at one time, when nodes run in order and free what is not needed.

    `inside` is what each node holds besides, while it runs.
    """
    last = {name: index for index, node in enumerate(nodes) for name in node_inputs(node)}
    last |= dict.fromkeys(outputs, len(nodes))
    live = largest = 0
    for index, node in enumerate(nodes):
        live += sum(sizes[name] for name in node.output if name)
        largest = max(largest, live + inside[index])
        used = {name for name in (*node_inputs(node), *node.output) if name in sizes}
        live -= sum(sizes[name] for name in used if last.get(name, index) == index)
    return largest
