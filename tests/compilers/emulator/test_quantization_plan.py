"""Grids, shared grids, ranges and kernels, one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from build_rules.compilers.emulator.kernels import quantize_kernel, real_kernel
from build_rules.compilers.emulator.quantization_plan import grid
from build_rules.compilers.emulator.ranges import Observation, inner_range, outer_range

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
    return Observation(float(values.min()), float(values.max()), values, np.zeros(1, dtype=np.float32))


def test_rare_values_do_not_take_all_steps() -> None:
    seen = observation(np.random.default_rng(0).laplace(size=20_000).astype(np.float32))
    low, high = inner_range(seen, 4)
    assert 2 < high < seen.high * 0.8
    assert -2 > low > seen.low * 0.8


def test_exact_and_wide_ranges() -> None:
    seen = observation(np.asarray([0, 1, 4], dtype=np.float32))
    assert outer_range(seen, 8) == (0, 4)
    low, high = outer_range(seen, 16)
    assert low == 0
    assert 4.5 < high < 4.6
    assert (4 / (high / 65535)) % 1 < 1e-6 or (4 / (high / 65535)) % 1 > 1 - 1e-6
    assert inner_range(observation(np.zeros(4, dtype=np.float32)), 8) == (0, 0)
