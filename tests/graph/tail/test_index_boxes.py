"""Every value of a part must come from inside the box it is mapped to; compared with NumPy's own indexing."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.graph.tail.index_boxes import (
    Box,
    hull,
    through_broadcast,
    through_concat,
    through_reshape,
    through_transpose,
)


def part_of(shape: tuple[int, ...], data: st.DataObject) -> Box:
    parts = []
    for size in shape:
        start = data.draw(st.integers(0, size - 1))
        parts.append((start, data.draw(st.integers(start + 1, size))))
    return tuple(parts)


def elements(values: np.ndarray, box: Box) -> set[int]:
    return set(values[tuple(slice(*part) for part in box)].ravel().tolist())


SHAPES = st.sampled_from(
    [
        ((1, 64, 12), (1, 4, 16, 12)),
        ((1, 6, 4), (1, 6, 2, 2)),
        ((1, 24, 2, 2), (1, 3, 8, 2, 2)),
        ((1, 12, 8), (1, 3, 2, 2, 8)),
        ((4, 6), (24,)),
        ((4, 6), (3, 8)),
        ((1, 1, 4, 5), (1, 4, 5)),
        ((5,), (1, 5, 1, 1)),
        ((1, 1), (1,)),
    ]
)


@given(SHAPES, st.booleans(), st.data())
def test_reshape(shapes: tuple[tuple[int, ...], tuple[int, ...]], turned: bool, data: st.DataObject) -> None:
    out_shape, in_shape = shapes[::-1] if turned else shapes
    box = part_of(out_shape, data)
    mapped = through_reshape(box, out_shape, in_shape)
    values = np.arange(prod(out_shape))
    assert elements(values.reshape(out_shape), box) <= elements(values.reshape(in_shape), mapped)


def test_reshape_is_exact_where_axes_are_kept_apart() -> None:
    assert through_reshape(((0, 1), (4, 9), (0, 400)), (1, 84, 400), (1, 84, 20, 20)) == (
        (0, 1),
        (4, 9),
        (0, 20),
        (0, 20),
    )
    assert through_reshape(((0, 1), (1, 3), (0, 16)), (1, 4, 16), (1, 64)) == ((0, 1), (16, 48))
    assert through_reshape(((0, 1), (16, 48)), (1, 64), (1, 4, 16)) == ((0, 1), (1, 3), (0, 16))
    assert through_reshape(((0, 1), (18, 20)), (1, 64), (1, 4, 16)) == ((0, 1), (1, 2), (2, 4))


def test_reshape_refuses_other_sizes() -> None:
    with pytest.raises(ValueError, match="cannot be reshaped"):
        through_reshape(((0, 2),), (2,), (3,))


@given(st.permutations(range(4)), st.data())
def test_transpose(perm: list[int], data: st.DataObject) -> None:
    values = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    turned = values.transpose(perm)
    box = part_of(turned.shape, data)
    assert elements(turned, box) == elements(values, through_transpose(box, perm))


def test_concat() -> None:
    assert through_concat(((0, 1), (3, 9)), 1, [4, 4, 4]) == [((0, 1), (3, 4)), ((0, 1), (0, 4)), ((0, 1), (0, 1))]
    assert through_concat(((0, 1), (0, 4)), 1, [4, 80]) == [((0, 1), (0, 4)), None]


def test_broadcast() -> None:
    assert through_broadcast(((0, 1), (1, 2), (3, 5)), (2, 1)) == ((1, 2), (0, 1))
    assert through_broadcast(((0, 1), (1, 2)), ()) == ()


def test_hull() -> None:
    assert hull(((0, 1), (4, 6)), ((0, 1), (1, 2))) == ((0, 1), (1, 6))
