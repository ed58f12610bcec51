"""Channels of unlike size between two layers get one scale, where that helps; what is computed stays the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from build_rules.compilers.emulator import Emulator
from build_rules.compilers.emulator.equalize import Equalized, equalize
from build_rules.compilers.emulator.network import Network, load_network
from build_rules.compilers.emulator.qdq import float_model
from build_rules.compilers.emulator.quantization_plan import Plan
from build_rules.compilers.emulator.script_settings import Settings, read_settings
from build_rules.compilers.emulator.sessions import open_session, run
from build_rules.compilers.har_file import read_har
from build_rules.compilers.protocol import OptimizeJob, StatisticsJob
from build_rules.compilers.samples import Samples
from tests.compilers.nets import NORMAL, Build, Net, detector, images

LEVEL = NORMAL + "model_optimization_flavor(optimization_level={}, compression_level=0)\n"
FAST = LEVEL.format(1)
OFF = "pre_quantization_optimization(equalization, policy=disabled{})\n"
NOTHING = Settings(mean=(0.0,) * 3, std=(255.0,) * 3)


def chain(spread: float, activation: str | None = "Relu", **attributes: Any) -> Net:
    """Convolutions, one in channels of its own; the channels before that one differ by up to exp(2 * spread)."""
    net = Net()

    def activated(x: str) -> str:
        made: str = net.op(activation, x, **attributes) if activation else x
        return made

    first = activated(net.conv(net.op("Relu", net.conv("images", (3, 16), stride=2)), (16, 16), k=1))
    net.conv(activated(net.conv(activated(net.conv(first, (16, 16), group=16)), (16, 8), k=1)), (8, 4), k=1)
    factors = np.exp(np.random.default_rng(3).uniform(-spread, spread, 16))
    for place, by in ((2, factors), (3, factors), (5, 1 / factors)):  # bias and kernel, and the kernel behind
        value = numpy_helper.to_array(net.constants[place])
        scaled = value * by.reshape([-1] + [1] * (value.ndim - 1))
        net.constants[place].CopyFrom(numpy_helper.from_array(scaled.astype(np.float32), net.constants[place].name))
    return net


def dense(spread: float) -> Net:
    """A classifier: two fully connected layers, whose middle channels differ."""
    net = Net()
    factors = np.exp(np.random.default_rng(3).uniform(-spread, spread, (1, 12)))
    pooled = net.op("Flatten", net.op("GlobalAveragePool", net.op("Relu", net.conv("images", (3, 16), stride=2))))
    weights, bias = net.rng.normal(0, 0.4, (16, 12)) * factors, net.rng.normal(0, 0.1, 12) * factors[0]
    x = net.op("Relu", net.op("Gemm", pooled, net.constant(weights), net.constant(bias)))
    net.op("Gemm", x, net.constant(net.rng.normal(0, 0.4, (6, 12)) / factors), net.constant([0.1] * 6), transB=1)
    return net


def build(folder: Path, net: Net) -> Build:
    last = net.nodes[-1].output[0]
    return Build(folder, net.model([last]), [net.node(last)]).parse()


def equalized(made: Build, settings: Settings = NOTHING) -> tuple[Network, Equalized]:
    network = load_network(read_har(made.parsed))
    samples = Samples(made.snapshot, network.image, network.input_shape)
    return network, equalize(network, settings, samples, range(samples.count))


def computed(network: Network) -> np.ndarray:
    session = open_session(float_model(network, Plan({}, {}, {}, {}, {}, NOTHING.mean, NOTHING.std)))
    return np.stack(
        [value for image in images(3, seed=5) for value in run(session, image.transpose(1, 2, 0)[None]).values()]
    )


def lost(made: Build, script: str) -> float:
    """The rms error in 8 bits, relative to the values."""
    made.optimize(script)
    pictures = images(3, seed=5).transpose(0, 2, 3, 1)
    (found,) = Emulator().simulate(made.har, pictures).values()
    wanted = computed(load_network(read_har(made.parsed))).reshape(found.shape)
    return float(np.sqrt(np.square(found - wanted).mean() / np.square(wanted).mean()))


CASES = {
    "relu": chain(4.0),
    "leaky": chain(4.0, "LeakyRelu", alpha=0.1),
    "linear": chain(4.0, None),
    "dense": dense(4.0),
}


@pytest.mark.parametrize("case", CASES)
def test_the_network_computes_what_it_did_and_loses_far_less_in_eight_bits(case: str, tmp_path: Path) -> None:
    made = build(tmp_path, CASES[case])
    network, after = equalized(made)
    assert after.pairs
    assert np.abs(computed(after.network) - computed(network)).max() < 1e-5
    assert lost(made, FAST) < lost(made, FAST + OFF.format("")) / 3  # 10 dB


@pytest.mark.parametrize("activation", ["Clip", "Sigmoid", "HardSwish"])
def test_other_activations_stay(activation: str, tmp_path: Path) -> None:
    assert equalized(build(tmp_path, chain(4.0, activation)))[1].pairs == ()


@pytest.mark.parametrize("activation", ["Relu", None])
def test_what_is_well_scaled_loses_nothing_by_it(activation: str | None, tmp_path: Path) -> None:
    made = build(tmp_path, chain(0.0, activation))
    assert lost(made, FAST) < 1.06 * lost(made, FAST + OFF.format(""))  # half a decibel


def test_a_tensor_that_others_read_or_that_is_delivered_stays(tmp_path: Path) -> None:
    net = chain(4.0)
    middle = next(node.output[0] for node in net.nodes[3:] if node.op_type == "Relu")
    last = net.nodes[-1].output[0]
    made = Build(tmp_path, net.model([last, middle]), [net.node(last), net.node(middle)]).parse()
    assert "net/conv2" not in equalized(made)[1].pairs


@pytest.mark.parametrize(
    "line",
    [OFF.format(""), OFF.format(", layers=[conv2]"), "quantization_param(conv2, force_range_out=[0.0, 9.0])\n"],
)
def test_lines_that_keep_layers_out_of_it_are_obeyed(line: str, tmp_path: Path) -> None:
    made = build(tmp_path, CASES["relu"])
    settings = read_settings(FAST + line, "model.alls", read_har(made.parsed).hn)
    assert "net/conv2" not in equalized(made, settings)[1].pairs
    again = read_settings(FAST + line + "pre_quantization_optimization(equalization, policy=enabled)\n"
                          "pre_quantization_optimization(equalization, policy=enabled, layers=[conv2])\n",
                          "model.alls", read_har(made.parsed).hn)  # fmt: skip
    assert ("net/conv2" in equalized(made, again)[1].pairs) == ("force_range" not in line)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_every_level_does_it_and_says_for_how_many_pairs(level: int, tmp_path: Path) -> None:
    counts = []
    for name, made in (
        ("relu", build(tmp_path / "relu", CASES["relu"])),
        ("silu", Build(tmp_path / "silu", *detector())),
    ):
        har = read_har(made.parse().optimize(LEVEL.format(level)).har)
        report = har.document(".modifications_meta_data.json")
        assert "equalization" not in " ".join(report["not_emulated"]), name
        counts.append(report["equalized_pairs"])
    assert counts[0] >= 1
    assert counts[1] == 0


def test_statistics_are_those_of_the_equalized_network(tmp_path: Path) -> None:
    made = build(tmp_path, CASES["relu"])
    file = tmp_path / "statistics.npz"
    Emulator().collect(StatisticsJob(made.parsed, made.snapshot, (0.0,) * 3, (255.0,) * 3, file))
    for line in ("", OFF.format("")):
        hars = []
        for statistics in (None, file):
            made.script.write_text(FAST + line)
            Emulator().optimize(OptimizeJob(made.parsed, made.script, made.snapshot, made.har, statistics=statistics))
            hars.append(made.har.read_bytes())
        assert hars[0] == hars[1]
