"""The compiled `outputs[]`: logical outputs, and the HEF's tensors that realise them.

Source: the EdgeFirst metadata documentation (schema v2, "two layers") and the EdgeFirst HAL's per-scale planner.
Readers bind tensors to children by exact shape, first unused one first, so the order of this list is part of the
format: boxes, scores, mask coefficients, prototypes, then what no decoder binds; each from fine to coarse scale.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from build_rules.errors import InputError
from build_rules.metadata.physical import Bound, PhysicalTensor, bind_endpoints, looks_folded
from build_rules.records.roles import (
    ACTIVATIONS,
    BEFORE_SCORES,
    BOXES,
    DETECTION,
    DETECTOR,
    DFL,
    DIRECT,
    MAX_BINS,
    OBJECTNESS,
    SCORES,
    UNIT_ACTIVATIONS,
    Role,
    find_role,
)
from build_rules.records.split_json import Anchors, Level, Split
from build_rules.trainer.vocabulary import CARRIED_TYPE, OUTPUT_TYPES

__all__ = ["check_endpoints", "class_count", "compile_outputs", "grid_classes"]


def compile_outputs(
    split: Split, tensors: tuple[PhysicalTensor, ...], folded: Collection[str], anchors: Anchors = ()
) -> list[dict[str, Any]]:
    """Return the logical outputs of a compiled model.

    `tensors` are all outputs of the HEF, or of the network in float, and `folded` names the endpoints whose activation
    the compiler computes on the chip; `anchors` are those of the levels of an anchor head, finest first, as fractions
    of the input, none for any other head. Per-cell roles become one logical output `[1, C, N]` with a child
    `[1, H, W, C]` per scale; `protos` a logical `[1, C, H, W]` with one child; anchor grids and segmentation maps are
    physical tensors themselves, `[1, H, W, C]`. What no decoder decodes is carried along (see `_carried` and
    `_anchor_outputs`).

    Raises `InputError` when endpoints and tensors do not match (see `bind_endpoints`), for a role whose scales differ
    in dtype, channels, encoding or activation, and when a tensor's range contradicts `folded`.
    """
    bound = bind_endpoints(split, tensors)
    _check_folded(split, bound, folded)
    anchored = [level for level in bound if level.endpoint.is_grid]
    roles = _roles((level for level in bound if not level.endpoint.is_grid), folded)
    outputs = []
    for kind in sorted(map(find_role, roles), key=lambda kind: kind.order):
        levels = roles[kind.name]
        if kind.form == "whole":
            outputs.append(_whole(kind, levels, folded, decoded=not anchored))
        elif kind.form == "map":
            outputs += [_map(kind, level, folded) for level in levels]
        elif kind.form == "split":
            outputs.append(_split_output(kind, roles, folded))
        else:
            outputs.append(_carried(kind.name, roles, folded))
    has_prototypes = any(find_role(role).form == "whole" for role in roles)
    return _anchor_outputs(split, anchored, anchors, decoded=not has_prototypes) + outputs


def check_endpoints(split: Split, anchors: Anchors) -> None:
    """Raise `InputError` for endpoints that could not be described after everything has been compiled.

    The float network stands in for the compiled one: its outputs have the same shapes.
    """
    roles = {endpoint.role for endpoint in split.endpoints}
    if BOXES in roles and SCORES not in roles:
        raise InputError(
            "there are boxes but no scores, and no decoder reads the ones without the others; name the scores, too, in "
            "[split] of model.toml (outputs, [[split.hint]] or [[split.endpoint]]) or in the split hints."
        )
    tensors = tuple(
        PhysicalTensor(e.name, (1, e.shape[2], e.shape[3], e.shape[1]), "float32", None, None, (e.node,))
        for e in split.endpoints
    )
    compile_outputs(split, tensors, (), anchors)


def class_count(outputs: list[dict[str, Any]]) -> int | None:
    """Return how many classes compiled outputs score, None when none of them carries class scores.

    An anchor grid holds, for each anchor, four coordinates, the objectness and the class scores.
    """
    for output in outputs:
        if output.get("type") == SCORES:
            return int(output["shape"][1])
        if output.get("type") == DETECTION and output.get("anchors"):
            return int(output["shape"][-1]) // len(output["anchors"]) - BEFORE_SCORES
    return None


def grid_classes(split: Split, anchors: Anchors) -> int | None:
    """Return how many classes the grids of an anchor head score, None when no decoder reads them.

    `anchors` are those of its levels, finest first.
    """
    if _holds_more(split) or any(endpoint.kind.form == "whole" for endpoint in split.endpoints):
        return None
    return split.anchor_levels[0].shape[1] // len(anchors[0]) - BEFORE_SCORES


def _check_folded(split: Split, bound: tuple[Bound, ...], folded: Collection[str]) -> None:
    """Refuse a `folded` that the endpoints or the tensors' ranges contradict."""
    unknown = sorted(set(folded) - {level.endpoint.name for level in bound})
    if unknown:
        raise InputError(f"{split.model}: folded activations are declared for unknown endpoints: {', '.join(unknown)}.")
    for level in bound:
        endpoint, tensor = level.endpoint, level.tensor
        if endpoint.activation is not None and endpoint.activation not in ACTIVATIONS:
            raise InputError(
                f"{split.model}: endpoint {endpoint.name!r} has activation {endpoint.activation!r}, which no reader "
                f"applies; allowed are {', '.join(ACTIVATIONS)}: correct the split hint."
            )
        if endpoint.name not in folded:
            continue
        if endpoint.foldable is None:
            why = "it has none" if endpoint.kind.folds else "readers apply it to anchor grids themselves"
            raise InputError(
                f"{split.model}: the model script folds an activation into endpoint {endpoint.name!r}, but {why}; "
                "remove it from the model script."
            )
        has_range = tensor.limits is not None or not tensor.is_float
        if endpoint.activation in UNIT_ACTIVATIONS and has_range and not looks_folded(tensor):
            low, high = tensor.range if tensor.limits is None else tensor.limits
            raise InputError(
                f"{split.model}: HEF output {tensor.name!r} should hold the {endpoint.activation} of endpoint "
                f"{endpoint.name!r}, but its values reach from {low:.4g} to {high:.4g} instead of staying within "
                "[0, 1]; the compiler did not fold the activation: check the model script and compile again."
            )


def _roles(bound: Iterable[Bound], folded: Collection[str]) -> dict[str, list[Bound]]:
    """Return the roles in the order of the split, with their levels finest first."""
    roles: dict[str, list[Bound]] = {}
    for level in bound:
        roles.setdefault(level.endpoint.role, []).append(level)
    for role, levels in roles.items():
        levels.sort(key=lambda level: level.stride)
        _check_levels(role, levels, folded)
    return roles


def _check_levels(role: str, levels: list[Bound], folded: Collection[str]) -> None:
    """Refuse levels that no reader can merge: it picks one code path per role, from the first level."""
    for what, values, advice in (
        ("dtype", [level.tensor.dtype for level in levels], "give them the same precision in the model script"),
        ("number of channels", [level.tensor.shape[3] for level in levels], "correct the split hints"),
        ("encoding", [level.endpoint.encoding for level in levels], "correct the split hints"),
        ("activation", [level.endpoint.activation for level in levels], "correct the split hints"),
        ("place of the activation", [_place(level, folded) for level in levels], "fold all of them or none"),
    ):
        if len(set(values)) > 1:
            listing = ", ".join(f"{level.tensor.name} {value}" for level, value in zip(levels, values, strict=True))
            raise InputError(
                f"The outputs of role {role!r} must have one {what} on all scales, but have {listing}; {advice}."
            )
    strides = [level.stride for level in levels]
    if len(set(strides)) < len(strides):
        raise InputError(f"Two outputs of role {role!r} have the same stride ({strides}); correct the split hints.")


def _split_output(kind: Role, roles: dict[str, list[Bound]], folded: Collection[str]) -> dict[str, Any]:
    """Return boxes, scores or mask coefficients: `[1, C, N]`, N being the cells of all scales, a child per scale."""
    role, levels = kind.name, roles[kind.name]
    output = {"name": role, "type": kind.type, **_merged(role, levels), "decoder": kind.decoder}
    if kind.encodings:
        encoding = levels[0].endpoint.encoding
        _check_boxes(encoding, levels[0].tensor.shape[3])
        # The decode multiplies by the stride, so the values that it yields are pixels of the input image.
        output |= {"encoding": encoding, "normalized": False}
    if role == SCORES:
        output["score_format"] = "obj_x_class" if OBJECTNESS in roles else "per_class"
    output["outputs"] = [_child(role, level, index, folded) for index, level in enumerate(levels)]
    return output


def _carried(role: str, roles: dict[str, list[Bound]], folded: Collection[str]) -> dict[str, Any]:
    """Return a role that no decoder decodes (landmarks, a box angle), for programs that bind it by name.

    Beside split boxes and scores, from which the decoders take everything, any type that they know is carried and left
    alone; the EdgeFirst validator refuses an output without one. Without boxes and scores the decoders would act on
    the type, so there is none.
    """
    children = [_child(role, level, index, folded) for index, level in enumerate(roles[role])]
    typed = {"type": CARRIED_TYPE} if roles.keys() >= DETECTOR else {}
    return {"name": role, **typed, **_merged(role, roles[role]), "outputs": children}


def _merged(role: str, levels: list[Bound]) -> dict[str, Any]:
    """Return `shape` and `dshape` of a role whose scales are concatenated, `[1, C, N]`."""
    channels = levels[0].tensor.shape[3]
    cells = sum(level.tensor.shape[1] * level.tensor.shape[2] for level in levels)
    return _shape(("batch", 1), (find_role(role).channel_axis, channels), ("num_boxes", cells))


def _check_boxes(encoding: str | None, channels: int) -> None:
    """Refuse a number of box channels that its encoding cannot have."""
    if encoding == DFL and channels % 4 == 0 and 4 < channels <= 4 * MAX_BINS:
        return
    if encoding == DIRECT and channels == 4:
        return
    raise InputError(
        f"The boxes have encoding {encoding!r} and {channels} channels; `dfl` has 4 * reg_max channels (reg_max 2 to "
        f"{MAX_BINS}), `direct` has 4: the boundary `boxes` of the split hint covers the wrong channels."
    )


def _whole(kind: Role, levels: list[Bound], folded: Collection[str], *, decoded: bool) -> dict[str, Any]:
    """Return the mask prototypes: logical `[1, C, H, W]` with one NHWC child, the layout that every reader accepts.

    Not `decoded`, they have no `type`: beside anchor grids the decoders refuse it.
    """
    if len(levels) > 1:
        raise InputError(
            f"The split has {len(levels)} endpoints of role {kind.name!r}; a model has one set of mask prototypes."
        )
    level = levels[0]
    _, height, width, channels = level.tensor.shape
    return {
        "name": kind.name,
        **({"type": kind.type} if decoded and kind.type else {}),
        **_shape(("batch", 1), (kind.channel_axis, channels), ("height", height), ("width", width)),
        "stride": _stride(level),
        **({"decoder": kind.decoder} if decoded and kind.decoder else {}),
        "outputs": [_child(kind.name, level, 0, folded)],
    }


def _child(role: str, level: Bound, scale_index: int, folded: Collection[str]) -> dict[str, Any]:
    """Return a physical child, `[1, H, W, C]`."""
    return {
        "name": level.tensor.name,
        **({"type": role} if role in OUTPUT_TYPES else {}),
        **_nhwc(role, level.tensor),
        "stride": _stride(level),
        "scale_index": scale_index,
        **_quantization(level.tensor, child=True),
        **_activation(level, folded),
    }


def _anchor_outputs(split: Split, anchored: list[Bound], anchors: Anchors, *, decoded: bool) -> list[dict[str, Any]]:
    """Return anchor grids: a flat `detection` of raw values per level, the only form of anchor head that decodes.

    The decoders take every channel after the objectness for a class. A grid that holds more (mask coefficients,
    landmarks) would come out with wrong classes, so it has no `type`, nor has it when it is not `decoded` for the
    sake of prototypes; programs that know it bind it by name.
    """
    if not anchored:
        return []
    levels = sorted(anchored, key=lambda level: level.stride)
    _check_levels(DETECTION, levels, ())
    outputs = [_anchor_output(level, own) for level, own in zip(levels, anchors, strict=True)]
    if decoded and not _holds_more(split):
        return outputs
    return [{key: value for key, value in output.items() if key not in ("type", "decoder")} for output in outputs]


def _holds_more(split: Split) -> bool:
    """Tell whether a hint of the split names parts of an anchor grid that are neither boxes nor scores."""
    parts = [[boundary.name for boundary in hint.boundaries] for hint in split.hints if hint.anchors_per_cell > 1]
    return any(len(names) > 1 and not set(names) <= {BOXES, OBJECTNESS, SCORES} for names in parts)


def _anchor_output(level: Bound, anchors: Level) -> dict[str, Any]:
    """Return one level of an anchor head, `[1, H, W, anchors * (5 + classes)]`."""
    kind = level.endpoint.kind
    return {
        "name": level.tensor.name,
        "type": kind.type,
        **_nhwc(kind.name, level.tensor),
        "stride": _stride(level),
        "decoder": kind.decoder,
        "encoding": level.endpoint.encoding,
        "score_format": "obj_x_class",
        "normalized": True,
        "anchors": [list(pair) for pair in anchors],
        **_quantization(level.tensor),
        **_activation(level, ()),
    }


def _map(kind: Role, level: Bound, folded: Collection[str]) -> dict[str, Any]:
    """Return a map such as a semantic segmentation, `[1, H, W, C]`, at the resolution that the chip computes.

    One that EdgeFirst's schema has no word for has no `type`, and programs that know it bind it by name.
    """
    return {
        "name": level.tensor.name,
        **({"type": kind.type} if kind.type else {}),
        **_nhwc(kind.name, level.tensor),
        "stride": _stride(level),
        **({"decoder": kind.decoder} if kind.decoder else {}),
        **_quantization(level.tensor),
        **_activation(level, folded),
    }


def _shape(*axes: tuple[str, int]) -> dict[str, Any]:
    """Return `shape` and the `dshape` that names its axes."""
    return {"shape": [size for _, size in axes], "dshape": [{name: size} for name, size in axes]}


def _nhwc(role: str, tensor: PhysicalTensor) -> dict[str, Any]:
    """Return `shape` and `dshape` of a physical tensor."""
    batch, height, width, channels = tensor.shape
    return _shape(("batch", batch), ("height", height), ("width", width), (find_role(role).channel_axis, channels))


def _stride(level: Bound) -> int | list[int]:
    """Return the stride as readers take it: one integer, a pair `[x, y]` only when the axes differ."""
    x, y = level.stride
    return x if x == y else [x, y]


def _quantization(tensor: PhysicalTensor, *, child: bool = False) -> dict[str, Any]:
    """Return `dtype` and `quantization`, `real = scale * (q - zero_point)`; that of a float tensor is null.

    A HEF stores the scale as float32. It is written as the double of equal value, with every digit that takes: readers
    that parse doubles and readers that parse float32 both get exactly the compiler's number, which the shortest
    decimal of a float32 gives only to the latter.

    The decoders learn a child's dtype from its `quantization` and refuse the document without it, so a float child
    has the one that changes nothing.
    """
    numbers = {"scale": tensor.exact_scale, "zero_point": tensor.zero_point or 0, "dtype": tensor.dtype}
    return {"dtype": tensor.dtype, "quantization": None if tensor.is_float and not child else numbers}


def _activation(level: Bound, folded: Collection[str]) -> dict[str, str]:
    """Return what the chip has done, or left to the reader, of the activation that follows the cut."""
    if level.endpoint.activation is None:
        return {}
    return {f"activation_{_place(level, folded)}": level.endpoint.activation}


def _place(level: Bound, folded: Collection[str]) -> str:
    """Return `applied` when the activation is on the chip, `required` when it is left to the reader."""
    return "applied" if level.endpoint.name in folded else "required"
