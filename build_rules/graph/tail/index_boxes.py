"""Which part of an input a part of an output comes from.

A part is a box: one half-open index range per axis. Every function maps a box of an operator's output to the smallest
box of its input that holds all the values it is made of. Operators as in the ONNX specification
(https://onnx.ai/onnx/operators).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

__all__ = [
    "Box",
    "full_box",
    "hull",
    "replace_axis",
    "through_broadcast",
    "through_concat",
    "through_reshape",
    "through_transpose",
    "touch",
]

Box = tuple[tuple[int, int], ...]


def full_box(shape: Sequence[int]) -> Box:
    """Return the box of the whole tensor."""
    return tuple((0, size) for size in shape)


def hull(first: Box, second: Box) -> Box:
    """Return the smallest box that holds both boxes, which have the same rank."""
    return tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(first, second, strict=True))


def touch(first: Box, second: Box) -> bool:
    """Say whether two boxes overlap, or border on each other along some axis."""
    return all(max(a[0], b[0]) <= min(a[1], b[1]) for a, b in zip(first, second, strict=True))


def through_broadcast(box: Box, shape: Sequence[int]) -> Box:
    """Map a box back to one operand of shape `shape` of an element-wise operator (NumPy broadcasting)."""
    tail = box[len(box) - len(shape) :]
    return tuple((0, 1) if size == 1 else part for part, size in zip(tail, shape, strict=True))


def through_transpose(box: Box, perm: Sequence[int]) -> Box:
    """Map a box back through `Transpose`: output axis i is input axis `perm[i]`."""
    parts = dict(zip(perm, box, strict=True))
    return tuple(parts[axis] for axis in range(len(box)))


def through_concat(box: Box, axis: int, sizes: Sequence[int]) -> list[Box | None]:
    """Map a box back through `Concat` of inputs that measure `sizes` along `axis`; None where nothing comes from."""
    result: list[Box | None] = []
    offset = 0
    for size in sizes:
        start, stop = max(box[axis][0] - offset, 0), min(box[axis][1] - offset, size)
        result.append(replace_axis(box, axis, (start, stop)) if start < stop else None)
        offset += size
    return result


def replace_axis(box: Box, axis: int, part: tuple[int, int]) -> Box:
    """Return the box with another range on one axis."""
    return (*box[:axis], part, *box[axis:][1:])


def through_reshape(box: Box, out_shape: Sequence[int], in_shape: Sequence[int]) -> Box:
    """Map a box back through any reshape (`Reshape`, `Flatten`, `Squeeze`, `Unsqueeze`), row-major as ONNX demands.

    Axes are taken in groups of equal product; a group that is split or joined is mapped by its first and last element.
    """
    if prod(out_shape) != prod(in_shape):
        raise ValueError(f"{list(in_shape)} cannot be reshaped to {list(out_shape)}")
    result: list[tuple[int, int]] = []
    for out_axes, in_axes in _groups(out_shape, in_shape):
        outs, ins = out_shape[out_axes], in_shape[in_axes]
        first = _flat([part[0] for part in box[out_axes]], outs)
        last = _flat([part[1] - 1 for part in box[out_axes]], outs)
        result.extend(_span(first, last, ins))
    return tuple(result)


def _groups(out_shape: Sequence[int], in_shape: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    i = j = 0
    while i < len(out_shape) or j < len(in_shape):
        start_i, start_j = i, j
        i, j = min(i + 1, len(out_shape)), min(j + 1, len(in_shape))
        while (left := prod(out_shape[start_i:i])) != (right := prod(in_shape[start_j:j])):
            if left < right:
                i += 1
            else:
                j += 1
        yield slice(start_i, i), slice(start_j, j)


def _flat(position: Sequence[int], shape: Sequence[int]) -> int:
    index = 0
    for place, size in zip(position, shape, strict=True):
        index = index * size + place
    return index


def _span(first: int, last: int, shape: Sequence[int]) -> list[tuple[int, int]]:
    """Return the box that holds the elements `first` to `last` (inclusive) of a row-major tensor."""
    parts: list[tuple[int, int]] = []
    for axis in range(len(shape)):
        inner = prod(shape[axis + 1 :])
        low, high = first // inner, last // inner
        parts.append((low, high + 1))
        if low != high:
            return parts + [(0, size) for size in shape[axis + 1 :]]
        first, last = first % inner, last % inner
    return parts
