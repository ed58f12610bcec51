"""Which endpoints a model has.

They come from the first of these that says something: `[split]` of `model.toml`, the trainer's split hints, the
structure of the graph. Outputs that no hint covers and that are maps already become endpoints as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from build_rules.errors import InputError
from build_rules.graph.find.follow_hint import RoleMaps, find_hinted, maps_of, one_per_scale
from build_rules.graph.find.infer_hints import Inferred, infer_hints, is_made_of
from build_rules.graph.find.manual import PLACE, roles_by_hand
from build_rules.graph.find.propose import last_layers, proposal
from build_rules.graph.find.several_heads import MAX_OUTPUTS, find_heads, several_heads, understood
from build_rules.graph.find.whole_outputs import WholeOutput, peel_output, role_of_whole
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.tail.uncuttable import no_fixed_shape, refuse_uncuttable, uneven_size
from build_rules.records.choices import AUTOMATIC, SplitChoice
from build_rules.records.roles import BOXES, DETECTOR, MASK_COEFS, find_role
from build_rules.records.split_hint import SplitHint
from build_rules.records.split_json import Endpoint
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.hints import check_hints, read_hints
from build_rules.trainer.vocabulary import HINT_TYPE

__all__ = ["ModelEndpoints", "find_endpoints"]


@dataclass(frozen=True)
class ModelEndpoints:
    """Roles in document order, unsplit outputs last, scales ascending by stride; the hints that led there.

    `found_by`: `hints`, `structure` or `model.toml`. `followed` are all hints that led there, `picks` says that the
    graph selects its boxes itself, `classes` are the channels of outputs that hold class numbers. `warnings` are
    sentences for the person at the terminal.
    """

    endpoints: tuple[Endpoint, ...]
    followed: tuple[SplitHint, ...]
    found_by: str
    picks: bool = False
    classes: tuple[SplitHint, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def hints(self) -> tuple[SplitHint, ...]:
        """The hints for outputs that hold what is decoded of every place, none where the graph selects its boxes."""
        return () if self.picks else self.followed


def find_endpoints(view: GraphView, trainer: TrainerDocument, choice: SplitChoice = AUTOMATIC) -> ModelEndpoints:
    """Return the endpoints of a model.

    Raises `InputError` when hints and graph differ, and when there is no way to find endpoints.
    """
    if not choice.groups and not choice.hints:
        return _endpoints_of(view, trainer, choice)
    try:
        if choice.groups:
            return ModelEndpoints(_endpoints(view, roles_by_hand(view, choice.groups)), (), "model.toml")
        return _endpoints_of(view, trainer, choice)
    except InputError as error:
        raise (error if str(error).startswith(PLACE) else error.within(PLACE)) from error


def _endpoints_of(view: GraphView, trainer: TrainerDocument, choice: SplitChoice) -> ModelEndpoints:
    refuse_uncuttable(view)
    try:
        return _find(view, trainer, choice)
    except InputError as error:
        maps = [tensor for tensor in last_layers(view) if view.stride(tensor) is None]
        if (uneven := uneven_size(view, maps)) is not None:
            raise uneven from error
        raise


def _find(view: GraphView, trainer: TrainerDocument, choice: SplitChoice) -> ModelEndpoints:
    outputs = _outputs(view)
    given = check_hints(choice.hints, outputs, PLACE) if choice.hints else _trainers_hints(view, trainer, outputs)
    wholes = {name: whole for name in outputs if (whole := peel_output(view, name)) is not None}
    naming = {hint.target: hint for hint in given if hint.target in wholes and len(hint.boundaries) == 1}
    hints = tuple(hint for hint in given if hint.target not in naming)
    open_outputs = [name for name in outputs if name not in wholes and all(name != hint.target for hint in hints)]
    inferred = _inferred(view, trainer, open_outputs, wholes, hints) if open_outputs else Inferred((), False)
    followed = (*hints, *inferred.hints)
    roles = [role for hint in followed for role in find_hinted(view, hint, followed)]
    coefficients = {b.stop - b.start for h in followed for b in h.boundaries if b.name == MASK_COEFS}
    roles += _whole_roles(view, trainer, wholes, naming, roles, coefficients)
    _check_not_picked(given, roles)
    by_structure = bool(inferred.hints) or not given
    return ModelEndpoints(
        endpoints=_endpoints(view, _joined_heads(view, roles, followed, list(wholes))),
        followed=(*given, *inferred.hints),
        found_by="model.toml" if choice.hints else "structure" if by_structure else "hints",
        picks=inferred.picks,
        classes=inferred.classes,
        warnings=_warnings(trainer, given, inferred) if inferred.hints else (),
    )


def _outputs(view: GraphView) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the outputs that hang on the image; others have no role, and the proof covers them."""
    names = [name for name in view.outputs if name in view.image_tensors]
    if not names:
        raise InputError(
            f"its outputs {_listed(view)} do not hang on the image: they hold what is stored in the file; export a "
            "detector, or name its outputs in [split]."
        )
    if missing := [name for name in names if name not in view.shapes]:
        raise no_fixed_shape(view, missing[0])
    return {name: view.shapes[name] for name in names}


def _trainers_hints(
    view: GraphView, trainer: TrainerDocument, outputs: Mapping[str, tuple[int, ...]]
) -> tuple[SplitHint, ...]:
    """Return the trainer's hints, without those for outputs that are left out."""
    left_out = [value.name for value in view.model.graph.output if value.name not in view.outputs]
    return read_hints(trainer, outputs, left_out)


def _inferred(
    view: GraphView,
    trainer: TrainerDocument,
    outputs: Sequence[str],
    wholes: Mapping[str, WholeOutput],
    hints: Sequence[SplitHint],
) -> Inferred:
    endpoints = {tensor for hint in hints for tensor in maps_of(view, hint)}
    prototypes = [whole.map.channels[1] for whole in wholes.values()]
    try:
        return infer_hints(view, outputs, prototypes, endpoints)
    except InputError as error:
        if heads := find_heads(view, outputs, prototypes):
            raise several_heads(view, heads, list(wholes)) from error
        raise InputError(
            f"there is no way to tell where to cut this model: its EdgeFirst metadata {_lack(trainer)}, its outputs "
            f"are {_listed(view)}, and the graph does not tell: {error} Export it with a trainer that embeds "
            f"split_hints, {_advice(view, outputs, prototypes, endpoints)}or name the endpoints in model.toml; these "
            "are the candidates:",
            proposal(view),
        ) from error


def _advice(view: GraphView, outputs: Sequence[str], prototypes: Sequence[int], endpoints: Collection[str]) -> str:
    """Return which outputs to leave out, when the others are a detector and these are understood by nobody."""
    if len(outputs) > MAX_OUTPUTS:
        return ""
    strange = [output for output in outputs if not understood(view, [output], prototypes, endpoints)[0]]
    rest = [output for output in outputs if output not in strange]
    if not rest or not understood(view, rest, prototypes, endpoints)[0] >= DETECTOR:
        return ""
    return f"leave {'it' if len(strange) == 1 else 'them'} out ({_without(view, strange)}) "


def _listed(view: GraphView) -> str:
    return ", ".join(f"'{name}' {view.shape_text(name)}" for name in view.outputs)


def _lack(trainer: TrainerDocument) -> str:
    if trainer.key is None:
        return "is missing"
    if ignored := sorted(trainer.hint_types - {HINT_TYPE}):
        return f"has no split_hints of a known type (only {', '.join(map(repr, ignored))})"
    return "has no split_hints for all of them" if trainer.has_hints else "has no split_hints"


def _warnings(trainer: TrainerDocument, given: Sequence[SplitHint], inferred: Inferred) -> tuple[str, ...]:
    if trainer.key is None or inferred.picks:
        return ()
    boundaries = ", ".join(f"{b.name} [{b.start}, {b.stop})" for hint in inferred.hints for b in hint.boundaries)
    return (f"the EdgeFirst metadata {_lack(trainer)}; the graph itself tells where to cut ({boundaries})",)


def _whole_roles(
    view: GraphView,
    trainer: TrainerDocument,
    wholes: Mapping[str, WholeOutput],
    naming: Mapping[str, SplitHint],
    roles: Sequence[RoleMaps],
    coefficients: Collection[int],
) -> list[RoleMaps]:
    named_roles: list[RoleMaps] = []
    nameless = []
    for name, whole in wholes.items():
        boundary = naming[name].boundaries[0] if name in naming else None
        called = None if boundary is None else boundary.name
        role = role_of_whole(whole, trainer, called, coefficients)
        if role is None:
            nameless.append(whole)
            continue
        activation = _whole_activation(name, whole, None if boundary is None else boundary.activation)
        named_roles.append(RoleMaps(role, (replace(whole.map, activation=activation),), find_role(role).only_encoding))
    # What another output is made of, too, is an endpoint already.
    endpoints = {f.tensor for role in (*roles, *named_roles) for f in role.maps}
    new = [whole.output for whole in nameless if whole.map.tensor not in endpoints]
    if new := [output for output in new if not is_made_of(view, output, endpoints)]:
        raise InputError(
            f"what the output '{new[0]}' {view.shape_text(new[0])} is cannot be told: it is a map, and neither a split "
            "hint nor the graph says of what; add a split hint for it, export the model without it, leave it out "
            f"({_without(view, new)}) or name the endpoints in model.toml; these are the candidates:",
            proposal(view),
        )
    return named_roles


def _without(view: GraphView, outputs: Sequence[str]) -> str:
    left = ", ".join(f'"{name}"' for name in view.outputs if name not in outputs)
    return f"[split] outputs = [{left}]" if left else "[split] outputs"


def _whole_activation(output: str, whole: WholeOutput, wanted: str | None) -> str | None:
    if wanted and whole.map.activation and whole.map.activation != wanted:
        raise InputError(
            f"the split hint says that the output '{output}' needs the activation {wanted}, but the graph applies "
            f"{whole.map.activation} to '{whole.map.tensor}'; correct the hint or export the model again."
        )
    return whole.map.activation or wanted


def _check_not_picked(given: Sequence[SplitHint], roles: Sequence[RoleMaps]) -> None:
    if given and any(beginning.picked for role in roles for beginning in role.maps):
        raise InputError(
            "the graph selects its boxes itself, so split hints cannot name channels of its output; export the model "
            "without end2end and without NMS, or without split_hints."
        )


def _joined_heads(
    view: GraphView, roles: Sequence[RoleMaps], followed: Sequence[SplitHint], maps: Sequence[str]
) -> list[RoleMaps]:
    """Return the joined roles. Raises `InputError` for two heads, whose maps have the same scales."""
    try:
        return _joined(view, roles)
    except InputError as error:
        heads: list[tuple[str, ...]] = []
        for hint in followed:
            if any(boundary.name == BOXES for boundary in hint.boundaries):
                heads.append((hint.target,))
            elif heads:
                heads[-1] = (*heads[-1], hint.target)
        if len(heads) > 1:
            raise several_heads(view, heads, maps) from error
        raise


def _joined(view: GraphView, roles: Sequence[RoleMaps]) -> list[RoleMaps]:
    """Join roles of one name (a head with one output per scale has one hint for each)."""
    joined: dict[str, RoleMaps] = {}
    for role in roles:
        other = joined.get(role.name)
        if other is None or {f.tensor for f in other.maps} == {f.tensor for f in role.maps}:
            less = other is not None and not any(beginning.activation for beginning in role.maps)
            joined[role.name] = other if other is not None and less else role
            continue
        maps = one_per_scale(view, f"the role '{role.name}'", (*other.maps, *role.maps))
        if other.encoding != role.encoding:
            raise InputError(f"the role '{role.name}' is encoded as {other.encoding} and as {role.encoding}.")
        joined[role.name] = RoleMaps(role.name, maps, role.encoding)
    return list(joined.values())


def _endpoints(view: GraphView, roles: Sequence[RoleMaps]) -> tuple[Endpoint, ...]:
    endpoints = [
        Endpoint(
            name=f"{role.name}_{index}" if len(role.maps) > 1 else role.name,
            role=role.name,
            scale_index=index if len(role.maps) > 1 else None,
            stride=view.stride(beginning.tensor),
            tensor=beginning.tensor,
            node=beginning.node,
            shape=(1, *view.shapes[beginning.tensor][1:]),
            encoding=role.encoding,
            activation=beginning.activation,
        )
        for role in roles
        for index, beginning in enumerate(role.maps)
    ]
    for kind, values in (("name", [e.name for e in endpoints]), ("tensor", [e.tensor for e in endpoints])):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise InputError(f"two endpoints have the same {kind} '{twice[0]}'; name it once.")
    return tuple(endpoints)
