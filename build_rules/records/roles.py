"""What the outputs of a detector are: one row for each role, and the words for what happens to their values.

A role is the name of a boundary in the trainer's split hints, or of a map that the graph gives whole. Other names are
possible: a program that binds such an output by name reads it, no decoder does, and it is carried along (`find_role`).

Sources: the EdgeFirst metadata documentation (schema v2) and the decoders of the EdgeFirst HAL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "ACTIVATIONS",
    "AGAIN",
    "ANCHOR",
    "ANGLE",
    "BEFORE_SCORES",
    "BOXES",
    "CLASSES",
    "DECODED",
    "DETECTION",
    "DETECTOR",
    "DFL",
    "DIRECT",
    "LANDMARKS",
    "MASK_COEFS",
    "MAX_BINS",
    "NO_ENDPOINTS",
    "OBJECTNESS",
    "PROTOS",
    "ROLES",
    "SCORES",
    "SEGMENTATION",
    "SIGMOID",
    "SOFTMAX",
    "TANH",
    "UNIT_ACTIVATIONS",
    "Role",
    "find_role",
    "roles_of",
]

SIGMOID, SOFTMAX, TANH = "sigmoid", "softmax", "tanh"
ACTIVATIONS = (SIGMOID, SOFTMAX, TANH)
"""What may follow a cut."""
UNIT_ACTIVATIONS = (SIGMOID, SOFTMAX)
"""Those whose values are within 0 and 1, so that a tensor's range tells whether they have been applied."""

DFL, DIRECT = "dfl", "direct"
BOXES, SCORES, OBJECTNESS, MASK_COEFS = "boxes", "scores", "objectness", "mask_coefs"
PROTOS, SEGMENTATION, ANCHOR = "protos", "segmentation", "anchor"
LANDMARKS, ANGLE = "landmarks", "angle"
CLASSES, AGAIN = "classes", "again"
NO_ENDPOINTS = (CLASSES, AGAIN)
"""What channels of an output can be that are made of what other channels are made of: class numbers, scores again."""
DETECTOR = frozenset((BOXES, SCORES))
"""What EdgeFirst's decoders need to find anything in maps that are cut by role."""
DETECTION = "detection"
"""EdgeFirst's type of an anchor grid."""
BEFORE_SCORES = 5
"""Channels of one anchor of a grid that are no scores: four coordinates and the objectness."""
MAX_BINS = 64
"""Bins of one side of DFL boxes, of which the decoders keep one side's on the stack."""

Form = Literal["split", "whole", "map", "grid", "carried"]
Formula = Literal["box", "channels", "grid"]


@dataclass(frozen=True)
class Role:
    """One role. `order` is its place among the outputs of the metadata, by which readers tell tensors of one shape.

    `precision` is the group by which presets choose bits, empty when it is always delivered in 8. `form` says how its
    maps are described: `split`, one logical output `[1, C, N]` with a child for each scale; `whole`, one logical
    `[1, C, H, W]` with one child; `map` and `grid`, each a physical tensor; `carried`, like `split`, decoded by nobody.
    `type` is EdgeFirst's word for it, None when the schema has none; `decoder` is who reads it, if anybody.

    `channel_axis` names the channels in `dshape`. `encodings` are those that its values may have. `formula` is how the
    decoders compute what it means: `box`, `channels` (the channels as they are, activated), `grid` (both, for several
    anchors), None when nobody does. `activation` is what makes of its values what the decoders take, and `folds` says
    that the compiler may apply it on the chip: for anchor grids it may not, since their decoders apply it themselves
    (`Split.folded` decides what is asked of it).
    """

    name: str
    order: int = 100
    precision: str = ""
    form: Form = "carried"
    type: str | None = None
    decoder: str | None = None
    channel_axis: str = "num_features"
    encodings: tuple[str, ...] = ()
    formula: Formula | None = None
    activation: str | None = None
    folds: bool = True

    @property
    def only_encoding(self) -> str | None:
        """The encoding that its values always have, None when there is none or a choice."""
        return self.encodings[0] if len(self.encodings) == 1 else None


ROLES = {
    role.name: role
    for role in (
        Role(
            BOXES,
            order=0,
            precision="regression",
            form="split",
            type=BOXES,
            decoder="ultralytics",
            encodings=(DFL, DIRECT),
            formula="box",
        ),
        Role(OBJECTNESS, precision="classification", type=OBJECTNESS, formula="channels", activation=SIGMOID),
        Role(
            SCORES,
            order=1,
            precision="classification",
            form="split",
            type=SCORES,
            decoder="ultralytics",
            channel_axis="num_classes",
            formula="channels",
            activation=SIGMOID,
        ),
        Role(
            MASK_COEFS,
            order=2,
            form="split",
            type=MASK_COEFS,
            decoder="ultralytics",
            channel_axis="num_protos",
            formula="channels",
        ),
        Role(PROTOS, order=3, form="whole", type=PROTOS, decoder="ultralytics", channel_axis="num_protos"),
        Role(LANDMARKS, precision="regression", type=LANDMARKS),
        Role(ANGLE, precision="regression"),
        Role("confidence", precision="classification"),
        Role(
            ANCHOR,
            form="grid",
            type=DETECTION,
            decoder="modelpack",
            channel_axis="num_anchors_x_features",
            encodings=(ANCHOR,),
            formula="grid",
            activation=SIGMOID,
            folds=False,
        ),
        Role(SEGMENTATION, order=4, form="map", type=SEGMENTATION, decoder="modelpack", channel_axis="num_classes"),
    )
}
"""By name, in the order in which the decoders' formulas are compared with the graph: boxes tell the order of rows."""


DECODED = tuple(role.name for role in ROLES.values() if role.decoder)
"""What some decoder of EdgeFirst's reads."""


def find_role(name: str) -> Role:
    """Return the row of a role; that of a name which nobody but the user knows is carried along."""
    return ROLES.get(name) or Role(name)


def roles_of(*forms: Form) -> tuple[str, ...]:
    """Return the names of the roles of these forms, in the order of the outputs."""
    return tuple(role.name for role in sorted(ROLES.values(), key=lambda role: role.order) if role.form in forms)
