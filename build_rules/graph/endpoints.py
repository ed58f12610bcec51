"""Which endpoints a model has: every boundary of every hint at every scale, then the outputs that need no split.

A boundary's channels are followed back to the feature maps they are made of. Where several boundaries with several
anchors per cell come from the same maps (classic YOLOv5), they cannot be told apart by whole tensors, and the maps
become endpoints of one role, `anchor`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from build_rules.endpoints import Endpoint
from build_rules.errors import InputError
from build_rules.graph.document import SourceDocument
from build_rules.graph.hints import Hint, ends_inside, parse_hints
from build_rules.graph.regions import full_box, replace_axis
from build_rules.graph.view import GraphView
from build_rules.graph.walk import Beginning, walk_back
from build_rules.graph.whole_outputs import whole_output

__all__ = ["find_endpoints"]

BOXES = "boxes"
ANCHOR = "anchor"


@dataclass(frozen=True)
class _Role:
    """A role and its tensors, ascending by stride."""

    name: str
    maps: tuple[Beginning, ...]
    encoding: str | None


def find_endpoints(view: GraphView, source: SourceDocument) -> tuple[Endpoint, ...]:
    """Return the endpoints: roles in document order, unsplit outputs last, scales ascending by stride.

    Raises `InputError` when the hints do not fit the graph, or when there is no way to find endpoints.
    """
    outputs = {name: view.shapes[name] for name in view.outputs if name in view.shapes}
    if missing := [name for name in view.outputs if name not in outputs]:
        raise InputError(f"the output '{missing[0]}' has no fixed shape; export the model with a static shape.")
    hints = parse_hints(source.document, outputs)
    hinted = {hint.target for hint in hints}
    unsplit = [name for name in outputs if name not in hinted]
    if not hints and (not source.document or any(len(outputs[name]) != 4 for name in unsplit)):
        raise _no_way(view, source)
    roles = [role for hint in hints for role in _hinted_roles(view, hint)]
    for name in unsplit:
        role, encoding, found = whole_output(view, name, source.document)
        roles.append(_Role(role, (found,), encoding))
    return _endpoints(view, _joined(view, roles))


def _no_way(view: GraphView, source: SourceDocument) -> InputError:
    listed = ", ".join(f"'{name}' {view.shape_text(name)}" for name in view.outputs)
    if ends_inside(source.document):
        return InputError(
            f"the metadata says model.end2end: the graph selects its boxes itself (outputs: {listed}), which the chip "
            "cannot do; export the model without end2end and without NMS."
        )
    lack = "has no split_hints of a known type" if source.document else "is missing"
    return InputError(
        f"there is no way to tell where to cut this model: its EdgeFirst metadata {lack}, its outputs are "
        f"{listed}; export it with a trainer that embeds split_hints, or add them to the ONNX metadata 'edgefirst'."
    )


def _hinted_roles(view: GraphView, hint: Hint) -> list[_Role]:
    found: dict[str, tuple[Beginning, ...]] = {}
    for boundary in hint.boundaries:
        box = replace_axis(full_box(view.shapes[hint.target]), hint.axis, (boundary.start, boundary.stop))
        where = f"the boundary '{boundary.name}' of the output '{hint.target}'"
        found[boundary.name] = _one_per_scale(view, where, walk_back(view, hint.target, box))
        _check_strides(view, where, found[boundary.name], hint)
        _check_activation(where, found[boundary.name], boundary.activation)
    if _is_anchor_head(hint, found):
        return [_Role(ANCHOR, _whole_maps(found), ANCHOR)]
    _check_apart(view, hint, found)
    _check_same_scales(view, hint, found)
    return [_Role(name, maps, _encoding(name, maps, hint)) for name, maps in found.items()]


def _one_per_scale(view: GraphView, where: str, maps: Sequence[Beginning]) -> tuple[Beginning, ...]:
    maps = sorted(maps, key=lambda found: view.stride(found.tensor) or 0)
    for first, second in pairwise(maps):
        if view.stride(first.tensor) == view.stride(second.tensor):
            candidates = ", ".join(_shown(view, found) for found in maps)
            raise InputError(f"{where} comes from several tensors of one scale, so the cut is ambiguous: {candidates}.")
    return tuple(maps)


def _check_strides(view: GraphView, where: str, maps: Sequence[Beginning], hint: Hint) -> None:
    strides = [view.stride(found.tensor) for found in maps]
    if hint.strides and strides != list(hint.strides):
        size = f"{view.input.width}x{view.input.height}"
        shown = ", ".join(_shown(view, found) for found in maps)
        raise InputError(
            f"the split hint says strides {list(hint.strides)}, but {where} comes from feature maps with strides "
            f"{strides} of the {size} input ({shown}); correct the metadata or export the model again."
        )


def _check_activation(where: str, maps: Sequence[Beginning], expected: str | None) -> None:
    """Refuse a hint that contradicts the graph; a graph without activation leaves it to whoever reads the output."""
    for found in maps:
        if expected and found.activation and found.activation != expected:
            raise InputError(
                f"the split hint says that {where} needs the activation {expected}, but the graph applies "
                f"{found.activation} to '{found.tensor}'; correct the metadata or export the model again."
            )


def _is_anchor_head(hint: Hint, found: Mapping[str, Sequence[Beginning]]) -> bool:
    """Say whether all boundaries of a head with several anchors per cell come from the same tensors."""
    tensors = [[beginning.tensor for beginning in maps] for maps in found.values()]
    return hint.anchors_per_cell > 1 and len(tensors) > 1 and all(names == tensors[0] for names in tensors)


def _whole_maps(found: Mapping[str, Sequence[Beginning]]) -> tuple[Beginning, ...]:
    """Return the shared maps; an activation only when the tail applies it to the channels of all boundaries."""
    result = []
    for same in zip(*found.values(), strict=True):
        kinds = {beginning.activation for beginning in same}
        result.append(replace(same[0], activation=kinds.pop() if len(kinds) == 1 else None))
    return tuple(result)


def _check_apart(view: GraphView, hint: Hint, found: Mapping[str, Sequence[Beginning]]) -> None:
    users: dict[str, list[str]] = {}
    for name, maps in found.items():
        for beginning in maps:
            users.setdefault(beginning.tensor, []).append(name)
    for name, maps in found.items():
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


def _check_same_scales(view: GraphView, hint: Hint, found: Mapping[str, Sequence[Beginning]]) -> None:
    strides = {name: [view.stride(beginning.tensor) for beginning in maps] for name, maps in found.items()}
    (first, expected), *others = strides.items()
    for name, given in others:
        if given != expected:
            raise InputError(
                f"the boundaries '{first}' and '{name}' of the output '{hint.target}' come from feature maps of "
                f"different strides, {expected} and {given}; they need a hint, and an output, each."
            )


def _encoding(name: str, maps: Sequence[Beginning], hint: Hint) -> str | None:
    if all(found.dfl for found in maps):
        return "dfl"
    if name != BOXES:
        return None
    return "direct" if hint.anchors_per_cell == 1 else ANCHOR


def _joined(view: GraphView, roles: Sequence[_Role]) -> list[_Role]:
    """Join roles of one name (a head with one output per scale has one hint for each)."""
    joined: dict[str, _Role] = {}
    for role in roles:
        if role.name not in joined:
            joined[role.name] = role
            continue
        other = joined[role.name]
        maps = _one_per_scale(view, f"the role '{role.name}'", (*other.maps, *role.maps))
        if other.encoding != role.encoding:
            raise InputError(f"the role '{role.name}' is encoded as {other.encoding} and as {role.encoding}.")
        joined[role.name] = _Role(role.name, maps, role.encoding)
    return list(joined.values())


def _endpoints(view: GraphView, roles: Sequence[_Role]) -> tuple[Endpoint, ...]:
    endpoints = [
        Endpoint(
            name=f"{role.name}_{index}" if len(role.maps) > 1 else role.name,
            role=role.name,
            scale_index=index if len(role.maps) > 1 else None,
            stride=view.stride(found.tensor),
            tensor=found.tensor,
            node=found.node,
            shape=view.shapes[found.tensor],
            encoding=role.encoding,
            activation=found.activation,
        )
        for role in roles
        for index, found in enumerate(role.maps)
    ]
    for kind, values in (("name", [e.name for e in endpoints]), ("tensor", [e.tensor for e in endpoints])):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise InputError(f"two endpoints have the same {kind} '{twice[0]}'; correct the split hints.")
    return tuple(endpoints)


def _shown(view: GraphView, found: Beginning) -> str:
    return f"'{found.tensor}' {view.shape_text(found.tensor)} ({found.op_type} '{found.node}')"
