"""From some channels of an output back to the tensors at which the decode tail begins.

Tensors are visited once, in reverse order of computation, after all their uses are known; uses of one tensor that touch
are merged, and all of them where there are many. The cost is linear in the number of nodes and nothing recurses,
whatever the graph looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush

from build_rules.errors import InputError
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.tail import Reach, step_back
from build_rules.graph.tail.index_boxes import Box, full_box, touch
from build_rules.graph.tail.network_arithmetic import FOLDABLE
from build_rules.graph.tail.reach import NONE
from build_rules.graph.tail.uncuttable import way_ends

__all__ = ["Beginning", "Walk", "walk_back"]

MAX_USES = 8
"""Parts of one tensor that are followed apart: what lies between them is not used."""


@dataclass(frozen=True)
class Beginning:
    """A tensor at which the tail begins: the channels used, and what is done with them.

    `activation` is what the tail applies to all of them before anything else, None when it does nothing or different
    things; `activations` are all of these. `everywhere` says that all places of the map are used. The other members are
    those of `Reach`.
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
    everywhere: bool = True


@dataclass(frozen=True)
class Walk:
    """The ends of the ways, in computable order, and how many inputs the nodes crossed have."""

    beginnings: tuple[Beginning, ...]
    steps: int


def walk_back(view: GraphView, tensor: str, box: Box) -> Walk:
    """Return the feature maps [N, C, H, W] that `box` of `tensor` is made of, in the order in which they are computed.

    Raises `InputError`, naming the node, when the way back ends anywhere else than at a feature map of the image.
    """
    pending = {tensor: [Reach(box)]}
    queue = [-view.producers.get(tensor, -1)]
    ends: dict[str, Reach] = {}
    done: set[int] = set()
    while queue:
        index = -heappop(queue)
        if index in done:
            continue
        done.add(index)
        if index < 0:
            raise InputError(f"the way back from '{tensor}' ends at the model's input: there is nothing to cut.")
        node = view.nodes[index]
        for name, reach in [(output, use) for output in node.output for use in pending.pop(output, ())]:
            steps = step_back(view, node, name, reach)
            if steps is None:
                end, reach = (name, reach) if view.stride(name) or reach.resort is None else reach.resort
                ends[end] = ends[end].merged(reach) if end in ends else reach
                continue
            if view.stride(name) is not None and not _may_be_folded(view, reach):
                here = replace(reach, resort=None)
                steps = [(source, replace(use, resort=(name, here))) for source, use in steps]
            for source, use in steps:
                pending[source] = _with_use(pending.get(source, []), use)
                heappush(queue, -view.producers.get(source, -1))
    in_order = sorted(ends, key=lambda end: view.producers[end])
    crossed = sum(len(view.nodes[index].input) for index in done)
    return Walk(tuple(_beginning(view, tensor, end, ends[end]) for end in in_order), crossed)


def _with_use(uses: Sequence[Reach], use: Reach) -> list[Reach]:
    """Return the uses of a tensor with another one."""
    apart = []
    for other in uses:
        if touch(other.box, use.box) or len(uses) == MAX_USES:
            use = use.merged(other)
        else:
            apart.append(other)
    return [*apart, use]


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
        everywhere=reach.box[2:] == full_box(view.shapes[tensor])[2:],
    )
