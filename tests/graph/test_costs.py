"""A graph is not run when it would take hours: its multiplications are counted before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from build_rules.errors import InputError
from build_rules.graph import costs
from build_rules.graph.costs import check_runnable
from tests.graph.graphs import Builder, view_of

CONV = 2 * 4 * 4 * (3 * 8 * 8)
"""The products of the first convolution: two channels of 4x4 cells, three channels of 8x8 pixels each."""


def matmul(b: Builder) -> str:
    return b.op("MatMul", b.reshape("map", 1, 2, 16), b.weight(b.random.random((16, 5))))


def einsum(b: Builder) -> str:
    return b.op("Einsum", "map", b.weight(b.random.random((2, 7))), equation="bchw,ck->bkhw")


def transposed(b: Builder) -> str:
    return b.op("ConvTranspose", "map", b.weight(b.random.random((2, 3, 2, 2))), strides=[2, 2], kernel_shape=[2, 2])


def pool(b: Builder) -> str:
    return b.op("MaxPool", "map", kernel_shape=[3, 3], pads=[1, 1, 1, 1])


@pytest.mark.parametrize(
    ("operator", "products"),
    [
        (matmul, 2 * 5 * 16),
        (einsum, 2 * 7 * 4 * 4),
        (transposed, 2 * 4 * 4 * (3 * 2 * 2)),
        (pool, 2 * 4 * 4 * (3 * 3)),
    ],
)
def test_multiplications_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: Callable[[Builder], str], products: int
) -> None:
    b = Builder()
    b.conv("image", 3, 2, 8, "map")
    view = view_of(b.model(operator(b)), tmp_path)
    monkeypatch.setattr(costs, "MAX_PRODUCTS", CONV + products)
    check_runnable(view)
    monkeypatch.setattr(costs, "MAX_PRODUCTS", CONV + products - 1)
    with pytest.raises(InputError, match=f"needs {CONV + products} multiplications.*proof = false"):
        check_runnable(view)
    check_runnable(view, given=["map"])
