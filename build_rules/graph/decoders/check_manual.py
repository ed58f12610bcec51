"""Whether endpoints named one by one are what the graph makes of them.

`[split]` of `model.toml` wins over what metadata say and over what the structure suggests, because both can be wrong.
It cannot win over arithmetic: where the graph, run on random numbers, has shown that a map holds scores, boxes in the
same place would be nonsense in every decoder.
"""

from __future__ import annotations

from collections.abc import Sequence

from build_rules.errors import InputError
from build_rules.graph.decoders.decoder_check import Decoding, check_decoding
from build_rules.graph.decoders.find_anchors import read_anchors
from build_rules.graph.find.find_endpoints import ModelEndpoints, find_endpoints
from build_rules.graph.find.manual import PLACE
from build_rules.graph.find.whole_outputs import LAYOUT
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.tail.network_arithmetic import ACTIVATIONS
from build_rules.records.split_hint import SplitHint
from build_rules.records.split_json import Endpoint
from build_rules.trainer.document import TrainerDocument

__all__ = ["check_by_hand", "hints_of_grids"]


def check_by_hand(view: GraphView, trainer: TrainerDocument, endpoints: Sequence[Endpoint]) -> Decoding:
    """Compare endpoints with those that were found without a hand and that decode as the graph does.

    Raises `InputError` for a map that is given the role, encoding or activation of another one. Roles that no decoder
    reads are the user's own; nothing is said of maps that cannot be found otherwise.
    """
    shown = _shown(view, trainer) or _shown(view, TrainerDocument())
    if shown is None:
        for endpoint in endpoints:
            _check_activation(view, endpoint)
        return Decoding()
    unaided, decoding = shown
    roles = {*decoding.roles, *(e.role for e in unaided.endpoints if e.is_grid and decoding.roles)}
    expected = {endpoint.tensor: endpoint for endpoint in unaided.endpoints if endpoint.role in roles}
    read = [e for e in endpoints if e.kind.formula is not None]
    for endpoint in read:
        other = expected.get(endpoint.tensor)
        if other is None:
            _check_activation(view, endpoint)
        elif _kind(endpoint) != _kind(other):
            raise InputError(
                f"{PLACE} says that '{endpoint.tensor}' is {_words(endpoint)}, but run on random numbers the graph "
                f"makes it {_words(other)}; correct the table, or give the tensor a role of your own "
                f'("raw_{endpoint.role}") if a decoder of your own reads it.'
            )
    not_expected = {e.role for e in read if e.tensor not in expected}
    return Decoding(tuple(role for role in dict.fromkeys(e.role for e in read) if role not in not_expected))


def _check_activation(view: GraphView, endpoint: Endpoint) -> None:
    """Refuse an activation that would be applied twice, or not at all."""
    if endpoint.kind.activation is None:
        return
    node = view.producer(endpoint.tensor)
    while node is not None and node.op_type in LAYOUT:
        node = view.producer(node.input[0])
    applied = ACTIVATIONS.get(node.op_type) if node is not None else None
    if node is not None and applied and (endpoint.activation or endpoint.is_grid):
        cure = "" if endpoint.is_grid else ', or write activation = "none"'
        raise InputError(
            f"{PLACE}: '{endpoint.tensor}' is behind a {applied} already (node '{node.name}'), which would be applied "
            f"once more: name the tensor before it, '{node.input[0]}'{cure}."
        )
    users = _users(view, endpoint.tensor)
    left = {ACTIVATIONS.get(user) for user in users}
    if endpoint.activation is None and not applied and len(left) == 1 and (kind := left.pop()):
        raise InputError(
            f"{PLACE}: the graph applies a {kind} to '{endpoint.tensor}', which is cut off with the rest behind it; "
            f'write activation = "{kind}".'
        )


def _users(view: GraphView, tensor: str) -> set[str]:
    """Return the operators that take a tensor, through those that only move its values."""
    users: set[str] = set()
    moved = {tensor}
    for node in view.nodes:
        if moved.intersection(node.input):
            if node.op_type in (*LAYOUT, "Reshape", "Flatten", "Concat"):
                moved.update(node.output)
            else:
                users.add(node.op_type)
    return users


def hints_of_grids(view: GraphView, trainer: TrainerDocument, endpoints: Sequence[Endpoint]) -> tuple[SplitHint, ...]:
    """Return the hints of the anchor grids named by hand, as found without a hand; none when these are other maps."""
    grids = {endpoint.tensor for endpoint in endpoints if endpoint.is_grid}
    for document in (trainer, TrainerDocument()):
        try:
            unaided = find_endpoints(view, document)
        except InputError:
            continue
        if grids == {endpoint.tensor for endpoint in unaided.endpoints if endpoint.is_grid}:
            return unaided.hints
    return ()


def _shown(view: GraphView, trainer: TrainerDocument) -> tuple[ModelEndpoints, Decoding] | None:
    try:
        unaided = find_endpoints(view, trainer)
        anchor_head = any(endpoint.is_grid for endpoint in unaided.endpoints)
        anchors = read_anchors(view, unaided.endpoints, unaided.hints) if anchor_head else None
        return unaided, check_decoding(
            view, unaided.endpoints, unaided.followed, unaided.picks, anchors, unaided.classes
        )
    except InputError:
        return None


def _kind(endpoint: Endpoint) -> tuple[str, str | None, str | None]:
    return endpoint.role, endpoint.encoding, endpoint.activation


def _words(endpoint: Endpoint) -> str:
    encoding = f" encoded as {endpoint.encoding}" if endpoint.encoding else ""
    activation = f" that need {endpoint.activation}" if endpoint.activation else ""
    return f"{endpoint.role}{encoding}{activation or ' without an activation'}"
