"""A small detector of which one layer makes nearly all the noise, by construction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import numpy_helper
from safetensors.numpy import save_file

from build_rules.records.split_json import Endpoint, ModelInput, Split, dump_split
from tests.compilers.nets import NORMAL, Build, Net, images

LOUD = "/n3/Conv"
"""The node of the layer: one of its channels is hundreds of times as large as the others, whose steps it makes."""
FAST = NORMAL + (
    "change_output_activation(conv5, sigmoid)\nmodel_optimization_flavor(optimization_level=1, compression_level=0)\n"
)


def _scale(net: Net, name: str, axis: int, factor: float) -> None:
    """Multiply the first channel of a kernel, or the first of a bias."""
    index = next(i for i, tensor in enumerate(net.constants) if tensor.name == name)
    values = numpy_helper.to_array(net.constants[index]).copy()
    values[(slice(None),) * axis + (0,)] *= factor
    net.constants[index] = numpy_helper.from_array(values, name)


def _put(net: Net, name: str, factor: float, value: float = 0.0) -> None:
    """Make a kernel, or a bias, smaller or larger as a whole."""
    index = next(i for i, tensor in enumerate(net.constants) if tensor.name == name)
    values = (numpy_helper.to_array(net.constants[index]) * factor + value).astype(np.float32)
    net.constants[index] = numpy_helper.from_array(values, name)


def loud_detector(folder: Path, samples: int = 24, loudness: float = 300.0) -> Build:
    """Direct boxes and three classes on one scale of stride 2; parsed, with `split.json` and `model.alls` beside it."""
    net = Net()
    stem = net.silu(net.conv("images", (3, 16), stride=2))
    loud = net.conv(stem, (16, 16), k=1)
    body = net.conv(net.silu(loud), (16, 16), k=1)
    kernels = {node.output[0]: node.input for node in net.nodes if node.op_type == "Conv"}
    # Nobody reads the channel that is so large: float does not see it.
    for constant in kernels[loud][1:3]:
        _scale(net, constant, 0, loudness)
    _scale(net, kernels[body][1], 1, 0.0)
    body = net.silu(body)
    boxes, scores = net.conv(body, (16, 4), k=1), net.conv(body, (16, 3), k=1)
    kernels = {node.output[0]: node.input for node in net.nodes if node.op_type == "Conv"}
    # Boxes of about two cells, and an object in one place of ten.
    for part, factor, bias in ((boxes, 0.3, 1.0), (scores, 15.0, -10.0)):
        _put(net, kernels[part][1], factor)
        _put(net, kernels[part][2], factor, bias)
    assert LOUD in [node.name for node in net.nodes if loud in node.output]
    made = Build(folder, net.model([boxes, scores]), [net.node(boxes), net.node(scores)]).parse()
    endpoints = tuple(
        Endpoint(f"{role}_0", role, 0, 2, tensor, net.node(tensor), (1, channels, 16, 16), encoding, activation)
        for role, tensor, channels, encoding, activation in (
            ("boxes", boxes, 4, "direct", None),
            ("scores", scores, 3, None, "sigmoid"),
        )
    )
    split = Split("net", ModelInput("images", (1, 3, 32, 32)), endpoints, (), None)
    (folder / "split.json").write_text(dump_split(split), encoding="utf-8")
    made.script.write_text(FAST, encoding="utf-8")
    save_file({"images": images(samples)}, str(made.snapshot))
    return made


def spread_rows(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return images that no snapshot has."""
    return images(count, seed=77)
