"""Split hints: which channels of which output are to be quantized apart, held against the graph's outputs.

As a trainer writes them, in `split_hints` of the EdgeFirst document::

    {"type": "quantization_split", "target": "output0", "strides": [8, 16, 32], "anchors_per_cell": 1,
     "boundaries": [{"name": "boxes", "channels": [0, 4]},
                    {"name": "scores", "channels": [4, 84], "activation": "sigmoid"}]}

Boundaries are half-open ranges of the target's logical channel axis (4 box coordinates, never 64 DFL channels), in
order, without gap or overlap, over the whole axis. Hints of another `type` are ignored. Source: the EdgeFirst metadata
schema, version 2. Those of `model.toml` are held against the same rules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from build_rules.errors import InputError
from build_rules.records.roles import ACTIVATIONS
from build_rules.records.split_hint import SplitBoundary, SplitHint
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.vocabulary import HINT_TYPE

__all__ = ["check_hints", "read_hints"]

CHANNEL_AXES = ("num_features", "num_anchors_x_features", "num_classes", "num_protos")
Shapes = Mapping[str, tuple[int, ...]]


class _HintError(Exception):
    """What is wrong with which part of the hints."""


def read_hints(document: TrainerDocument, outputs: Shapes, left_out: Collection[str] = ()) -> tuple[SplitHint, ...]:
    """Return the document's hints in its order; `outputs` are the graph outputs with their shapes.

    Hints for outputs that are `left_out` of the build are passed over, whatever they say. Raises `InputError` naming
    the hint's index, the boundary, and what was found.
    """
    try:
        hints = _followed(document, outputs, left_out)
    except _HintError as error:
        where, what = error.args
        advice = "correct the metadata or export the model again"
        raise InputError(f"{where} of the EdgeFirst metadata {what}; {advice}.") from error
    if hints and document.selects_boxes:
        raise InputError(
            "the metadata says model.end2end (the graph selects its boxes itself) and also has split_hints; such a "
            "graph cannot be split: export it without end2end and without NMS, or correct the metadata."
        )
    return hints


def check_hints(hints: Sequence[SplitHint], outputs: Shapes, place: str) -> tuple[SplitHint, ...]:
    """Return hints from elsewhere with the axes of their outputs; `place` is what holds them, for errors.

    Raises `InputError` as `read_hints` does.
    """
    checked: list[SplitHint] = []
    try:
        for index, hint in enumerate(hints):
            where = f"split_hints[{index}]"
            _check_target(where, hint.target, outputs)
            for number, boundary in enumerate(hint.boundaries):
                _check_boundary(f"{where}.boundaries[{number}]", boundary)
            checked.append(_checked(where, hint, outputs, None, checked))
    except _HintError as error:
        where, what = error.args
        raise InputError(f"{where} of {place} {what}; correct it.") from error
    return tuple(checked)


def _followed(document: TrainerDocument, outputs: Shapes, left_out: Collection[str]) -> tuple[SplitHint, ...]:
    entries = document.content.get("split_hints")
    if entries is None:
        return ()
    if not isinstance(entries, list):
        raise _error("split_hints", f"must be an array, found {entries!r}")
    hints: list[SplitHint] = []
    for index, entry in enumerate(entries):
        where = f"split_hints[{index}]"
        if isinstance(entry, dict) and entry.get("target") in tuple(left_out):
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
            raise _error(where, "must be an object with a 'type'")
        if entry["type"] == HINT_TYPE:
            hint = _hint(where, entry, outputs)
            hints.append(_checked(where, hint, outputs, _axes(document, hint.target), hints))
    return tuple(hints)


def _axes(document: TrainerDocument, target: str) -> tuple[str | None, ...] | None:
    """Return the names that the document gives the axes of an output."""
    return next((o.axes for o in document.outputs if o.name == target and o.axes is not None), None)


def _hint(where: str, entry: Mapping[str, Any], outputs: Shapes) -> SplitHint:
    """Return an entry whose members are of their types, and whose target is an output."""
    target, boundaries = entry.get("target"), entry.get("boundaries")
    _check_target(where, target, outputs)
    if not isinstance(boundaries, list) or not boundaries:
        raise _error(where, f"needs 'boundaries', an array with at least one boundary, found {boundaries!r}")
    return SplitHint(
        target=str(target),
        boundaries=tuple(_boundary(f"{where}.boundaries[{index}]", each) for index, each in enumerate(boundaries)),
        strides=_strides(where, entry.get("strides")),
        anchors_per_cell=_anchors_per_cell(where, entry.get("anchors_per_cell", 1)),
    )


def _check_target(where: str, target: Any, outputs: Shapes) -> None:
    if not isinstance(target, str) or target not in outputs:
        names = ", ".join(f"'{name}'" for name in outputs)
        raise _error(where, f"names the target {target!r}, but the graph's outputs are {names}")


def _boundary(where: str, entry: Any) -> SplitBoundary:
    if not isinstance(entry, dict):
        raise _error(where, f"must be an object, found {entry!r}")
    name, channels, activation = entry.get("name"), entry.get("channels"), entry.get("activation")
    if not isinstance(name, str):
        raise _error(where, f"needs a 'name', found {name!r}")
    if not isinstance(channels, list) or len(channels) != 2 or any(type(value) is not int for value in channels):
        raise _error(f"{where} '{name}'", f"needs 'channels' [start, stop], two integers, found {channels!r}")
    boundary = SplitBoundary(name, (channels[0], channels[1]), activation)
    _check_boundary(where, boundary)
    return boundary


def _check_boundary(where: str, boundary: SplitBoundary) -> None:
    name, activation = boundary.name, boundary.activation
    if not name.strip() or not name.isprintable():
        raise _error(where, f"needs a 'name', found {name!r}")
    if not 0 <= boundary.start < boundary.stop:
        raise _error(f"{where} '{name}'", f"has the empty or negative channel range {list(boundary.channels)}")
    if activation is not None and activation not in ACTIVATIONS:
        raise _error(f"{where} '{name}'", f"has the activation {activation!r}; allowed are {', '.join(ACTIVATIONS)}")


def _strides(where: str, strides: Any) -> tuple[int, ...]:
    if strides is None:
        return ()
    if not isinstance(strides, list) or not strides or any(type(value) is not int or value < 1 for value in strides):
        raise _error(where, f"needs 'strides' as an array of positive integers, found {strides!r}")
    return tuple(strides)


def _anchors_per_cell(where: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise _error(where, f"needs 'anchors_per_cell' as a positive integer, found {value!r}")
    return value


def _checked(
    where: str,
    hint: SplitHint,
    outputs: Shapes,
    axes: Sequence[str | None] | None,
    others: Sequence[SplitHint],
) -> SplitHint:
    """Return a hint with the axis that its boundaries cover; `axes` are the names of its target's axes."""
    _check_order(where, hint.boundaries)
    axis = _channel_axis(where, hint, outputs[hint.target], axes or ())
    if any(first >= second for first, second in pairwise(hint.strides)):
        raise _error(where, f"needs ascending 'strides', found {list(hint.strides)}")
    if any(hint.target == other.target for other in others):
        raise _error(where, f"is the second hint for the output '{hint.target}'; one is allowed")
    return replace(hint, axis=axis)


def _check_order(where: str, boundaries: Sequence[SplitBoundary]) -> None:
    """Refuse boundaries that do not follow each other from the first channel on."""
    names: set[str] = set()
    end = 0
    for boundary in boundaries:
        place = f"{where}, boundary '{boundary.name}'"
        if boundary.name in names:
            raise _error(place, "occurs twice")
        channels = f"channels [{boundary.start}, {boundary.stop}) after [.., {end})"
        if boundary.start > end:
            raise _error(place, f"leaves a gap: {channels}, nothing covers [{end}, {boundary.start})")
        if boundary.start < end:
            raise _error(place, f"{'is out of order' if boundary.stop < end else 'overlaps'}: {channels}")
        names.add(boundary.name)
        end = boundary.stop


def _channel_axis(where: str, hint: SplitHint, shape: Sequence[int], axes: Sequence[str | None]) -> int:
    """Return the axis that the boundaries cover exactly; the names of the axes decide between some of equal size."""
    last = hint.boundaries[-1]
    fitting = [axis for axis in range(1, len(shape)) if shape[axis] == last.stop]
    if not fitting:
        raise _error(
            f"{where}, boundary '{last.name}'",
            f"ends at channel {last.stop}, but no axis of '{hint.target}' with shape {list(shape)} has {last.stop} "
            "channels",
        )
    named = [axis for axis in fitting if axis < len(axes) and axes[axis] in CHANNEL_AXES]
    return (named or fitting)[0]


def _error(where: str, what: str) -> _HintError:
    return _HintError(where, what)
