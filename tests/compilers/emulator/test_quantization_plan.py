"""Grids, shared grids, ranges and kernels, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.compilers.emulator.kernels import quantize_kernel, real_kernel
from build_rules.compilers.emulator.observe import Observation
from build_rules.compilers.emulator.quantization_plan import grid, group_bits, rounding_layers, share_grids
from build_rules.compilers.emulator.ranges import inner_range, outer_range
from build_rules.compilers.emulator.script_settings import Precision, Settings
from tests.compilers.nets import Net
from tests.compilers.parsed import network_of

reals = st.floats(-1e4, 1e4, width=32)


@given(reals, reals, st.sampled_from([8, 16]))
def test_zero_is_exact_and_the_range_is_covered(a: float, b: float, bits: int) -> None:
    low, high = min(a, b), max(a, b)
    made = grid(low, high, bits)
    assert 0 <= made.zero_point < 1 << bits
    slack = made.scale * (0.5 + 2**bits * 1e-6)
    assert made.limits[0] <= min(low, 0) + slack
    assert made.limits[1] >= max(high, 0) - slack


@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 8, 16]), st.sampled_from([0, 1]))
def test_kernels_lose_at_most_half_a_step_inside_their_range(seed: int, bits: int, axis: int) -> None:
    kernel = np.random.default_rng(seed).normal(size=(4, 3, 2, 2)).astype(np.float32)
    quantized = quantize_kernel(kernel, axis, bits)
    top = (1 << (bits - 1)) - 1
    assert np.abs(quantized.values.astype(np.int32)).max() <= top
    widest = np.abs(kernel).max(axis=tuple(i for i in range(4) if i != axis))
    assert (quantized.scales <= widest / top * 1.0001).all()
    relative = np.abs(real_kernel(quantized, axis) - kernel).max() / np.abs(kernel).max()
    assert relative < {4: 0.6, 8: 0.11, 16: 1e-4}[bits]


def test_a_kernel_of_zeros_stays_zero() -> None:
    quantized = quantize_kernel(np.zeros((2, 3, 1, 1), dtype=np.float32), 0, 8)
    assert not real_kernel(quantized, 0).any()


def observation(values: np.ndarray) -> Observation:
    lows, highs = (np.full(100, end, np.float32) for end in (values.min(), values.max()))
    return Observation(lows, highs, values, np.zeros(1, dtype=np.float32))


def test_rare_values_do_not_take_all_steps() -> None:
    seen = observation(np.random.default_rng(0).laplace(size=20_000).astype(np.float32))
    low, high = inner_range(seen, 4)
    assert 2 < high < seen.high * 0.8
    assert -2 > low > seen.low * 0.8


def test_the_fewer_images_the_less_is_clipped() -> None:
    values = np.random.default_rng(0).laplace(size=20_000).astype(np.float32)

    def high(images: int) -> float:
        ends = np.full(images, values.max(), np.float32)
        return inner_range(Observation(-ends, ends, values, np.zeros(1, np.float32)), 4)[1]

    assert high(200) == high(32) < high(16) < high(4) < values.max()
    assert high(1) > 0.95 * values.max()


def test_exact_and_wide_ranges() -> None:
    seen = observation(np.asarray([0, 1, 4], dtype=np.float32))
    assert outer_range(seen, 8) == (0, 4)
    low, high = outer_range(seen, 16)
    assert low == 0
    assert 4.5 < high < 4.6
    assert (4 / (high / 65535)) % 1 < 1e-6 or (4 / (high / 65535)) % 1 > 1 - 1e-6
    assert inner_range(observation(np.zeros(4, dtype=np.float32)), 8) == (0, 0)


# Which tensors share a grid, and after which layers values are rounded.


def shared(folder: Path, net: Net, *outputs: str, **settings: Any) -> tuple[dict[str, str], set[str]]:
    """Groups of tensors that share a grid, by a representative, and the tensors that are rounded."""
    network = network_of(folder, net, *outputs)
    groups = share_grids(network, Settings(**settings))
    return groups, {tensor for layer in rounding_layers(network, groups) for tensor in layer.outputs}


def resized(net: Net, x: str, **attributes: Any) -> str:
    made: str = net.op("Resize", x, "", net.constant([1, 1, 2, 2]), **attributes)
    return made


def enlarged(net: Net, x: str, **attributes: Any) -> str:
    return resized(net, x, coordinate_transformation_mode="asymmetric", **attributes)


def pooled(net: Net, x: str) -> str:
    made: str = net.op("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4)
    return made


def joined(net: Net, x: str) -> str:
    made: str = net.op("Concat", x, x, axis=1)
    return made


def sliced(net: Net, x: str) -> str:
    starts, ends, axes = (net.constant([value], np.int64) for value in (0, 8, 2))
    made: str = net.op("Slice", x, starts, ends, axes)
    return made


def halved(net: Net, x: str) -> str:
    made: str = net.op("Split", x, net.constant([2, 2], np.int64), outputs=2, axis=1)[0]
    return made


def cut_in_rows(net: Net, x: str) -> str:
    made: str = net.op("Split", x, net.constant([16, 16], np.int64), outputs=2, axis=2)[0]
    return made


def turned(net: Net, x: str) -> str:
    made: str = net.op("Transpose", x, perm=[0, 1, 3, 2])
    return made


def into_depth(net: Net, x: str) -> str:
    made: str = net.op("SpaceToDepth", x, blocksize=2)
    return made


def from_depth(net: Net, x: str) -> str:
    made: str = net.op("DepthToSpace", x, blocksize=2)
    return made


def averaged(net: Net, x: str) -> str:
    made: str = net.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    return made


def doubled(net: Net, x: str) -> str:
    made: str = net.op("Add", x, x)
    return made


MOVING = {
    "nearest, as everybody writes it": lambda net, x: enlarged(net, x, mode="nearest"),
    "nearest, as the standard has it": enlarged,
    "largest of neighbours": pooled,
    "concatenated": joined,
    "part of the rows": sliced,
    "half of the channels": halved,
    "half of the rows": cut_in_rows,
    "transposed": turned,
    "pixels into channels": into_depth,
    "channels into pixels": from_depth,
}
COMPUTING = {
    "between neighbours": lambda net, x: resized(net, x, mode="linear"),
    "mean of neighbours": averaged,
    "sum": doubled,
}


@pytest.mark.parametrize("case", [*MOVING, *COMPUTING])
def test_what_only_moves_values_leaves_them_on_their_grid(tmp_path: Path, case: str) -> None:
    net = Net()
    first = net.conv("images", (3, 4))
    moved = {**MOVING, **COMPUTING}[case](net, first)
    channels = {"concatenated": 8, "half of the channels": 2, "pixels into channels": 16, "channels into pixels": 1}
    last = net.conv(moved, (channels.get(case, 4), 2), k=1)
    groups, rounded = shared(tmp_path, net, last)
    assert (groups[first] == groups[moved]) == (case in MOVING)
    assert (moved in rounded) == (case in COMPUTING)
    assert groups[last] != groups[first]
    assert {first, last} <= rounded


def test_a_layer_with_a_precision_of_its_own_is_rounded(tmp_path: Path) -> None:
    net = Net()
    first = net.conv("images", (3, 4))
    up = enlarged(net, first, mode="nearest")
    last = net.conv(up, (4, 2), k=1)
    groups, rounded = shared(tmp_path, net, last, precision={"net/resize1": Precision(8, 8, 16)})
    assert groups[up] != groups[first]
    assert up in rounded


def test_pixels_are_on_no_grid_and_mixed_with_others_they_are_rounded(tmp_path: Path) -> None:
    net = Net()
    small = pooled(net, "images")
    mixed = net.op("Concat", small, net.conv("images", (3, 4)), axis=1)
    last = net.conv(mixed, (7, 2), k=1)
    groups, rounded = shared(tmp_path, net, last)
    assert "images" not in groups
    assert small not in groups
    assert mixed in rounded


def test_sixteen_bits_reach_all_who_share_the_grid(tmp_path: Path) -> None:
    net = Net()
    first = net.conv("images", (3, 4))
    up = enlarged(net, first, mode="nearest")
    last = net.conv(up, (4, 2), k=1)
    network = network_of(tmp_path, net, last)
    for layer, wide in (("net/conv1", {first, up}), ("net/conv2", {first, up, last})):
        settings = Settings(precision={layer: Precision(16, 16, 16)})
        groups = share_grids(network, settings)
        bits = group_bits(network, settings, groups)
        assert {tensor for tensor, group in groups.items() if bits[group] == 16} == wide
    settings = Settings(precision={"net/conv2": Precision(8, 8, 16)})
    groups = share_grids(network, settings)
    assert [group_bits(network, settings, groups)[groups[tensor]] for tensor in (up, last)] == [8, 16]


def test_grids_hold_sixteen_bits_in_sixteen() -> None:
    assert [grid(0, 1, bits).dtype for bits in (8, 16)] == [np.uint8, np.uint16]
    assert grid(0, 255, 8).limits == (0, 255)
    assert grid(0, 0, 8).scale > 0
    assert grid(1, 2, 8) == grid(0, 2, 8)
    assert grid(-2, -1, 8) == grid(-2, 0, 8)
