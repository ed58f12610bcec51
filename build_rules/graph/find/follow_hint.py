"""The maps behind the boundaries of one split hint, and whether they are what the hint says."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from build_rules.errors import InputError
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.tail.index_boxes import full_box, replace_axis
from build_rules.graph.tail.network_arithmetic import ACTIVATIONS
from build_rules.graph.tail.walk import Beginning, walk_back
from build_rules.records.roles import ANCHOR, BOXES, DFL, DIRECT, ROLES, SIGMOID, SOFTMAX, find_role
from build_rules.records.split_hint import SplitBoundary, SplitHint

__all__ = ["RoleMaps", "find_hinted", "maps_of", "one_per_scale"]

LIMITS = ("Clip", "MaxPool", "Identity", "Cast")


@dataclass(frozen=True)
class RoleMaps:
    """A role and its maps, ascending by stride."""

    name: str
    maps: tuple[Beginning, ...]
    encoding: str | None


def find_hinted(view: GraphView, hint: SplitHint, hints: Sequence[SplitHint] = ()) -> list[RoleMaps]:
    """Return the roles of a hint, in its order; `hints` are all those of the model, so that roles can be told apart.

    Where several boundaries with several anchors per cell come from the same maps (classic YOLOv5), they cannot be told
    apart by whole tensors, and the maps become one role, `anchor`. Raises `InputError` when hint and graph differ.
    """
    walks = {b.name: _maps(view, hint, b) for b in hint.boundaries}
    others = [other for other in hints if other != hint]
    foreign = [_tensors(_maps(view, other, boundary)) for other in others for boundary in other.boundaries]
    roles: dict[str, tuple[Beginning, ...]] = {}
    for boundary in hint.boundaries:
        where = f"the boundary '{boundary.name}' of the output '{hint.target}'"
        roles[boundary.name] = one_per_scale(view, where, _own(walks, boundary.name, foreign))
        _check_strides(view, where, roles[boundary.name], hint)
        _check_use(where, boundary.name, roles[boundary.name])
        roles[boundary.name] = _activated(view, where, roles[boundary.name], boundary)
    if _is_anchor_head(view, hint, roles):
        return [RoleMaps(ANCHOR, _whole_maps(roles), ANCHOR)]
    if hint.anchors_per_cell > 1:
        raise InputError(
            f"the split hint says that the output '{hint.target}' has {hint.anchors_per_cell} anchors per cell, but "
            "its boundaries come from maps of their own; decoders read several anchors only in one grid of boxes, "
            "objectness and scores per scale: correct anchors_per_cell, or export a head without anchors."
        )
    _check_apart(view, hint, roles)
    _check_same_scales(view, hint, roles)
    return [RoleMaps(name, maps, _encoding(name, maps, hint)) for name, maps in roles.items()]


def maps_of(view: GraphView, hint: SplitHint) -> frozenset[str]:
    """Return the maps that the values of a hint's output are made of."""
    return frozenset(f.tensor for b in hint.boundaries for f in _maps(view, hint, b) if not f.ranked)


def _maps(view: GraphView, hint: SplitHint, boundary: SplitBoundary) -> tuple[Beginning, ...]:
    box = replace_axis(full_box(view.shapes[hint.target]), hint.axis, boundary.channels)
    return walk_back(view, hint.target, box).beginnings


def _own(walks: Mapping[str, Sequence[Beginning]], name: str, elsewhere: Sequence[Collection[str]]) -> list[Beginning]:
    """Return the maps of a boundary without those that make up another one: rotated boxes use the angle, too.

    `elsewhere` are the maps of the boundaries of other outputs.
    """
    all_names = _tensors(walks[name])
    others = [*(_tensors(maps) for other, maps in walks.items() if other != name), *elsewhere]
    foreign = [names for names in others if set(names) < all_names]
    return [beginning for beginning in walks[name] if not any(beginning.tensor in names for names in foreign)]


def _tensors(maps: Sequence[Beginning]) -> frozenset[str]:
    return frozenset(beginning.tensor for beginning in maps)


def one_per_scale(view: GraphView, where: str, maps: Sequence[Beginning]) -> tuple[Beginning, ...]:
    """Return the maps ascending by stride. Raises `InputError`, showing them, for two of one scale."""
    ordered = sorted(maps, key=lambda beginning: view.stride(beginning.tensor) or 0)
    for first, second in pairwise(ordered):
        if view.stride(first.tensor) == view.stride(second.tensor):
            candidates = ", ".join(_shown(view, beginning) for beginning in ordered)
            raise InputError(f"{where} comes from several tensors of one scale, so the cut is ambiguous: {candidates}.")
    return tuple(ordered)


def _check_strides(view: GraphView, where: str, maps: Sequence[Beginning], hint: SplitHint) -> None:
    strides = [view.stride(beginning.tensor) for beginning in maps]
    if hint.strides and strides != list(hint.strides):
        size = f"{view.input.width}x{view.input.height}"
        shown = ", ".join(_shown(view, beginning) for beginning in maps)
        raise InputError(
            f"the split hint says strides {list(hint.strides)}, but {where} comes from feature maps with strides "
            f"{strides} of the {size} input ({shown}); correct the hint or export the model again."
        )


def _activated(
    view: GraphView, where: str, maps: Sequence[Beginning], boundary: SplitBoundary
) -> tuple[Beginning, ...]:
    """Return the maps with the activation that follows the cut, in the graph or, as the hint says, outside it.

    Raises `InputError` for a hint that contradicts the graph.
    """
    expected = boundary.activation
    for beginning in maps:
        if expected and beginning.activation and beginning.activation != expected:
            raise InputError(
                f"the split hint says that {where} needs the activation {expected}, but the graph applies "
                f"{beginning.activation} to '{beginning.tensor}'; correct the hint or export the model again."
            )
    untouched = all(beginning.activations <= {None} and not beginning.computed for beginning in maps)
    if untouched:
        return tuple(f if _has_had(view, f.tensor, expected) else replace(f, activation=expected) for f in maps)
    if expected and any(beginning.activation is None for beginning in maps):
        raise InputError(
            f"the split hint says that {where} needs the activation {expected}, but the graph computes with it first, "
            "or applies that to some of its channels only; correct the hint or export the model again."
        )
    return tuple(maps)


def _has_had(view: GraphView, tensor: str, activation: str | None) -> bool:
    """Say whether a map is what an activation gave, limited or pooled since."""
    node = view.producer(tensor)
    while node is not None and node.op_type in LIMITS:
        node = view.producer(node.input[0])
    return node is not None and activation is not None and ACTIVATIONS.get(node.op_type) == activation


def _check_use(where: str, name: str, maps: Sequence[Beginning]) -> None:
    """Refuse a name that the graph's own use of the channels contradicts."""
    if name in ROLES and not ROLES[name].encodings and all(beginning.dfl for beginning in maps):
        raise InputError(
            f"the split hint calls {where} so, but the graph averages it over bins, which is done to boxes; correct "
            "the hint or export the model again."
        )
    scored = all(f.activations <= {SIGMOID} and not f.computed for f in maps)
    if name == BOXES and scored:
        raise InputError(
            f"the split hint calls {where} so, but the graph applies a sigmoid to it and nothing else, which is done "
            "to scores; correct the hint or export the model again."
        )
    if find_role(name).formula == "channels" and all(f.located for f in maps):
        raise InputError(
            f"the split hint calls {where} so, but the graph combines it with the grid, which is done to boxes and "
            "landmarks; correct the hint or export the model again."
        )


def _is_anchor_head(view: GraphView, hint: SplitHint, roles: Mapping[str, Sequence[Beginning]]) -> bool:
    """Say whether the boundaries of a head with several anchors per cell come from parts of the same tensors."""
    tensors = [[beginning.tensor for beginning in maps] for maps in roles.values()]
    parts = any(f.channels != (0, view.shapes[f.tensor][1]) for maps in roles.values() for f in maps)
    return hint.anchors_per_cell > 1 and all(names == tensors[0] for names in tensors) and (len(tensors) > 1 or parts)


def _whole_maps(roles: Mapping[str, Sequence[Beginning]]) -> tuple[Beginning, ...]:
    """Return the shared maps; an activation only when the tail applies it to the channels of all boundaries."""
    result = []
    for same in zip(*roles.values(), strict=True):
        kinds = {beginning.activation for beginning in same}
        result.append(replace(same[0], activation=kinds.pop() if len(kinds) == 1 else None))
    return tuple(result)


def _check_apart(view: GraphView, hint: SplitHint, roles: Mapping[str, Sequence[Beginning]]) -> None:
    users: dict[str, list[str]] = {}
    for name, maps in roles.items():
        for beginning in maps:
            users.setdefault(beginning.tensor, []).append(name)
    for name, maps in roles.items():
        for beginning in maps:
            if len(users[beginning.tensor]) > 1:
                shared = " and ".join(f"'{user}'" for user in users[beginning.tensor])
                raise InputError(
                    f"the boundaries {shared} of the output '{hint.target}' come from the same tensor "
                    f"{_shown(view, beginning)} and cannot be quantized apart; join them to one boundary."
                )
            channels = view.shapes[beginning.tensor][1]
            if beginning.channels != (0, channels):
                raise InputError(
                    f"the boundary '{name}' of the output '{hint.target}' uses only the channels "
                    f"[{beginning.channels[0]}, {beginning.channels[1]}) of {_shown(view, beginning)}; a boundary "
                    "must be a whole head: correct the split hint."
                )


def _check_same_scales(view: GraphView, hint: SplitHint, roles: Mapping[str, Sequence[Beginning]]) -> None:
    strides = {name: [view.stride(beginning.tensor) for beginning in maps] for name, maps in roles.items()}
    (first, expected), *others = strides.items()
    for name, given in others:
        if given != expected:
            raise InputError(
                f"the boundaries '{first}' and '{name}' of the output '{hint.target}' come from feature maps of "
                f"different strides, {expected} and {given}; they need a hint, and an output, each."
            )


def _encoding(name: str, maps: Sequence[Beginning], hint: SplitHint) -> str | None:
    if all(beginning.dfl for beginning in maps):
        return DFL
    if name != BOXES:
        return find_role(name).only_encoding
    if any(SOFTMAX in beginning.activations for beginning in maps):
        raise InputError(
            f"the boxes of the output '{hint.target}' are made of a distribution over bins that are not weighed by 0, "
            "1, 2, ...; no EdgeFirst decoder reads such boxes: export a head with plain DFL."
        )
    return DIRECT


def _shown(view: GraphView, beginning: Beginning) -> str:
    return f"'{beginning.tensor}' {view.shape_text(beginning.tensor)} ({beginning.op_type} '{beginning.node}')"
