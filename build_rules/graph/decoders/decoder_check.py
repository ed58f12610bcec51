"""Whether EdgeFirst's decoders make of the endpoints what the graph makes of them.

The cut can be right and its description wrong: boxes may be written in another way than any decoder reads them, classes
in another order. So the removed tail is run on random maps, and what comes out is compared with the decoders' formulas,
row by row and channel by channel. A head that computes something else has no decoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from build_rules.errors import InputError
from build_rules.graph.decoders.match_rows import (
    Order,
    Scale,
    Tolerance,
    are_regular,
    find_boxes,
    find_picked,
    fits,
    fits_classes,
    fits_picked,
    rows_of,
)
from build_rules.graph.find.propose import proposal
from build_rules.graph.load.constants import Array
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.prove.runtime import run_tail
from build_rules.graph.tail.uncuttable import uneven_size
from build_rules.objects.formulas import activated, anchor_boxes, averaged_bins, boxes_from_sides, middles
from build_rules.records.roles import (
    ANCHOR,
    ANGLE,
    BEFORE_SCORES,
    BOXES,
    CLASSES,
    DFL,
    DIRECT,
    MASK_COEFS,
    OBJECTNESS,
    ROLES,
    SCORES,
    SIGMOID,
    find_role,
)
from build_rules.records.split_hint import SplitHint
from build_rules.records.split_json import Anchors, Endpoint

__all__ = ["COMPARED", "Decoding", "check_decoding", "without_unread"]

SEED = 20261125
COMPARED = tuple(role.name for role in ROLES.values() if role.formula in ("box", "channels"))
NO_GRID = (
    "whether EdgeFirst's decoders read the boxes of this model rightly is not known: the graph places them at other "
    "positions than the middles of the cells; decode a few images before you rely on it"
)
FORMULAS = {
    DFL: "distances to left, top, right and bottom, each the mean over a run of bins, in cells",
    DIRECT: "distances to left, top, right and bottom, in cells",
    ANCHOR: "raw grids by YOLOv5's formula, with the anchors that the graph holds",
}


@dataclass(frozen=True)
class Part:
    """Channels of an output that are compared with what the decoders make of the maps of a role."""

    role: str
    hint: SplitHint
    channels: tuple[int, int]


@dataclass(frozen=True)
class Decoding:
    """The roles whose values the decoders compute as the graph does; sentences for the person at the terminal."""

    roles: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def check_decoding(
    view: GraphView,
    endpoints: Sequence[Endpoint],
    hints: Sequence[SplitHint],
    picks: bool,
    anchors: Anchors | None,
    numbers: Sequence[SplitHint] = (),
) -> Decoding:
    """Compare the graph with the decoders.

    `hints` say which channels of which output have which role; `picks` that the graph selects boxes itself; `anchors`
    are those of an anchor head, in pixels; `numbers` are the channels that hold class numbers. Raises `InputError` for
    a head that the decoders read as something else. Boxes whose grid is no grid are a warning: that is no other formula
    but other numbers, as in a network whose constants were drawn at random.
    """
    of_grids = any(endpoint.is_grid for endpoint in endpoints)
    roles = [role for role in COMPARED if of_grids or any(endpoint.role == role for endpoint in endpoints)]
    parts = [Part(role, h, b.channels) for role in roles for h in hints for b in h.boundaries if b.name == role]
    if not parts or (picks and BOXES not in roles):
        return Decoding()
    if not picks and SCORES in roles:
        parts += [Part(CLASSES, hint, b.channels) for hint in numbers for b in hint.boundaries]
    maps = _random_maps(view, endpoints)
    outputs = run_tail(view, maps, list(dict.fromkeys(part.hint.target for part in parts)))
    grids = [maps[endpoint.tensor] for endpoint in endpoints if endpoint.is_grid]
    parts = [part for part in parts if not _is_moved(outputs[part.hint.target], grids)]
    scales = _scales(endpoints, maps, anchors, _classes(endpoints, parts, anchors))
    turned = any(endpoint.role == ANGLE for endpoint in endpoints)
    wrong = (_wrong_picked if picks else _wrong)(view, scales, parts, outputs, turned)
    refused = [part for part in wrong if part.role != BOXES or not (picks or _has_no_grid(view, endpoints, part))]
    if refused:
        if (uneven := uneven_size(view, [e.tensor for e in endpoints])) is not None:
            raise uneven
        raise InputError(_refusal(refused[0], endpoints), proposal(view))
    agreeing = dict.fromkeys(part.role for part in parts)
    for role in (CLASSES, *(part.role for part in wrong)):
        agreeing.pop(role, None)
    return Decoding(tuple(agreeing), (NO_GRID,) if wrong else ())


def without_unread(decoding: Decoding, endpoints: Sequence[Endpoint]) -> Decoding:
    """Return what remains when nobody applies the activation of the scores: the decoders know a sigmoid alone."""
    unread = {e.activation for e in endpoints if e.role == SCORES} - {None, find_role(SCORES).activation}
    if not unread:
        return decoding
    warning = (
        f"the scores of this model are made by a {'/'.join(sorted(map(str, unread)))}, which EdgeFirst's decoders do "
        "not apply (a sigmoid they do): they take the values before it for scores, so that thresholds mean something "
        "else; a program has to apply it first"
    )
    return Decoding(tuple(role for role in decoding.roles if role != SCORES), (*decoding.warnings, warning))


def _is_moved(output: Array, grids: Sequence[Array]) -> bool:
    """Say whether an output is a raw grid, of which the graph decodes nothing that could be compared."""
    same = [grid for grid in grids if grid.size == output.size]
    return any(np.array_equal(np.sort(grid, axis=None), np.sort(output, axis=None)) for grid in same)


def _classes(endpoints: Sequence[Endpoint], parts: Sequence[Part], anchors: Anchors | None) -> int:
    """Return how many classes the grids of an anchor head hold: the graph may keep the best one alone."""
    classes = next((part.channels[1] - part.channels[0] for part in parts if part.role == SCORES), 0)
    if classes == 1 and anchors and all(endpoint.is_grid for endpoint in endpoints):
        return endpoints[0].shape[1] // len(anchors[0]) - BEFORE_SCORES
    return classes


def _wrong(
    view: GraphView, scales: Sequence[Scale], parts: Sequence[Part], outputs: Mapping[str, Array], turned: bool
) -> list[Part]:
    """Return the parts that are not what the decoders compute. Boxes come first: they tell the order of rows."""
    tolerance = _tolerance(view, outputs)
    orders: dict[int, Order] = {}
    wrong = []
    for part in parts:
        rows = _rows(view, part, outputs)
        order = orders.get(len(rows))
        if part.role == BOXES:
            order = find_boxes(scales, rows, (view.input.width, view.input.height), tolerance, turned)
            if order is not None:
                orders[len(rows)] = order
            is_right = order is not None
        elif part.role == CLASSES:
            is_right = fits_classes(scales, SCORES, rows, tolerance, order)
        else:
            is_right = fits(scales, part.role, rows, tolerance, order)
        if not is_right:
            wrong.append(part)
    return wrong


def _wrong_picked(
    view: GraphView, scales: Sequence[Scale], parts: Sequence[Part], outputs: Mapping[str, Array], turned: bool
) -> list[Part]:
    """The same for outputs that hold the best boxes only; with wrong boxes nothing tells which places they are."""
    tolerance = _tolerance(view, outputs)
    places: Array | None = None
    wrong: list[Part] = []
    for part in parts:
        rows = _rows(view, part, outputs)
        if part.role == BOXES:
            places = find_picked(scales, rows, (view.input.width, view.input.height), tolerance, turned)
        if places is None:
            return wrong or [part]
        if part.role != BOXES and not fits_picked(scales, part.role, rows, tolerance, places):
            wrong.append(part)
    return wrong


def _has_no_grid(view: GraphView, endpoints: Sequence[Endpoint], boxes: Part) -> bool:
    """Say whether boxes of equal cells are not placed evenly, so that no formula can be told."""
    zeros = {endpoint.tensor: np.zeros(view.shapes[endpoint.tensor]) for endpoint in endpoints}
    outputs = run_tail(view, zeros, [boxes.hint.target])
    shapes = [
        (boxes.hint.anchors_per_cell if e.is_grid else 1, e.shape[2], e.shape[3])
        for e in endpoints
        if e.kind.formula in ("box", "grid")
    ]
    return not are_regular(_rows(view, boxes, outputs), shapes)


def _refusal(wrong: Part, endpoints: Sequence[Endpoint]) -> str:
    role, (start, stop) = wrong.role, wrong.channels
    read = next((e for e in endpoints if e.role == role or e.is_grid), endpoints[0])
    if role == CLASSES:
        formula = "the number of the largest score, counted from 0"
    elif role == BOXES:
        formula = FORMULAS.get(read.encoding or "", "by no formula")
    else:
        applied = f"the {read.activation} of " if read.activation and not read.is_grid else ""
        formula = f"{applied}the channels of '{read.tensor}' in their order"
    return (
        f"run on random numbers, the graph makes other {role} of its maps (channels [{start}, {stop}) of "
        f"'{wrong.hint.target}') than EdgeFirst's decoders would, which read {formula}: it would be "
        "built and detect nonsense. Export a head that they decode, or, for a decoder of your own, name the endpoints "
        f'in model.toml under roles of your own ("raw_{role}"); these are the candidates:'
    )


def _rows(view: GraphView, part: Part, outputs: Mapping[str, Array]) -> Array:
    return rows_of(outputs[part.hint.target], part.hint.axis, part.channels, view.batch)


def _tolerance(view: GraphView, outputs: Mapping[str, Array]) -> Tolerance:
    half = onnx.TensorProto.FLOAT16 in view.types.values() or any(o.dtype == np.float16 for o in outputs.values())
    step = float(np.finfo(np.float16 if half else np.float32).eps)
    return Tolerance(box=1e-2 + 8 * step * max(view.input.width, view.input.height), value=64 * step)


def _random_maps(view: GraphView, endpoints: Sequence[Endpoint]) -> dict[str, Array]:
    """Return seeded maps: logits on both sides of zero, positive distances, what an activation can have given."""
    random = np.random.default_rng(SEED)
    maps = {}
    for endpoint in endpoints:
        low, high = (0.1, 3.0) if endpoint.encoding == DIRECT else (-3.0, 3.0)
        if endpoint.kind.formula == "channels" and endpoint.kind.activation and endpoint.activation is None:
            low, high = 0.05, 0.95
        kind = onnx.helper.tensor_dtype_to_np_dtype(view.types[endpoint.tensor])
        maps[endpoint.tensor] = random.uniform(low, high, view.shapes[endpoint.tensor]).astype(kind)
    return maps


def _scales(
    endpoints: Sequence[Endpoint], maps: Mapping[str, Array], anchors: Anchors | None, classes: int
) -> list[Scale]:
    """Return what the decoders make of the first image, finest scale first."""
    grids = sorted(e.stride or 0 for e in endpoints if e.is_grid)
    own = dict(zip(grids, anchors or (), strict=False))
    scales: dict[int, dict[str, tuple[Array, ...]]] = {}
    for endpoint in endpoints:
        stride = endpoint.stride or 0
        values = np.moveaxis(maps[endpoint.tensor][0].astype(np.float64), 0, -1)
        decoded = scales.setdefault(stride, {})
        if endpoint.is_grid:
            decoded |= _of_grid(values, own.get(stride, ()), stride, classes)
        elif endpoint.kind.formula == "box":
            sides = averaged_bins(values) if endpoint.encoding == DFL else values
            boxes = boxes_from_sides(sides, middles(sides.shape[:2], stride), stride)
            decoded[endpoint.role] = (_with_middles(boxes[np.newaxis], stride),)
        elif endpoint.kind.formula == "channels":
            # What the trainer wants to be applied is not always in the graph.
            decoded[endpoint.role] = (activated(values, endpoint.activation)[np.newaxis], values[np.newaxis])
    return [Scale(scales[stride]) for stride in sorted(scales) if scales[stride]]


def _with_middles(boxes: Array, stride: int) -> Array:
    places = np.broadcast_to(middles(boxes.shape[1:3], stride), (*boxes.shape[:3], 2))
    return np.concatenate([boxes, places], axis=-1)


def _of_grid(
    values: Array, anchors: Sequence[tuple[float, float]], stride: int, classes: int
) -> dict[str, tuple[Array, ...]]:
    """Return what a grid holds for each anchor: x, y, width, height, objectness, scores and the rest."""
    channels = values.shape[-1]
    if not anchors or channels % len(anchors) or channels // len(anchors) <= BEFORE_SCORES:
        return {}
    grid = np.moveaxis(values.reshape(*values.shape[:2], len(anchors), -1), 2, 0)
    rest = BEFORE_SCORES + classes
    objectness = activated(grid[..., BEFORE_SCORES - 1 : BEFORE_SCORES], SIGMOID)
    scores = activated(grid[..., BEFORE_SCORES:rest], SIGMOID)
    boxes = anchor_boxes(grid[..., :4], middles(grid.shape[1:3], stride), np.reshape(anchors, (-1, 1, 1, 2)), stride)
    return {
        BOXES: (_with_middles(boxes, stride),),
        OBJECTNESS: (objectness,),
        SCORES: (scores, scores * objectness),
        MASK_COEFS: (grid[..., rest:],),
    }
