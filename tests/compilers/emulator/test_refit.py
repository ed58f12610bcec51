"""Which convolutions the fine-tune may touch: ordinary ones, near one output, that serve it alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from build_rules.compilers.emulator.refit import candidates
from tests.compilers.nets import Net
from tests.compilers.parsed import network_of


def found(folder: Path, net: Net, *outputs: str) -> list[tuple[str, str, int]]:
    """The ONNX node of each convolution that may be refitted, its output's, and how many convolutions lie between."""
    network = network_of(folder, net, *outputs)
    ends = {output.name: output.original_names[0] for output in network.outputs}
    nodes = network.graph.nodes
    return [(nodes[one.layer.nodes[0]].name, ends[one.output], one.depth) for one in candidates(network)]


def test_the_last_two_convolutions_before_an_output(tmp_path: Path) -> None:
    net = Net()
    first = net.silu(net.conv("images", (3, 4)))
    second = net.silu(net.conv(first, (4, 4)))
    last = net.conv(second, (4, 2), k=1)
    assert found(tmp_path, net, last) == [("/n3/Conv", "/n6/Conv", 1), ("/n6/Conv", "/n6/Conv", 0)]


def test_what_two_outputs_share_is_left_alone(tmp_path: Path) -> None:
    net = Net()
    shared = net.conv("images", (3, 4))
    left, right = net.conv(shared, (4, 2), k=1), net.conv(shared, (4, 3), k=1)
    assert found(tmp_path, net, left, right) == [("/n1/Conv", "/n1/Conv", 0), ("/n2/Conv", "/n2/Conv", 0)]


def test_a_convolution_that_is_an_output_and_is_read_by_another_is_left_alone(tmp_path: Path) -> None:
    net = Net()
    first = net.conv("images", (3, 4))
    last = net.conv(first, (4, 2), k=1)
    assert found(tmp_path, net, first, last) == [("/n1/Conv", "/n1/Conv", 0)]


def test_the_shortest_way_to_the_output_counts(tmp_path: Path) -> None:
    net = Net()
    first = net.conv("images", (3, 4))
    long = net.conv(net.conv(net.conv(first, (4, 4)), (4, 4)), (4, 4))
    last = net.conv(net.op("Add", first, long), (4, 2), k=1)
    depths = {node: depth for node, _, depth in found(tmp_path, net, last)}
    assert depths == {"/n0/Conv": 1, "/n3/Conv": 1, "/n5/Conv": 0}


def grouped(net: Net, x: str) -> str:
    return net.conv(x, (4, 4), group=2)


def depthwise(net: Net, x: str) -> str:
    return net.conv(x, (4, 4), group=4)


def transposed(net: Net, x: str) -> str:
    weight = net.constant(net.rng.normal(size=(4, 4, 2, 2)))
    made: str = net.op("ConvTranspose", x, weight, kernel_shape=[2, 2], strides=[2, 2])
    return made


def ordinary(net: Net, x: str) -> str:
    return net.conv(x, (4, 4))


def normalized(net: Net, x: str) -> str:
    """Its normalization is folded into it, and it is refitted as it is then."""
    numbers = [net.constant(np.full(4, value)) for value in (1.5, 0.1, 0.2, 0.9)]
    made: str = net.op("BatchNormalization", net.conv(x, (4, 4)), *numbers)
    return made


@pytest.mark.parametrize(
    ("layer", "may"), [(ordinary, True), (normalized, True), (grouped, False), (depthwise, False), (transposed, False)]
)
def test_ordinary_convolutions_alone(tmp_path: Path, layer: Callable[[Net, str], str], may: bool) -> None:
    net = Net()
    last = layer(net, net.op("MaxPool", net.silu(net.conv("images", (3, 4))), kernel_shape=[2, 2], strides=[2, 2]))
    touched = {node: depth for node, _, depth in found(tmp_path, net, last)}
    # What lies before is one convolution further from the output, whatever the last one is.
    assert touched == {"/n0/Conv": 1} | ({"/n4/Conv": 0} if may else {})


def test_one_whose_result_is_renamed_is_left_alone(tmp_path: Path) -> None:
    """What it delivers before its activation has to be the tensor that the operator itself makes."""
    net = Net()
    last = net.op("Relu", net.op("Identity", net.conv("images", (3, 4))))
    assert found(tmp_path, net, last) == []


def test_of_a_split_the_half_that_is_nearer_counts(tmp_path: Path) -> None:
    net = Net()
    first = net.conv("images", (3, 4))
    near, far = net.op("Split", first, net.constant([2, 2], np.int64), outputs=2, axis=1)
    last = net.conv(net.op("Concat", near, net.conv(far, (2, 2)), axis=1), (4, 2), k=1)
    assert ("/n0/Conv", 1) in {(node, depth) for node, _, depth in found(tmp_path, net, last)}
