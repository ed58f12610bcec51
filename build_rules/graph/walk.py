"""From some channels of an output back to the tensors at which the decode tail begins.

Tensors are visited once, in reverse order of computation, after all their uses are known; uses of one tensor are
merged. The cost is linear in the number of nodes and nothing recurses, whatever the graph looks like.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import heappop, heappush

from build_rules.errors import InputError
from build_rules.graph.refusals import way_ends
from build_rules.graph.regions import Box
from build_rules.graph.tail import Reach, step_back
from build_rules.graph.tail.network import FOLDABLE
from build_rules.graph.tail.reach import NONE
from build_rules.graph.view import GraphView

__all__ = ["Beginning", "Walk", "walk_back"]


@dataclass(frozen=True)
class Beginning:
    """A tensor at which the tail begins: the channels used, and what is done with them.

    `activation` is what the tail applies to all of them before anything else, None when it does nothing or different
    things; `activations` are all of these. The other members are those of `Reach`.
    """

    tensor: str
    node: str
    op_type: str
    channels: tuple[int, int]
    activation: str | None
    dfl: bool
    activations: frozenset[str | None] = NONE
    computed: bool = False
    located: bool = False
    picked: bool = False
    ranked: bool = False


@dataclass(frozen=True)
class Walk:
    """What was found at the ends of the ways, in computable order, and how many nodes were crossed."""

    found: tuple[Beginning, ...]
    steps: int


def walk_back(view: GraphView, tensor: str, box: Box) -> Walk:
    """Return the feature maps [N, C, H, W] that `box` of `tensor` is made of, in the order in which they are computed.

    Raises `InputError`, naming the node, when the way back ends anywhere else than at a feature map of the image.
    """
    pending = {tensor: Reach(box)}
    queue = [-view.producers.get(tensor, -1)]
    found: dict[str, Beginning] = {}
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
                end, reach = (name, reach) if view.stride(name) or reach.resort is None else reach.resort
                found[end] = _beginning(view, tensor, end, reach)
                continue
            if view.stride(name) is not None and not _may_be_folded(view, reach):
                here = replace(reach, resort=None)
                steps = [(source, replace(use, resort=(name, here))) for source, use in steps]
            for source, use in steps:
                pending[source] = pending[source].merged(use) if source in pending else use
                heappush(queue, -view.producers.get(source, -1))
    in_order = sorted(found.values(), key=lambda beginning: view.producers[beginning.tensor])
    return Walk(tuple(in_order), len(done))


def _may_be_folded(view: GraphView, reach: Reach) -> bool:
    """Say whether nothing but scales and offsets lie between here and the last map on the way."""
    if reach.resort is None:
        return False
    node = view.producer(reach.resort[0])
    return node is not None and node.op_type in FOLDABLE and reach.located == reach.resort[1].located


def _beginning(view: GraphView, start: str, tensor: str, reach: Reach) -> Beginning:
    node = view.producer(tensor)
    assert node is not None
    if view.stride(tensor) is None:
        raise way_ends(view, start, node, tensor)
    (activation,) = reach.activations if len(reach.activations) == 1 else (None,)
    return Beginning(
        tensor=tensor,
        node=node.name,
        op_type=node.op_type,
        channels=reach.box[1],
        activation=activation,
        dfl=reach.dfl,
        activations=reach.activations,
        computed=reach.computed,
        located=reach.located,
        picked=reach.picked,
        ranked=reach.ranked,
    )
