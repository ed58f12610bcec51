"""What the channels of an output are, from what the tail does with them.

======================  ========================================================================================
`boxes`                 a distribution over bins is averaged (DFL), or four channels go into arithmetic with the grid
`landmarks`             other channels that go into arithmetic with the grid, perhaps beside visibilities
`angle`                 channels whose maps also go into the boxes
`scores`                an activation and nothing else
`objectness`            the same, one channel, beside scores of several
`mask_coefs`            nothing at all, beside scores, and there is an output of as many prototypes
`again`                 nothing at all, and another output has their scores: logits beside probabilities
======================  ========================================================================================
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from build_rules.graph.tail.walk import Beginning
from build_rules.records.roles import (
    AGAIN,
    ANGLE,
    BOXES,
    CLASSES,
    LANDMARKS,
    MASK_COEFS,
    NO_ENDPOINTS,
    OBJECTNESS,
    SCORES,
    SIGMOID,
    SOFTMAX,
)

__all__ = ["BOX_CHANNELS", "Segment", "assign_roles"]

BOX_CHANNELS = 4


@dataclass(frozen=True)
class Segment:
    """Channels [start, stop) of an output that are made of the same maps.

    `maps` are those maps, with what is done to all channels together; `others` the tensors that some channels use
    besides. `mixes` says that a channel is made of several channels of a map.
    """

    output: str
    start: int
    stop: int
    maps: tuple[Beginning, ...]
    others: frozenset[str] = frozenset()
    mixes: bool = False

    @property
    def size(self) -> int:
        """Number of channels."""
        return self.stop - self.start

    @property
    def tensors(self) -> frozenset[str]:
        """The names of the maps."""
        return frozenset(beginning.tensor for beginning in self.maps)

    @property
    def dfl(self) -> bool:
        """Whether bins are averaged."""
        return any(beginning.dfl for beginning in self.maps)

    @property
    def located(self) -> bool:
        """Whether it goes into arithmetic with the grid."""
        return any(beginning.located for beginning in self.maps)

    @property
    def computed(self) -> bool:
        """Whether it goes into any arithmetic."""
        return any(beginning.computed for beginning in self.maps)

    @property
    def ranked(self) -> bool:
        """Whether only places of largest values come out of it: class numbers."""
        return all(beginning.ranked for beginning in self.maps)

    @property
    def activations(self) -> frozenset[str | None]:
        """What is applied to its maps first."""
        return frozenset().union(*(beginning.activations for beginning in self.maps))


def assign_roles(segments: Sequence[Segment], prototypes: Collection[int]) -> list[str | None]:
    """Return the role of each segment of a model, None where it is not understood.

    `prototypes` are the channel counts of the spatial outputs. Class numbers have the role `classes`; they and what is
    there `again` are no endpoints.
    """
    roles: list[str | None] = [CLASSES if segment.ranked else None for segment in segments]
    box = _box(segments, roles)
    for index, segment in enumerate(segments):
        if roles[index] is None:
            roles[index] = BOXES if index == box else _role(segment, None if box is None else segments[box])
    for index, segment in enumerate(segments):
        if roles[index] == "unactivated" and _scored_elsewhere(segment, segments, roles):
            roles[index] = AGAIN
        elif roles[index] == "unactivated":
            # Without scores they could be these, left without their activation.
            roles[index] = MASK_COEFS if segment.size in prototypes and SCORES in roles else None
    return _each_once(segments, _with_objectness(segments, roles))


def _scored_elsewhere(segment: Segment, segments: Sequence[Segment], roles: Sequence[str | None]) -> bool:
    scored = [other for other, role in zip(segments, roles, strict=True) if role in (SCORES, OBJECTNESS)]
    return any(other.output != segment.output and segment.tensors <= other.tensors for other in scored)


def _each_once(segments: Sequence[Segment], roles: Sequence[str | None]) -> list[str | None]:
    """Return the roles without those that two parts of one output have: nothing tells which is which."""
    pairs = [(segment.output, role) for segment, role in zip(segments, roles, strict=True)]
    return [role if role in NO_ENDPOINTS or pairs.count((output, role)) == 1 else None for output, role in pairs]


def _box(segments: Sequence[Segment], roles: Sequence[str | None]) -> int | None:
    open_ones = [index for index, role in enumerate(roles) if role is None]
    four = [i for i in open_ones if segments[i].located and segments[i].size == BOX_CHANNELS]
    # A softmax in boxes that are no DFL is a distribution over other bins than the decoders average.
    four = [i for i in four if SOFTMAX not in segments[i].activations]
    for wanted in (
        [index for index in open_ones if segments[index].dfl],
        [index for index in four if segments[index].mixes],
        four,
    ):
        if wanted:
            # Of two that look like boxes none is told from the other.
            return wanted[0] if len(wanted) == 1 else None
    return None


def _role(segment: Segment, box: Segment | None) -> str | None:
    if segment.dfl:
        return None
    if box is not None and segment.tensors <= box.others:
        return ANGLE
    if segment.located:
        return None if box is None else LANDMARKS
    if segment.computed:
        # Scores that were multiplied with the objectness of the same grid of anchors.
        whole_grid = box is not None and segment.tensors == box.tensors and segment.activations <= {SIGMOID}
        return SCORES if whole_grid else None
    if segment.activations <= {SIGMOID} or segment.activations <= {SOFTMAX}:
        return SCORES
    return "unactivated" if segment.activations <= {None} else None


def _with_objectness(segments: Sequence[Segment], roles: Sequence[str | None]) -> list[str | None]:
    """Return the roles with the one of two kinds of scores that is a single channel as objectness.

    Of two single channels, as of other pairs, nothing tells which is which, unless they follow each other in one grid
    of anchors, where the objectness comes first.
    """
    scored = [index for index, role in enumerate(roles) if role == SCORES]
    single = [index for index in scored if segments[index].size == 1 and not segments[index].mixes]
    named = list(roles)
    if len(scored) == 2 and _in_one_grid(segments[scored[0]], segments[scored[1]]):
        named[scored[0]] = OBJECTNESS
    elif len(scored) == 2 and len(single) == 1:
        named[single[0]] = OBJECTNESS
    elif len(scored) > 1:
        for index in scored:
            named[index] = None
    return named


def _in_one_grid(first: Segment, second: Segment) -> bool:
    return first.size == 1 and first.tensors == second.tensors and first.stop == second.start
