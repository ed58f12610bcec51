"""Operators: what no chip has a layer for is refused at parse, in a paragraph that names the node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from build_rules.compilers.emulator import Emulator
from build_rules.compilers.emulator.operators import REASONS, SUPPORTED
from build_rules.compilers.emulator.sizes import tell_sizes
from build_rules.compilers.protocol import ParseJob
from build_rules.errors import InputError
from tests.compilers.nets import SIZE, Net

Make = Callable[[Net, str], str]
"""Adds the probe behind a feature map of 4 channels and returns the tensor that it delivers."""


def plain(kind: str, **attributes: Any) -> Make:
    return lambda net, x: str(net.op(kind, x, **attributes))


def with_constant(kind: str, value: Any, dtype: Any = np.float32, **attributes: Any) -> Make:
    return lambda net, x: str(net.op(kind, x, net.constant(value, dtype), **attributes))


def recurrent(kind: str, gates: int) -> Make:
    def make(net: Net, x: str) -> str:
        rows = net.op("Reshape", x, net.constant([SIZE, 1, 4 * SIZE], np.int64))
        weights = (net.constant(np.ones((1, gates * 2, width))) for width in (4 * SIZE, 2))
        return str(net.op(kind, rows, *weights, hidden_size=2))

    return make


def quantized(net: Net, x: str) -> str:
    whole = net.op("QuantizeLinear", x, net.constant(0.1), net.constant(128, np.uint8))
    return str(net.op("DequantizeLinear", whole, net.constant(0.1), net.constant(128, np.uint8)))


def dynamic_kernel(net: Net, x: str) -> str:
    return str(
        net.op("Conv", x, net.op("Reshape", net.op("GlobalAveragePool", x), net.constant([1, 4, 1, 1], np.int64)))
    )


def in_space(kind: str) -> Make:
    def make(net: Net, x: str) -> str:
        volume = net.op("Reshape", x, net.constant([1, 1, 4, SIZE, SIZE], np.int64))
        if kind == "Conv":
            return str(net.op("Conv", volume, net.constant(np.ones((2, 1, 3, 3, 3)))))
        return str(net.op(kind, volume, kernel_shape=[2, 2, 2]))

    return make


def looked_up(net: Net, x: str) -> str:
    return str(net.op("Gather", x, net.constant([0, 2], np.int64), axis=1))


def branching(net: Net, x: str) -> str:
    flag = net.op("Greater", net.op("ReduceMax", x, keepdims=0), net.constant(0.0))
    branches = {
        key: helper.make_graph(
            [helper.make_node(kind, [x], [key])], key, [], [helper.make_tensor_value_info(key, TensorProto.FLOAT, None)]
        )
        for key, kind in (("then_branch", "Relu"), ("else_branch", "Neg"))
    }
    return str(net.op("If", flag, **branches))


PROBES: dict[str, Make] = {
    "lstm": recurrent("LSTM", 4),
    "gru": recurrent("GRU", 3),
    "rnn": recurrent("RNN", 1),
    "grid sample": with_constant("GridSample", np.zeros((1, 5, 5, 2))),
    "one kernel per image": dynamic_kernel,
    "convolution in space": in_space("Conv"),
    "pooling in space": in_space("MaxPool"),
    "average in space": in_space("AveragePool"),
    "branch": branching,
    "gather": looked_up,
    "gather elements": with_constant("GatherElements", np.zeros((1, 4, 2, 2)), np.int64, axis=1),
    "gather by index": with_constant("GatherND", [[0, 1]], np.int64),
    "largest": lambda net, x: str(net.op("TopK", x, net.constant([2], np.int64), outputs=2, axis=1)[0]),
    "where the largest is": plain("ArgMax", axis=1),
    "where the smallest is": plain("ArgMin", axis=1),
    "one hot": lambda net, x: str(
        net.op("OneHot", net.op("ArgMax", x, axis=1), net.constant(4, np.int64), net.constant([0.0, 1.0]))
    ),
    "not zero": plain("NonZero"),
    "unique": lambda net, x: str(net.op("Unique", x, axis=1)),
    "choice": lambda net, x: str(net.op("Where", net.op("Greater", x, net.constant(0.0)), x, net.constant(0.0))),
    "greater": lambda net, x: str(net.op("Greater", x, net.constant(0.0))),
    "equal": lambda net, x: str(net.op("Equal", x, net.constant(0.0))),
    "is nan": plain("IsNaN"),
    "copies": with_constant("Tile", [1, 2, 1, 1], np.int64),
    "broadcast": with_constant("Expand", [2, 4, SIZE, SIZE], np.int64),
    "running sum": with_constant("CumSum", 2, np.int64),
    "floor": plain("Floor"),
    "ceil": plain("Ceil"),
    "round": plain("Round"),
    "modulo": with_constant("Mod", 2.0, fmod=1),
    "sign": plain("Sign"),
    "sine": plain("Sin"),
    "cosine": plain("Cos"),
    "tangent": plain("Tan"),
    "hyperbolic sine": plain("Sinh"),
    "determinant": plain("Det"),
    "einsum": plain("Einsum", equation="nchw->nhwc"),
    "instance normalization": lambda net, x: str(
        net.op("InstanceNormalization", x, net.constant(np.ones(4)), net.constant(np.zeros(4)))
    ),
    "local response": plain("LRN", size=3),
    "root of squares": plain("LpPool", kernel_shape=[2, 2]),
    "hard maximum": plain("Hardmax", axis=1),
    "threshold": plain("ThresholdedRelu"),
    "shrink": plain("Shrink"),
    "upside down": lambda net, x: str(
        net.op("ReverseSequence", x, net.constant([4], np.int64), batch_axis=0, time_axis=1)
    ),
    "random": plain("RandomNormalLike"),
    "spectrum": lambda net, x: str(net.op("DFT", net.op("Unsqueeze", x, net.constant([4], np.int64)), axis=2)),
    "quantized elsewhere": quantized,
    "reflection": lambda net, x: str(
        net.op("Pad", x, net.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64), mode="reflect")
    ),
    "cubic": lambda net, x: str(net.op("Resize", x, "", net.constant([1, 1, 2, 2]), mode="cubic")),
    "channels resized": lambda net, x: str(net.op("Resize", x, "", net.constant([1, 2, 1, 1]), mode="nearest")),
    "batch turned": plain("Transpose", perm=[1, 0, 2, 3]),
    "batch joined": lambda net, x: str(net.op("Concat", x, x, axis=0)),
    "batch normalized": plain("Softmax", axis=0),
    "batch summed": plain("ReduceMean", axes=[0]),
    "all summed": plain("ReduceMean", keepdims=1),
    "indices of the pool": lambda net, x: str(net.op("MaxPool", x, outputs=2, kernel_shape=[2, 2])[0]),
    "backwards": lambda net, x: str(
        net.op("Slice", x, *(net.constant([each], np.int64) for each in (-1, -SIZE - 1, 2, -1)))
    ),
    "whole numbers": plain("Cast", to=TensorProto.INT32),
    "dense, turned": lambda net, x: str(
        net.op("Gemm", net.op("Flatten", net.op("GlobalAveragePool", x)), net.constant(np.ones((4, 2))), alpha=0.5)
    ),
}


def parse(folder: Path, model: onnx.ModelProto, end: str) -> tuple[str, ...]:
    path = folder / "split.onnx"
    path.write_bytes(model.SerializeToString())
    return Emulator().parse(ParseJob(path, "net", "hailo8l", (end,), folder / "parsed.har")).warnings


@pytest.mark.parametrize("probe", PROBES)
def test_what_no_chip_has_a_layer_for(tmp_path: Path, probe: str) -> None:
    net = Net()
    out = PROBES[probe](net, net.conv("images", (3, 4)))
    with pytest.raises(InputError) as caught:
        parse(tmp_path, net.model([out]), net.node(out))
    told = str(caught.value)
    assert "cannot run on the device (UnsupportedOperation): " in told
    assert "end the network before it ([split] endpoints in model.toml)" in told
    assert "\n" not in told
    named = told.partition("node '")[2].partition("'")[0]
    assert named in {node.name for node in net.nodes}


def test_an_operator_of_somebody_else(tmp_path: Path) -> None:
    net = Net()
    out = net.conv("images", (3, 4))
    model = net.model([out])
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(InputError, match=r"node '/n0/Conv': .*it is none of ONNX's own but one of 'com.microsoft'"):
        parse(tmp_path, model, net.node(out))


def test_sizes_beyond_every_public_network_are_told(tmp_path: Path) -> None:
    net = Net()
    out = net.conv("images", (3, 60_000), k=1)
    (told,) = parse(tmp_path, net.model([out]), net.node(out))
    assert told.startswith("layer 'net/conv1' has 60000 channels; no public network has more than 4096")
    assert "No limit is published" in told


def test_weights_and_edges_beyond_every_public_network() -> None:
    def layer(kind: str, shape: list[int], **params: object) -> dict[str, object]:
        return {"type": kind, "input_shapes": [shape], "output_shapes": [shape], "params": params}

    wide = {"layers": {"net/conv1": layer("conv", [-1, 8, 4000, 8], kernel_shape=[1, 1, 8, 8])}}
    assert [told.partition(";")[0] for told in tell_sizes(wide, "hailo8")] == [
        "layer 'net/conv1' has 4000 pixels along an edge"
    ]
    heavy = {"layers": {"net/fc1": layer("dense", [-1, 4096]), "net/conv1": layer("conv", [-1, 8, 8, 4096],
             kernel_shape=[3, 3, 4096, 2048])}}  # fmt: skip
    (told,) = tell_sizes(heavy, "hailo8l")
    assert told.startswith("the network has 92.3 million weights; the largest public one for hailo8l has 87.8")
    assert tell_sizes(heavy, "hailo8") == ()


def test_an_operator_is_in_a_row_or_has_a_reason_but_not_both() -> None:
    assert not set(SUPPORTED) & set(REASONS)
    assert all(row.source for row in SUPPORTED.values())
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert set(SUPPORTED) | set(REASONS) <= known | {"Mish", "Swish"}
