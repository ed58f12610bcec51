"""The split hints that a trainer should have written, from the graph alone.

Every channel of an output is followed back on its own. Neighbours that come from the same maps form a boundary; what
the tail does with them tells the role (`find_roles.py`). Nothing is decided by a name or a model family; which
counts matter is said there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from build_rules.errors import InputError
from build_rules.graph.find.find_roles import BOX_CHANNELS, Segment, assign_roles
from build_rules.graph.find.spare_outputs import spare_outputs
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.tail.index_boxes import full_box, replace_axis
from build_rules.graph.tail.walk import Beginning, Walk, walk_back
from build_rules.records.roles import CLASSES, NO_ENDPOINTS
from build_rules.records.split_hint import SplitBoundary, SplitHint

__all__ = ["Inferred", "infer_hints", "is_made_of", "ways_end"]

MAX_STEPS = 500_000
"""Inputs of the nodes that all ways together may cross; a large head needs some ten thousand."""
MAX_CHANNELS = 16384
MAX_OUTPUTS = 64
"""Outputs that are followed; those of a detector with a role for each scale are some dozen."""


@dataclass(frozen=True)
class Inferred:
    """The hints, one for each output that is not a map itself and is not made of what others are made of.

    `picks` says that the graph selects its boxes itself; `classes` are the channels that hold class numbers.
    """

    hints: tuple[SplitHint, ...]
    picks: bool
    classes: tuple[SplitHint, ...] = ()


def infer_hints(
    view: GraphView, outputs: Sequence[str], prototypes: Sequence[int], endpoints: Collection[str] = ()
) -> Inferred:
    """Return hints for `outputs`; `prototypes` are the channel counts of the outputs that are maps.

    `endpoints` are tensors that are endpoints already.

    Raises `InputError` when a way cannot be followed, or when the role of some channels is not understood.
    """
    if len(outputs) > MAX_OUTPUTS:
        raise InputError(f"it has {len(outputs)} outputs, more than the {MAX_OUTPUTS} that are looked at.")
    axes: dict[str, int] = {}
    segments: list[Segment] = []
    lost: dict[str, InputError] = {}
    for output in outputs:
        try:
            axes[output] = _channel_axis(view, output)
            segments += _segments(view, output, axes[output])
        except InputError as error:
            lost[output] = error
    ends = {*endpoints, *(tensor for segment in segments for tensor in segment.tensors)}
    for output, reason in lost.items():
        if not is_made_of(view, output, ends):
            raise reason
    first: InputError | None = None
    for left in _attempts(segments, endpoints):
        try:
            return _inferred(view, axes, [s for s in segments if s.output in left], prototypes)
        except InputError as error:
            first = first or error
    assert first is not None
    raise first


def _attempts(segments: Sequence[Segment], endpoints: Collection[str]) -> list[frozenset[str]]:
    """Return the outputs that are to be understood: those that tell something, one that tells all, all of them."""
    tensors: dict[str, frozenset[str]] = {}
    for segment in segments:
        tensors[segment.output] = tensors.get(segment.output, frozenset()) | segment.tensors
    every, whole = frozenset(tensors), frozenset().union(*tensors.values())
    alone = [frozenset([output]) for output, own in tensors.items() if own == whole]
    return list(dict.fromkeys([every - spare_outputs(segments, endpoints), *alone, every]))


def is_made_of(view: GraphView, output: str, tensors: Collection[str]) -> bool:
    """Say whether all ways back from an output end at these tensors."""
    ends = ways_end(view, output)
    return bool(ends) and ends <= set(tensors)


def ways_end(view: GraphView, output: str) -> frozenset[str]:
    """Return the tensors at which the ways back from an output end, none when they cannot be followed."""
    try:
        walk = walk_back(view, output, full_box(view.shapes[output]))
    except InputError:
        return frozenset()
    return frozenset(beginning.tensor for beginning in walk.beginnings)


def _inferred(
    view: GraphView, axes: Mapping[str, int], segments: Sequence[Segment], prototypes: Sequence[int]
) -> Inferred:
    roles = assign_roles(segments, prototypes)
    for segment, role in zip(segments, roles, strict=True):
        if role is None:
            raise InputError(
                f"what the channels [{segment.start}, {segment.stop}) of the output '{segment.output}' are is not "
                f"understood: {_shown(segment)}."
            )
    named = [(segment, str(role)) for segment, role in zip(segments, roles, strict=True)]
    parts = [(s, role) for s, role in named if role not in NO_ENDPOINTS]
    hints = [_hint(view, o, axis, [(s, r) for s, r in parts if s.output == o]) for o, axis in axes.items()]
    picks = any(beginning.picked for segment in segments for beginning in segment.maps)
    numbers = [
        SplitHint(s.output, (SplitBoundary(r, (s.start, s.stop)),), axis=axes[s.output])
        for s, r in named
        if r == CLASSES
    ]
    return Inferred(tuple(hint for hint in hints if hint.boundaries), picks, tuple(numbers))


def _hint(view: GraphView, output: str, axis: int, named: Sequence[tuple[Segment, str]]) -> SplitHint:
    strides = {stride for segment, _ in named for f in segment.maps if (stride := view.stride(f.tensor)) is not None}
    boundaries = tuple(SplitBoundary(role, (s.start, s.stop), _activation(s)) for s, role in named)
    cells = max((_cells(view, segment.maps) for segment, _ in named), default=1)
    rows = prod(view.shapes[output]) // view.shapes[output][axis] // view.batch
    picked = any(beginning.picked for segment, _ in named for beginning in segment.maps)
    anchors = 1 if picked or rows % cells else rows // cells
    return SplitHint(output, boundaries, tuple(sorted(strides)), anchors, axis)


def _activation(segment: Segment) -> str | None:
    return next(iter(segment.activations)) if len(segment.activations) == 1 else None


def _cells(view: GraphView, maps: Sequence[Beginning]) -> int:
    return sum(prod(view.shapes[beginning.tensor][2:]) for beginning in maps)


def _channel_axis(view: GraphView, output: str) -> int:
    """Return the axis along which every single index comes from maps of all scales."""
    shape = view.shapes[output]
    whole = walk_back(view, output, full_box(shape))
    scales = {view.stride(beginning.tensor) for beginning in whole.beginnings}
    fitting = []
    for axis in range(1, len(shape)):
        first, last = (_at(view, output, axis, index) for index in (0, shape[axis] - 1))
        if all({view.stride(f.tensor) for f in walk.beginnings} == scales for walk in (first, last)):
            # A cell of a single scale is one place of all maps; a channel is all places of some.
            everywhere = all(f.everywhere for f in (*first.beginnings, *last.beginnings))
            differs = {f.tensor for f in first.beginnings} != {f.tensor for f in last.beginnings}
            fitting.append((everywhere, differs, shape[axis] > 1, axis))
    if not fitting and len(shape) == 2 and shape[0] == view.batch == 1:
        return 0  # one value for each place, without an axis for the channel: the first has its size
    if not fitting:
        raise InputError(f"no axis of the output '{output}' {view.shape_text(output)} looks like its channels.")
    return max(fitting)[-1]


def _at(view: GraphView, output: str, axis: int, index: int) -> Walk:
    return walk_back(view, output, replace_axis(full_box(view.shapes[output]), axis, (index, index + 1)))


def _segments(view: GraphView, output: str, axis: int) -> list[Segment]:
    channels = view.shapes[output][axis]
    steps = walk_back(view, output, full_box(view.shapes[output])).steps
    if channels > MAX_CHANNELS or channels * steps > MAX_STEPS:
        raise InputError(f"the output '{output}' {view.shape_text(output)} is too large to be understood by itself.")
    walks = [_at(view, output, axis, channel).beginnings for channel in range(channels)]
    groups: list[list[int]] = []
    for channel in range(channels):
        if groups and _belong_together(walks[groups[-1][-1]], walks[channel]):
            groups[-1].append(channel)
        else:
            groups.append([channel])
    groups = _whole_boxes(groups, walks)
    parts = [part for group in groups for part in _anchor_parts(group, walks)]
    return [_segment(output, part, walks) for part in parts]


def _belong_together(first: Sequence[Beginning], second: Sequence[Beginning]) -> bool:
    tensors, others = {f.tensor for f in first}, {f.tensor for f in second}
    if {f.ranked for f in first} != {f.ranked for f in second}:
        return False
    located = all(f.located for f in (*first, *second))
    return tensors == others or bool(tensors & others and located)


def _whole_boxes(groups: Sequence[list[int]], walks: Sequence[Sequence[Beginning]]) -> list[list[int]]:
    """Join neighbours that make four coordinates of one box: of a rotated one only the centre uses the angle."""
    joined: list[list[int]] = []
    for group in groups:
        last = joined[-1] if joined else []
        beginnings = [beginning for channel in (*last, *group) for beginning in walks[channel]]
        shared = {f.tensor for channel in last for f in walks[channel]} & {f.tensor for f in walks[group[0]]}
        fitting = shared and all(f.computed for f in beginnings) and any(f.located for f in beginnings)
        if fitting and len(last) + len(group) == BOX_CHANNELS:
            joined[-1] = last + group
        else:
            joined.append(group)
    return joined


def _anchor_parts(group: list[int], walks: Sequence[Sequence[Beginning]]) -> list[list[int]]:
    """Take apart what a grid of anchors holds: four coordinates that meet the grid, objectness, scores, the rest.

    With the best class picked in the graph, the score of that is all that follows the coordinates.
    """
    located = [any(beginning.located for beginning in walks[channel]) for channel in group]
    if located == [True, True, True, True, False] and all(f.computed for f in walks[group[4]]):
        return [group[:4], group[4:]]  # the best score of the classes
    if located[:6] != [True, True, True, True, False, False] or any(located[6:]):
        return [group]
    plain = [c for c in group[4:] if all(f.activation is None and not f.computed for f in walks[c])]
    scored = [c for c in group[5:] if c not in set(plain)]
    return [part for part in (group[:4], group[4:5], scored, plain) if part]


def _segment(output: str, part: Sequence[int], walks: Sequence[Sequence[Beginning]]) -> Segment:
    names = [frozenset(beginning.tensor for beginning in walks[channel]) for channel in part]
    shared = frozenset.intersection(*names) or frozenset.union(*names)
    maps: dict[str, Beginning] = {}
    mixes = False
    for channel in part:
        for beginning in walks[channel]:
            mixes |= beginning.channels[1] - beginning.channels[0] > 1
            if beginning.tensor in shared:
                maps[beginning.tensor] = (
                    _joined(maps[beginning.tensor], beginning) if beginning.tensor in maps else beginning
                )
    others = frozenset.union(*names) - shared
    return Segment(output, part[0], part[-1] + 1, tuple(maps.values()), others, mixes)


def _joined(first: Beginning, second: Beginning) -> Beginning:
    return replace(
        first,
        channels=(min(first.channels[0], second.channels[0]), max(first.channels[1], second.channels[1])),
        activations=first.activations | second.activations,
        dfl=first.dfl or second.dfl,
        computed=first.computed or second.computed,
        located=first.located or second.located,
        picked=first.picked or second.picked,
        ranked=first.ranked and second.ranked,
    )


def _shown(segment: Segment) -> str:
    done = [
        text
        for said, text in (
            (segment.dfl, "averaged over bins"),
            (segment.located, "combined with the grid"),
            (segment.computed and not segment.located, "computed with"),
            (bool(segment.activations - {None}), f"activated by {_words(segment)}"),
        )
        if said
    ]
    tensors = ", ".join(f"'{beginning.tensor}'" for beginning in segment.maps[:5])
    return f"they come from {tensors} and are {' and '.join(done) or 'passed on as they are'}"


def _words(segment: Segment) -> str:
    return " and ".join(sorted(str(kind) for kind in segment.activations if kind))
