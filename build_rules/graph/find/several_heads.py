"""Graphs with more heads than one: a main and an auxiliary one, or one-to-many beside one-to-one.

Each head would be understood by itself; together nothing tells which one is wanted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence

from build_rules.errors import InputError
from build_rules.graph.find.infer_hints import infer_hints, is_made_of, ways_end
from build_rules.graph.load.graph_view import GraphView
from build_rules.records.roles import BOXES, DETECTOR

__all__ = ["MAX_OUTPUTS", "find_heads", "several_heads", "understood"]

MAX_OUTPUTS = 16
"""Outputs of graphs that are looked at for heads, each of which is followed several times."""
Heads = list[tuple[str, ...]]


def find_heads(view: GraphView, outputs: Sequence[str], prototypes: Sequence[int]) -> Heads:
    """Return the outputs of each head, when there are several that are each understood alone; else nothing.

    `prototypes` are the channel counts of the outputs that are maps.
    """
    if len(outputs) > MAX_OUTPUTS:
        return []
    first = [output for output in outputs if BOXES in understood(view, [output], prototypes)[0]]
    if len(first) < 2:
        return []
    for heads in _groupings(outputs, first):
        roles, strides = zip(*(understood(view, head, prototypes) for head in heads), strict=True)
        if all(own >= DETECTOR for own in roles):
            # Outputs of one head, one for each scale, have no scale in common.
            return heads if len(frozenset().union(*strides)) < sum(map(len, strides)) else []
    return []


def several_heads(view: GraphView, heads: Heads, maps: Sequence[str]) -> InputError:
    """Return the error that lets the user choose; `maps` are the outputs that are maps, such as prototypes."""
    shown = " and ".join(", ".join(f"'{name}' {view.shape_text(name)}" for name in head) for head in heads)
    # A head's raw maps say nothing new, and those of the other one would ask for a role.
    ends = {tensor for head in heads for output in head for tensor in ways_end(view, output)}
    maps = [name for name in maps if not is_made_of(view, name, ends)]
    tables = []
    for number, head in enumerate(heads):
        own = [*head, *(maps[number : number + 1] if len(maps) == len(heads) else maps)]
        names = ", ".join(json.dumps(name, ensure_ascii=False) for name in view.outputs if name in own)
        tables += ["# or", "[split]", f"outputs = [{names}]"]
    return InputError(
        f"the graph has {len(heads)} heads: {shown} each hold boxes and scores of their own (a main and an auxiliary "
        "head, or one-to-many beside one-to-one), and nothing tells which one is wanted; export one of them, or copy "
        "one of these tables into model.toml, which leaves the other out:",
        "\n".join(tables[1:]),
    )


def understood(
    view: GraphView, outputs: Sequence[str], prototypes: Sequence[int], endpoints: Collection[str] = ()
) -> tuple[frozenset[str], frozenset[int]]:
    """Return the roles and strides of a head, none when it is not understood; arguments as of `infer_hints`."""
    try:
        hints = infer_hints(view, outputs, prototypes, endpoints).hints
    except InputError:
        return frozenset(), frozenset()
    roles = frozenset(boundary.name for hint in hints for boundary in hint.boundaries)
    return roles, frozenset(stride for hint in hints for stride in hint.strides)


def _groupings(outputs: Sequence[str], first: Sequence[str]) -> Iterator[Heads]:
    """Yield the ways in which the other outputs may belong to those that hold boxes."""
    after: Heads = []
    for output in outputs:
        if output in first:
            after.append((output,))
        elif after:
            after[-1] = (*after[-1], output)
    yield after
    rest = [output for output in outputs if output not in first]
    count, size = len(first), len(rest) // len(first)
    if rest and len(rest) % count == 0:
        yield [(output, *rest[i * size : (i + 1) * size]) for i, output in enumerate(first)]
        yield [(output, *rest[i::count]) for i, output in enumerate(first)]
