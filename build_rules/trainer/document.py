"""What a trainer's document says, part by part, as the steps ask for it.

A part is read when it is asked for, so that what is wrong with it is told by the step that needs it and by no other.
What depends on the graph is read in a module of its own: `hints.py`, `anchors.py`, `preprocessing.py`, `image_size.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from build_rules.records.roles import ANCHOR
from build_rules.records.split_json import Tiling
from build_rules.trainer.tiling import read_tiling

__all__ = ["DescribedOutput", "TrainerDocument", "axis_names", "objects_of"]


@dataclass(frozen=True)
class DescribedOutput:
    """One member of `outputs[]`: what the trainer says of an output of the graph.

    `axes` are the names that `dshape` gives, in the order of the shape, None for an axis without one; `axes` and `type`
    are None where there is nothing of the kind.
    """

    name: str
    type: str | None
    is_anchor_grid: bool
    axes: tuple[str | None, ...] | None


@dataclass(frozen=True)
class TrainerDocument:
    """What the trainer wrote into the file, with `[metadata]` of `model.toml` merged over it.

    `content` is the document as it is, for whoever copies it; it holds no more than that table, and `key` is None, when
    there is no EdgeFirst metadata. `names_fault` says what is wrong with `names`, when that is there and cannot be
    read. `ultralytics` says whether it is an export of Ultralytics, `end2end` whether such a one says that it selects
    its boxes itself, and `imgsz` is the size that it says, as text.
    """

    content: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    key: str | None = None
    names_fault: str | None = None
    ultralytics: bool = False
    end2end: bool = False
    imgsz: str = ""

    @property
    def lack_of_labels(self) -> str:
        """Why there are no labels, for a message."""
        advice = 'write labels = "labels.txt" into model.toml'
        if self.names_fault is not None:
            return f"`names` is there but {self.names_fault}; correct it, or {advice}."
        return f"its metadata holds no labels; {advice}."

    def section(self, name: str) -> Mapping[str, Any]:
        """Return an object of the document, an empty one for anything else."""
        section = self.content.get(name)
        return section if isinstance(section, Mapping) else {}

    @property
    def name(self) -> object:
        """What the model is called, if anything; any JSON."""
        return self.content.get("name")

    @property
    def decoder_version(self) -> object:
        """Which decoder is said to read it, if any; any JSON."""
        return self.content.get("decoder_version")

    @property
    def snapshot(self) -> str | None:
        """The file name of the calibration snapshot that was made for this model, if one is named."""
        name = self.content.get("calibration")
        return name if isinstance(name, str) and name else None

    @property
    def selects_boxes(self) -> bool:
        """Whether it says that the graph ends in its own selection of boxes (`model.end2end`)."""
        return self.section("model").get("end2end") is True

    @property
    def tiling(self) -> Tiling | None:
        """The section `tiling`, if there is one. Raises `InputError` when no runtime could obey it."""
        return read_tiling(self.content["tiling"]) if "tiling" in self.content else None

    @property
    def has_hints(self) -> bool:
        """Whether there is anything under `split_hints`."""
        return bool(self.content.get("split_hints"))

    @property
    def hint_types(self) -> frozenset[str]:
        """The types of the split hints, whether they are followed or not."""
        return frozenset(str(entry.get("type")) for entry in objects_of(self.content.get("split_hints")))

    @property
    def outputs(self) -> tuple[DescribedOutput, ...]:
        """What is said of outputs that have a name; what is not understood of it is left out."""
        entries = objects_of(self.content.get("outputs"))
        return tuple(_output(entry) for entry in entries if isinstance(entry.get("name"), str))


def objects_of(value: object) -> list[dict[str, Any]]:
    """Return the objects in an array; nothing for anything else."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _output(entry: Mapping[str, Any]) -> DescribedOutput:
    kind = entry.get("type")
    return DescribedOutput(
        name=entry["name"],
        type=kind if isinstance(kind, str) else None,
        is_anchor_grid=entry.get("encoding") == ANCHOR,
        axes=axis_names(entry.get("dshape")),
    )


def axis_names(dshape: object) -> tuple[str | None, ...] | None:
    """Return the names of the axes of a shape, None for an axis without one; None for anything but an array."""
    return tuple(map(_axis_name, dshape)) if isinstance(dshape, list) else None


def _axis_name(axis: object) -> str | None:
    """Return the name of an axis, written as an object with one key or as a pair."""
    first = next(iter(axis), None) if isinstance(axis, dict | list) else None
    return first if isinstance(first, str) else None
