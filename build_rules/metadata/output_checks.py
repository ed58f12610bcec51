"""The checks of one output: its tensor, and what its type asks for. Items are those of `checks.ITEMS`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from build_rules.metadata.problems import Problem, axis, error, mapping, warning
from build_rules.records.roles import ANCHOR, BEFORE_SCORES, DETECTION, DFL, DIRECT, MAX_BINS, ROLES, SIGMOID
from build_rules.trainer.vocabulary import CARRIED_TYPE, DECODERS, DTYPES, ENCODINGS, SCORE_FORMATS

__all__ = ["check_anchor_grid", "check_boxes", "check_scores", "check_tensor", "is_carried"]

# The decoders ask for their dtype before any tensor is there.
_PLANNED = tuple(role.type for role in ROLES.values() if role.form in ("split", "whole"))
_WIDEST = 10  # inputs; an anchor may exceed a small input, but this many are pixels that were not divided


def is_carried(output: dict[str, Any]) -> bool:
    """Tell whether a logical output has a type for the sake of readers that ask for one, and is decoded by none."""
    return output.get("type") == CARRIED_TYPE and bool(output.get("outputs")) and "decoder" not in output


def check_tensor(path: str, tensor: dict[str, Any], kind: Any) -> Iterator[Problem]:
    """Items 9 and 12: name, `dtype`, and `quantization` for the whole tensor, of a logical output of type `kind`."""
    name, dtype = tensor.get("name"), tensor.get("dtype")
    if not isinstance(name, str) or not name:
        yield error(9, f"{path}.name", f"is {name!r}; a physical output is named after its vstream")
    if dtype not in DTYPES:
        yield error(12, f"{path}.dtype", f"is {dtype!r}, not one of {', '.join(DTYPES)}")
        return
    quantization = tensor.get("quantization")
    if quantization is None and dtype.startswith("float") and "quantization" in tensor:
        if kind in _PLANNED:
            refused = "is null; the decoders learn the dtype from it, and refuse a document without"
            yield error(12, f"{path}.quantization", f"{refused}: write scale 1, zero point 0 and the dtype")
    elif isinstance(quantization, dict):
        yield from _check_numbers(f"{path}.quantization", quantization, dtype)
    else:
        yield error(12, f"{path}.quantization", "is not an object; only a float tensor may have null")


def _check_numbers(path: str, quantization: dict[str, Any], dtype: str) -> Iterator[Problem]:
    """Item 12: `real = scale * (q - zero_point)`, which changes nothing in a float tensor."""
    scale, zero_point = quantization.get("scale"), quantization.get("zero_point")
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not (0 < scale < math.inf):
        yield error(12, f"{path}.scale", f"is {scale!r}, not a positive number (Hailo quantizes per tensor)")
    if type(zero_point) is not int:
        yield error(12, f"{path}.zero_point", f"is {zero_point!r}, not an integer")
    if dtype.startswith("float") and (scale, zero_point) != (1, 0):
        yield error(12, path, f"scales a {dtype} tensor; the decoders take its values as they are")
    if quantization.get("dtype") != dtype:
        yield error(12, f"{path}.dtype", f"is {quantization.get('dtype')!r}, but the tensor is {dtype}")


def check_boxes(path: str, output: dict[str, Any]) -> Iterator[Problem]:
    """Items 7 and 13."""
    encoding = output.get("encoding")
    if encoding not in ENCODINGS:
        yield error(7, f"{path}.encoding", f"is {encoding!r}, not one of {', '.join(ENCODINGS)}")
    if output.get("decoder") not in DECODERS:
        yield error(7, f"{path}.decoder", f"is {output.get('decoder')!r}, not one of {', '.join(DECODERS)}")
    if encoding == ANCHOR:
        yield error(16, f"{path}.encoding", f"is {ANCHOR!r}; only flat outputs of type {DETECTION} decode anchors")
    for index, child in enumerate(mapping(output.get("outputs"))):
        channels = _channels(child)
        where = f"{path}.outputs[{index}].shape"
        if encoding == DFL and (channels is None or channels % 4 or not 4 < channels <= 4 * MAX_BINS):
            yield error(13, where, f"has {channels} channels; DFL boxes have 4 * reg_max, reg_max at most {MAX_BINS}")
        if encoding == DIRECT and channels != 4:
            yield error(13, where, f"has {channels} channels; direct boxes have 4")
        if channels is not None and channels != axis(output, "num_features"):
            yield error(6, where, f"has {channels} channels, unlike the logical output")


def check_scores(path: str, output: dict[str, Any]) -> Iterator[Problem]:
    """Item 14: readers look at the first child only, and some at none."""
    if output.get("score_format") not in SCORE_FORMATS:
        yield error(
            6, f"{path}.score_format", f"is {output.get('score_format')!r}, not one of {', '.join(SCORE_FORMATS)}"
        )
    stated = []
    for index, child in enumerate(mapping(output.get("outputs"))):
        where = f"{path}.outputs[{index}]"
        applied, required = child.get("activation_applied"), child.get("activation_required")
        stated.append((str(applied), str(required)))
        if applied is not None and required is not None:
            yield error(14, where, "has an activation that is both applied and required")
        elif required is not None:
            who = "the EdgeFirst validator does" if required == SIGMOID else "EdgeFirst's decoders and validator do"
            yield warning(14, where, f"leaves the {required} to the reader; {who} not apply it")
        elif applied is None:
            yield warning(14, where, "does not say whether its sigmoid has been applied")
        channels = _channels(child)
        if channels is not None and channels != axis(output, "num_classes"):
            yield error(6, f"{where}.shape", f"has {channels} channels, unlike the logical output")
    if len(set(stated)) > 1:
        yield error(14, f"{path}.outputs", "differ in their activation; the decoders take that of the first for all")


def check_anchor_grid(path: str, output: dict[str, Any]) -> Iterator[Problem]:
    """Item 16: `[1, H, W, anchors * (5 + classes)]` of raw values, anchors divided by the input size."""
    if output.get("outputs"):
        yield error(16, f"{path}.outputs", "must be absent; an anchor head is one flat output per scale")
    decoder = ROLES[ANCHOR].decoder
    if output.get("decoder") != decoder or output.get("encoding") != ANCHOR:
        yield error(16, path, f"must have decoder {decoder!r} and encoding {ANCHOR!r}; no other grid is decoded")
    anchors = output.get("anchors")
    fine = isinstance(anchors, list) and all(
        isinstance(a, list) and len(a) == 2 and all(type(v) in (int, float) and 0 < v < _WIDEST for v in a)
        for a in anchors
    )
    if not fine or not anchors:
        yield error(16, f"{path}.anchors", "is not a list of [width, height] pairs, divided by the input size")
    else:
        size = axis(output, "num_anchors_x_features")
        if size is None or size % len(anchors) or size // len(anchors) <= BEFORE_SCORES:
            yield error(16, f"{path}.shape", f"does not end in {len(anchors)} anchors times 5 + classes")
    if output.get("activation_applied") is not None:
        yield error(16, f"{path}.activation_applied", "must be absent; the decoders apply the sigmoid themselves")


def _channels(child: dict[str, Any]) -> int | None:
    """Return the last size of a child's shape."""
    shape = child.get("shape")
    return shape[-1] if isinstance(shape, list) and shape and type(shape[-1]) is int else None
