"""`split_hints` of the EdgeFirst document: which channels of which output the trainer wants quantized apart.

    {"type": "quantization_split", "target": "output0", "strides": [8, 16, 32], "anchors_per_cell": 1,
     "boundaries": [{"name": "boxes", "channels": [0, 4]},
                    {"name": "scores", "channels": [4, 84], "activation": "sigmoid"}]}

Boundaries are half-open ranges of the target's logical channel axis (4 box coordinates, never 64 DFL channels), in
order, without gap or overlap, over the whole axis. Hints of another `type` are ignored. Source: the EdgeFirst metadata
schema, version 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from build_rules.errors import InputError
from build_rules.records.roles import ACTIVATIONS

__all__ = ["Boundary", "Hint", "parse_hints", "unknown_types"]

HINT_TYPE = "quantization_split"
METADATA = "the EdgeFirst metadata"
CHANNEL_AXES = ("num_features", "num_anchors_x_features", "num_classes", "num_protos")


@dataclass(frozen=True)
class Boundary:
    """Channels [start, stop) of the target. `activation`: what has to happen after the cut, as the trainer says."""

    name: str
    start: int
    stop: int
    activation: str | None = None


@dataclass(frozen=True)
class Hint:
    """One graph output to be split; `axis` is its channel axis. `strides` is empty when the trainer gives none."""

    target: str
    axis: int
    boundaries: tuple[Boundary, ...]
    strides: tuple[int, ...] = ()
    anchors_per_cell: int = 1


def unknown_types(document: Mapping[str, Any]) -> list[str]:
    """Return the types of split hints that are ignored."""
    entries = document.get("split_hints")
    kinds = [entry.get("type") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return sorted({str(kind) for kind in kinds if kind != HINT_TYPE})


def _ends_inside(document: Mapping[str, Any]) -> bool:
    """Say whether the document declares that the graph ends in its own box selection (`model.end2end`)."""
    model = document.get("model")
    return isinstance(model, dict) and model.get("end2end") is True


class _HintError(Exception):
    """What is wrong with which part of the hints."""


def parse_hints(
    document: Mapping[str, Any], outputs: Mapping[str, tuple[int, ...]], place: str = METADATA
) -> tuple[Hint, ...]:
    """Return the document's hints in its order; `outputs` are the graph outputs with their shapes.

    `place` is what holds the hints, for errors. Raises `InputError` naming the hint's index, the boundary, and what was
    found.
    """
    try:
        return _parsed(document, outputs)
    except _HintError as error:
        where, what = error.args
        advice = "correct the metadata or export the model again" if place == METADATA else "correct it"
        raise InputError(f"{where} of {place} {what}; {advice}.") from error


def _parsed(document: Mapping[str, Any], outputs: Mapping[str, tuple[int, ...]]) -> tuple[Hint, ...]:
    entries = document.get("split_hints")
    if entries is None:
        return ()
    if not isinstance(entries, list):
        raise _error("split_hints", f"must be an array, found {entries!r}")
    hints: list[Hint] = []
    for index, entry in enumerate(entries):
        where = f"split_hints[{index}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
            raise _error(where, "must be an object with a 'type'")
        if entry["type"] != HINT_TYPE:
            continue
        hint = _hint(where, entry, document, outputs)
        if any(hint.target == other.target for other in hints):
            raise _error(where, f"is the second hint for the output '{hint.target}'; one is allowed")
        hints.append(hint)
    if hints and _ends_inside(document):
        raise InputError(
            "the metadata says model.end2end (the graph selects its boxes itself) and also has split_hints; such a "
            "graph cannot be split: export it without end2end and without NMS, or correct the metadata."
        )
    return tuple(hints)


def _hint(where: str, entry: Mapping[str, Any], document: Mapping[str, Any], outputs: Mapping[str, Any]) -> Hint:
    target = entry.get("target")
    if not isinstance(target, str) or target not in outputs:
        known = ", ".join(f"'{name}'" for name in outputs)
        raise _error(where, f"names the target {target!r}, but the graph's outputs are {known}")
    boundaries = _boundaries(where, entry.get("boundaries"))
    return Hint(
        target=target,
        axis=_channel_axis(where, target, outputs[target], boundaries, document),
        boundaries=boundaries,
        strides=_strides(where, entry.get("strides")),
        anchors_per_cell=_anchors_per_cell(where, entry.get("anchors_per_cell", 1)),
    )


def _boundaries(where: str, entries: Any) -> tuple[Boundary, ...]:
    if not isinstance(entries, list) or not entries:
        raise _error(where, f"needs 'boundaries', an array with at least one boundary, found {entries!r}")
    boundaries: list[Boundary] = []
    for index, entry in enumerate(entries):
        boundary = _boundary(f"{where}.boundaries[{index}]", entry)
        place = f"{where}, boundary '{boundary.name}'"
        if any(boundary.name == other.name for other in boundaries):
            raise _error(place, "occurs twice")
        end = boundaries[-1].stop if boundaries else 0
        found = f"channels [{boundary.start}, {boundary.stop}) after [.., {end})"
        if boundary.start > end:
            raise _error(place, f"leaves a gap: {found}, nothing covers [{end}, {boundary.start})")
        if boundary.start < end:
            kind = "is out of order" if boundary.stop <= boundaries[0].start or boundary.stop < end else "overlaps"
            raise _error(place, f"{kind}: {found}")
        boundaries.append(boundary)
    return tuple(boundaries)


def _boundary(where: str, entry: Any) -> Boundary:
    if not isinstance(entry, dict):
        raise _error(where, f"must be an object, found {entry!r}")
    name, channels, activation = entry.get("name"), entry.get("channels"), entry.get("activation")
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise _error(where, f"needs a 'name', found {name!r}")
    place = f"{where} '{name}'"
    if not isinstance(channels, list) or len(channels) != 2 or any(type(value) is not int for value in channels):
        raise _error(place, f"needs 'channels' [start, stop], two integers, found {channels!r}")
    if not 0 <= channels[0] < channels[1]:
        raise _error(place, f"has the empty or negative channel range {channels}")
    if activation is not None and activation not in ACTIVATIONS:
        raise _error(place, f"has the activation {activation!r}; allowed are {', '.join(ACTIVATIONS)}")
    return Boundary(name, channels[0], channels[1], activation)


def _strides(where: str, strides: Any) -> tuple[int, ...]:
    if strides is None:
        return ()
    if not isinstance(strides, list) or not strides or any(type(value) is not int or value < 1 for value in strides):
        raise _error(where, f"needs 'strides' as an array of positive integers, found {strides!r}")
    if any(first >= second for first, second in pairwise(strides)):
        raise _error(where, f"needs ascending 'strides', found {strides}")
    return tuple(strides)


def _anchors_per_cell(where: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise _error(where, f"needs 'anchors_per_cell' as a positive integer, found {value!r}")
    return value


def _channel_axis(
    where: str, target: str, shape: Sequence[int], boundaries: Sequence[Boundary], document: Mapping[str, Any]
) -> int:
    """Return the axis that the boundaries cover exactly; the document's `dshape` decides between axes of equal size."""
    stop = boundaries[-1].stop
    fitting = [axis for axis in range(1, len(shape)) if shape[axis] == stop]
    if not fitting:
        raise _error(
            f"{where}, boundary '{boundaries[-1].name}'",
            f"ends at channel {stop}, but no axis of '{target}' with shape {list(shape)} has {stop} channels",
        )
    named = [axis for axis in fitting if _axis_name(document, target, axis) in CHANNEL_AXES]
    return (named or fitting)[0]


def _axis_name(document: Mapping[str, Any], target: str, axis: int) -> str | None:
    """Return the name of an output's axis; `dshape` lists one-key objects or pairs, in the order of the shape."""
    outputs = document.get("outputs")
    for entry in outputs if isinstance(outputs, list) else ():
        if isinstance(entry, dict) and entry.get("name") == target and isinstance(entry.get("dshape"), list):
            item = entry["dshape"][axis] if axis < len(entry["dshape"]) else None
            first = next(iter(item), None) if isinstance(item, (dict, list)) else None
            return first if isinstance(first, str) else None
    return None


def _error(where: str, what: str) -> _HintError:
    return _HintError(where, what)
