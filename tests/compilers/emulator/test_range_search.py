"""What lies beyond a tensor is the network with that tensor rounded, and ranges are searched by what comes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from build_rules.compilers.emulator.beyond import SCALE, ZERO, beyond
from build_rules.compilers.emulator.network import Network
from build_rules.compilers.emulator.qdq import float_model, quantized_model, real_output
from build_rules.compilers.emulator.quantization_plan import Grid, Plan, grid
from build_rules.compilers.emulator.range_search import search_ranges
from build_rules.compilers.emulator.score_cells import Target
from build_rules.compilers.emulator.sessions import open_session, run
from build_rules.compilers.samples import Samples
from tests.compilers.nets import Net, images
from tests.compilers.parsed import network_of

NORMAL = ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))


def branching(folder: Path) -> tuple[Network, str]:
    """A network whose first tensor two branches read, and that tensor."""
    net = Net()
    first = net.silu(net.conv("images", (3, 8)))
    left, right = net.silu(net.conv(first, (8, 8))), net.conv(first, (8, 8), k=1)
    return network_of(folder, net, net.conv(net.op("Add", left, right), (8, 4), k=1)), first


def planned(network: Network, tensor: str, found: Grid) -> Plan:
    output = network.outputs[0].name
    return Plan({tensor: found}, {}, {}, {output: grid(-60.0, 60.0, 16)}, {}, *NORMAL)


def test_beyond_a_tensor_is_the_network_with_it_rounded(tmp_path: Path) -> None:
    network, first = branching(tmp_path)
    plan = planned(network, first, grid(-0.28, 3.0, 8))
    whole = float_model(network, plan)
    part = beyond(network, whole, [first], 8)
    assert part.read == (first,)
    image = images(1)[0].transpose(1, 2, 0)[None]
    held = run(open_session(float_model(network, plan, part.read, delivers=False)), image)
    numbers = {SCALE: np.float32(plan.tensors[first].scale), ZERO: np.uint8(plan.tensors[first].zero_point)}
    feeds = {name: np.asarray(value) for name, value in {**held, **numbers}.items()}
    values = open_session(part.model).run(list(part.outputs), feeds)
    real = real_output(network.outputs[0])
    wanted = run(open_session(quantized_model(network, plan, [real])), image)[real]
    assert values[0] == pytest.approx(wanted, abs=1e-5)


def test_a_range_that_wastes_its_steps_is_found(tmp_path: Path) -> None:
    network, first = branching(tmp_path)
    save_file({"images": images(4)}, str(tmp_path / "some.safetensors"))
    samples = Samples(tmp_path / "some.safetensors", "images", network.input_shape)
    wide = planned(network, first, grid(-0.28, 40.0, 8))
    session = open_session(float_model(network, wide))
    targets = {}
    for index in range(4):
        delivered = run(session, samples.sample(index))
        targets[index] = Target(delivered, {name: np.ones(value.shape[1:3]) for name, value in delivered.items()})
    before = {network.outputs[0].name: 1.0}

    def searched(plan: Plan, fixed: frozenset[str] = frozenset()) -> Grid:
        found = search_ranges(network, plan, {first: first}, fixed, samples, targets, before, lambda text: None)
        return found.tensors[first]

    assert searched(wide).limits[1] < 25
    assert searched(wide, frozenset([first])) == wide.tensors[first]
    narrow = replace(wide, tensors={first: searched(wide)})
    assert searched(narrow).limits[1] <= narrow.tensors[first].limits[1]
