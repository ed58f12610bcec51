"""Endpoints as `[split]` of `model.toml` names them, over anything that metadata or graph say."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from build_rules.errors import InputError
from build_rules.graph.find.follow_hint import RoleMaps, one_per_scale
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.tail.uncuttable import uneven_size
from build_rules.graph.tail.walk import Beginning
from build_rules.records.choices import EndpointGroup
from build_rules.records.roles import BOXES, DFL, DIRECT, find_role

__all__ = ["PLACE", "roles_by_hand"]

PLACE = "[split] of model.toml"
SIDES = 4


def roles_by_hand(view: GraphView, groups: Sequence[EndpointGroup]) -> list[RoleMaps]:
    """Return the roles whose tensors are named one by one. Raises `InputError` for a name that is no map."""
    roles = []
    for group in groups:
        maps = [_map(view, name, group.activation) for name in group.tensors]
        ordered = one_per_scale(view, f"{PLACE}: the role '{group.role}'", maps)
        encoding = find_role(group.role).only_encoding or group.encoding
        _check_sides(view, group, ordered)
        roles.append(RoleMaps(group.role, ordered, encoding))
    return roles


def _check_sides(view: GraphView, group: EndpointGroup, maps: Sequence[Beginning]) -> None:
    for beginning in maps if group.role == BOXES else ():
        channels = beginning.channels[1]
        if group.encoding == DIRECT and channels != SIDES:
            fault = f'one channel for each of {SIDES} sides (encoding = "{DIRECT}")'
        elif group.encoding == DFL and (channels % SIDES or channels == SIDES):
            fault = f'bins for each of {SIDES} sides (encoding = "{DFL}")'
        else:
            continue
        raise InputError(
            f"{PLACE}: '{beginning.tensor}' {view.shape_text(beginning.tensor)} has {channels} channels, but boxes "
            f"have {fault}; name another tensor or encoding, or export the model with boxes on their own."
        )


def _map(view: GraphView, name: str, activation: str | None) -> Beginning:
    by_node = {node.name: node.output[0] for node in view.nodes if node.output}
    tensor = name if name in view.producers else by_node.get(name, name)
    node = view.producer(tensor)
    if node is None:
        near = difflib.get_close_matches(name, [*view.producers, *by_node], n=1)
        advice = f"; did you mean '{near[0]}'?" if near else "."
        raise InputError(f"{PLACE}: the graph has no tensor and no node '{name}'{advice}")
    if view.stride(tensor) is None or tensor not in view.image_tensors:
        if tensor in view.image_tensors and (uneven := uneven_size(view, [tensor])) is not None:
            raise uneven
        raise InputError(
            f"{PLACE}: '{name}' with shape {view.shape_text(tensor)} is no feature map [N, C, H, W] of the "
            f"{view.input.width}x{view.input.height} input; name the tensor before it is reshaped."
        )
    return Beginning(tensor, node.name, node.op_type, (0, view.shapes[tensor][1]), activation, False)
