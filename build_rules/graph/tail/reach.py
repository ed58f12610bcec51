"""What the tail does with a part of a tensor, gathered on the way back, and the node where the way stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import onnx

from build_rules.errors import InputError
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.tail.index_boxes import Box, hull

__all__ = ["NONE", "Place", "Reach", "Steps"]

NONE: frozenset[str | None] = frozenset([None])


@dataclass(frozen=True)
class Reach:
    """What the tail does with a tensor: the part it uses, and how.

    `activations`: the activations applied to parts of it before anything else, None among them when a part has none.
    `contracted`: what is done along an axis right after, a `sum` or, with constant factors, an `average`.
    `dfl`: a softmax over bins was averaged so.
    `computed`: it goes into arithmetic; `located`: with constants that differ from cell to cell, such as the grid.
    `picked`: cells of it are selected by what the image shows; `ranked`: only the places of its largest values matter.
    `resort`: the last feature map on the way here, and what was done with that; the way may turn out to end there.
    """

    box: Box
    activations: frozenset[str | None] = NONE
    contracted: str = ""
    dfl: bool = False
    computed: bool = False
    located: bool = False
    picked: bool = False
    ranked: bool = False
    resort: tuple[str, Reach] | None = None

    def merged(self, other: Reach) -> Reach:
        """Return the union of two uses of one tensor."""
        return Reach(
            hull(self.box, other.box),
            self.activations | other.activations,
            self.contracted if self.contracted == other.contracted else "",
            self.dfl or other.dfl,
            self.computed or other.computed,
            self.located or other.located,
            self.picked or other.picked,
            self.ranked and other.ranked,
            self.resort if self.resort == other.resort else None,
        )


Steps = list[tuple[str, Reach]] | None


@dataclass(frozen=True)
class Place:
    """A node, the output of it that the walk came from, and what is done with that output."""

    view: GraphView
    node: onnx.NodeProto
    tensor: str
    reach: Reach

    @property
    def source(self) -> str:
        """The first input."""
        return str(self.node.input[0])

    @property
    def data(self) -> list[str]:
        """The inputs that depend on the image, each once."""
        return list(dict.fromkeys(name for name in self.node.input if name in self.view.image_tensors))

    def back(self, box: Box, **changes: Any) -> list[tuple[str, Reach]]:
        """Return the step to the first input."""
        return [(self.source, replace(self.reach, box=box, **changes))]

    def attributes(self) -> Mapping[str, object]:
        """Return the node's attributes as Python values."""
        return {a.name: onnx.helper.get_attribute_value(a) for a in self.node.attribute}

    def integer(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        value = self.attributes().get(name, default)
        return value if isinstance(value, int) else default

    def axis(self, rank: int, default: int = 0) -> int:
        """Return the attribute `axis`, counted from the front."""
        axis = self.integer("axis", default)
        return axis + rank if axis < 0 else axis

    def integers(self, index: int, name: str) -> list[int] | None:
        """Return a list that is an input in newer opsets and an attribute in older ones."""
        if len(self.node.input) > index and self.node.input[index]:
            value = self.view.constant(self.node.input[index])
            if value is None:
                raise self.lost(f"its input '{self.node.input[index]}' is not a constant")
            return [int(v) for v in value.ravel()]
        stored = self.attributes().get(name)
        return [int(v) for v in stored] if isinstance(stored, (list, tuple)) else None

    def lost(self, why: str) -> InputError:
        """Return the error of a way that cannot be followed further."""
        return InputError(
            f"node '{self.node.name}' ({self.node.op_type}) in the decode tail cannot be followed: {why}; "
            "export the model again, simplified (onnxsim) and without post-processing."
        )
