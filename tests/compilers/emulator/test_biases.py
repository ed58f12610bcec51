"""Biases are whole multiples of the accumulator's step, and what 32 bits do not hold is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from build_rules.compilers.emulator.biases import clipped_biases, with_integer_biases
from build_rules.compilers.emulator.quantization_plan import Grid, Kernel, Plan
from tests.compilers.nets import NORMAL, Build, Net
from tests.compilers.parsed import network_of
from tests.mixed.nets import loud_detector

LEVEL = "model_optimization_flavor(optimization_level=1, compression_level=0)\n"
EMPTY = Plan({}, {}, {}, {}, {}, (0.0, 0.0, 0.0), (255.0, 255.0, 255.0))


def planned(folder: Path, bias: list[float], scale: float) -> tuple[Plan, Plan, tuple[str, ...]]:
    """The plan of two convolutions, the second's bias and kernel scale given; before, after, and what is told."""
    net = Net()
    first = net.op("Relu", net.conv("images", (3, 4)))
    network = network_of(folder, net, net.conv(first, (4, 2), k=1))
    kernel = Kernel(np.zeros((2, 4, 1, 1), np.int8), np.full(2, scale, np.float32), 8)
    biases = {"net/conv2": np.asarray(bias, np.float32)}
    plan = replace(EMPTY, tensors={first: Grid(0.5, 0, 8)}, kernels={"net/conv2": kernel}, biases=biases)
    return plan, with_integer_biases(network, plan), clipped_biases(network, plan)


def test_a_bias_lies_on_the_grid_of_products(tmp_path: Path) -> None:
    _, after, told = planned(tmp_path, [0.3, -1.26], 0.25)
    assert after.biases["net/conv2"].tolist() == [0.25, -1.25]
    assert told == ()


def test_what_does_not_fit_is_the_last_step_and_told(tmp_path: Path) -> None:
    _, after, told = planned(tmp_path, [1.0, 0.0], 1e-10)
    assert after.biases["net/conv2"][0] == np.float32(((1 << 31) - 1) * np.float64(np.float32(1e-10)) * 0.5)
    assert told == ("net/conv2",)


def test_sixteen_by_sixteen_bits_hold_a_usual_bias(tmp_path: Path) -> None:
    wide = NORMAL + "quantization_param({*}, precision_mode=a16_w16)\n"
    build = loud_detector(tmp_path, loudness=1.0).optimize(wide).compile()
    assert max(build.errors()) < 2e-3


def test_a_deconvolution_in_groups_shares_its_steps_among_them(tmp_path: Path) -> None:
    net = Net()
    first = net.op("Relu", net.conv("images", (3, 8), stride=2))
    kernel = net.constant(np.random.default_rng(1).normal(0, 0.5, (8, 2, 2, 2)))
    bias = net.constant(np.linspace(-1, 1, 8))
    end = net.op("ConvTranspose", first, kernel, bias, group=4, strides=[2, 2], kernel_shape=[2, 2])
    build = Build(tmp_path, net.model([end]), [net.node(end)]).parse().optimize(NORMAL + LEVEL).compile()
    assert max(build.errors()) < 0.02
