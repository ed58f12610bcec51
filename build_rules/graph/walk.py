"""From some channels of an output back to the tensors at which the decode tail begins.

Tensors are visited once, in reverse order of computation, after all their uses are known; uses of one tensor are
merged. The cost is linear in the number of nodes and nothing recurses, whatever the graph looks like.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

from build_rules.errors import InputError
from build_rules.graph.regions import Box
from build_rules.graph.tail import Reach, step_back
from build_rules.graph.view import GraphView

__all__ = ["Beginning", "walk_back"]


@dataclass(frozen=True)
class Beginning:
    """A tensor at which the tail begins: the channels used, and what is done with them.

    `activation` is what the tail applies to all of them before anything else; `dfl` says that it averages over bins.
    """

    tensor: str
    node: str
    op_type: str
    channels: tuple[int, int]
    activation: str | None
    dfl: bool


def walk_back(view: GraphView, tensor: str, box: Box) -> list[Beginning]:
    """Return the feature maps [1, C, H, W] that `box` of `tensor` is made of, in the order in which they are computed.

    Raises `InputError`, naming the node, when the way back ends anywhere else than at a feature map of the image.
    """
    pending = {tensor: Reach(box)}
    queue = [-view.producers.get(tensor, -1)]
    found: list[Beginning] = []
    done: set[int] = set()
    while queue:
        index = -heappop(queue)
        if index in done:
            continue
        done.add(index)
        if index < 0:
            raise InputError(f"the way back from '{tensor}' ends at the model's input: there is nothing to cut.")
        node = view.nodes[index]
        for name in [name for name in node.output if name in pending]:
            reach = pending.pop(name)
            steps = step_back(view, node, name, reach)
            if steps is None:
                found.append(_beginning(view, tensor, name, reach))
                continue
            for source, use in steps:
                pending[source] = pending[source].merged(use) if source in pending else use
                heappush(queue, -view.producers.get(source, -1))
    return found[::-1]


def _beginning(view: GraphView, start: str, tensor: str, reach: Reach) -> Beginning:
    node = view.producer(tensor)
    assert node is not None
    if view.stride(tensor) is None:
        raise InputError(
            f"the way back from '{start}' ends at node '{node.name}' ({node.op_type}), whose output '{tensor}' with "
            f"shape {view.shape_text(tensor)} is no feature map [1, C, H, W] of the "
            f"{view.input.width}x{view.input.height} input: this decode tail is not understood; export the model "
            "without post-processing (no NMS, no end-to-end head)."
        )
    (activation,) = reach.activations if len(reach.activations) == 1 else (None,)
    return Beginning(tensor, node.name, node.op_type, reach.box[1], activation, reach.dfl)
