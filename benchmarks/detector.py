"""A detector to measure with: the layers and the decode tail of a YOLOv8 export, with random weights, at any size.

Usage: python benchmarks/detector.py OUT.onnx [--width 0.5]

Width scales the channels of every layer: 0.5 gives a file of about 43 MB, 0.88 one of about 130 MB. Convolutions with
SiLU written out, split and joined stages, pooling pyramid, feature pyramid with upsampling, one box and one score head
per scale; the tail joins the scales, averages box distances over bins, and gives output0 [1, 4 + classes, cells].

Sources: the published YOLOv8 architecture; the metadata schema of EdgeFirst, version 2.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE = 640
STRIDES = (8, 16, 32)
CLASSES = 80
BINS = 16
CELLS = sum((SIZE // stride) ** 2 for stride in STRIDES)


class Network:
    """Writes a graph layer by layer; a method takes and returns names of tensors."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.channels = {"images": 3}
        self.random = np.random.default_rng(1)

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        node = f"/{kind.lower()}.{len(self.nodes)}"
        names = [f"{node}_output_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=node, **attributes))
        return names

    def one(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self.op(kind, *inputs, **attributes)[0]

    def stored(self, values: NDArray[Any]) -> str:
        name = f"weight.{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def integers(self, *values: int) -> str:
        return self.stored(np.array(values, dtype=np.int64))

    def floats(self, values: Any) -> str:
        return self.stored(np.asarray(values, dtype=np.float32))

    def plain(self, source: str, channels: int, kernel: int = 1, stride: int = 1) -> str:
        """A convolution; its weights do not blow up what passes, its biases do not let it fade."""
        shape = (channels, self.channels[source], kernel, kernel)
        values = self.random.standard_normal(shape, dtype=np.float32)
        values *= np.float32(1.2 / np.prod(shape[1:]) ** 0.5)
        pads = [kernel // 2] * 4
        inputs = (source, self.stored(values), self.floats(self.random.standard_normal(channels) / 2))
        name = self.one("Conv", *inputs, kernel_shape=[kernel, kernel], strides=[stride, stride], pads=pads)
        self.channels[name] = channels
        return name

    def conv(self, source: str, channels: int, kernel: int = 1, stride: int = 1) -> str:
        """A convolution with SiLU."""
        linear = self.plain(source, channels, kernel, stride)
        name = self.one("Mul", linear, self.one("Sigmoid", linear))
        self.channels[name] = channels
        return name

    def concat(self, *sources: str) -> str:
        name = self.one("Concat", *sources, axis=1)
        self.channels[name] = sum(self.channels[source] for source in sources)
        return name

    def stage(self, source: str, channels: int, depth: int, skip: bool) -> str:
        """Half of the channels go through `depth` pairs of convolutions; everything on the way is joined."""
        half = channels // 2
        parts = self.op("Split", self.conv(source, channels), self.integers(half, half), outputs=2, axis=1)
        self.channels |= dict.fromkeys(parts, half)
        for _ in range(depth):
            name = self.conv(self.conv(parts[-1], half, 3), half, 3)
            parts.append(self.one("Add", parts[-1], name) if skip else name)
            self.channels[parts[-1]] = half
        return self.conv(self.concat(*parts), channels)

    def pyramid_pooling(self, source: str, channels: int) -> str:
        pooled = [self.conv(source, channels // 2)]
        for _ in range(3):
            pooled.append(self.one("MaxPool", pooled[-1], kernel_shape=[5, 5], pads=[2] * 4, strides=[1, 1]))
            self.channels[pooled[-1]] = channels // 2
        return self.conv(self.concat(*pooled), channels)

    def upsampled(self, source: str) -> str:
        scales = self.floats([1, 1, 2, 2])
        mode = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
        name = self.one("Resize", source, "", scales, **mode)
        self.channels[name] = self.channels[source]
        return name


def backbone_and_neck(net: Network, width: float) -> list[str]:
    """Return the feature maps from which the heads read, one per stride."""
    c64, c128, c256, c512, c1024 = (max(8, round(c * width / 8) * 8) for c in (64, 128, 256, 512, 1024))
    x = net.stage(net.conv(net.conv("images", c64, 3, 2), c128, 3, 2), c128, 1, True)
    fine = net.stage(net.conv(x, c256, 3, 2), c256, 2, True)
    middle = net.stage(net.conv(fine, c512, 3, 2), c512, 2, True)
    coarse = net.pyramid_pooling(net.stage(net.conv(middle, c1024, 3, 2), c1024, 1, True), c1024)
    down = net.stage(net.concat(net.upsampled(coarse), middle), c512, 1, False)
    first = net.stage(net.concat(net.upsampled(down), fine), c256, 1, False)
    second = net.stage(net.concat(net.conv(first, c256, 3, 2), down), c512, 1, False)
    third = net.stage(net.concat(net.conv(second, c512, 3, 2), coarse), c1024, 1, False)
    return [first, second, third]


def heads(net: Network, maps: Sequence[str]) -> list[str]:
    """Return per scale [1, 4 * BINS + CLASSES, cells of the scale]: a box and a score head, joined."""
    box_width = max(4 * BINS, net.channels[maps[0]] // 4)
    score_width = max(CLASSES, net.channels[maps[0]])
    joined = []
    for source in maps:
        boxes = net.plain(net.conv(net.conv(source, box_width, 3), box_width, 3), 4 * BINS)
        scores = net.plain(net.conv(net.conv(source, score_width, 3), score_width, 3), CLASSES)
        both = net.concat(boxes, scores)
        joined.append(net.one("Reshape", both, net.integers(1, 4 * BINS + CLASSES, -1)))
    return joined


def decode(net: Network, scales: Sequence[str]) -> str:
    """Return boxes (centre and size, in pixels) and scores, [1, 4 + CLASSES, CELLS]."""
    cells = net.one("Concat", *scales, axis=2)
    bins, logits = net.op("Split", cells, net.integers(4 * BINS, CLASSES), outputs=2, axis=1)
    split = net.one("Transpose", net.one("Reshape", bins, net.integers(1, 4, BINS, CELLS)), perm=[0, 2, 1, 3])
    numbers = net.floats(np.arange(BINS).reshape(1, BINS, 1, 1))
    mean = net.one("Conv", net.one("Softmax", split, axis=1), numbers, kernel_shape=[1, 1])
    distances = net.one("Reshape", mean, net.integers(1, 4, CELLS))
    low, high = net.op("Split", distances, net.integers(2, 2), outputs=2, axis=1)
    centres, strides = grid()
    low = net.one("Sub", net.floats(centres), low)
    high = net.one("Add", net.floats(centres), high)
    middle = net.one("Div", net.one("Add", low, high), net.floats(2.0))
    boxes = net.one("Concat", middle, net.one("Sub", high, low), axis=1)
    pixels = net.one("Mul", boxes, net.floats(strides))
    return net.one("Concat", pixels, net.one("Sigmoid", logits), axis=1)


def grid() -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the cells' centres [1, 2, CELLS] in cells, and their strides [1, CELLS] in pixels."""
    centres = []
    for stride in STRIDES:
        row, column = np.indices((SIZE // stride, SIZE // stride))
        centres.append(np.stack([column.ravel(), row.ravel()]) + 0.5)
    strides = np.repeat(STRIDES, [(SIZE // stride) ** 2 for stride in STRIDES])
    return np.concatenate(centres, axis=1)[None], strides[None]


def metadata() -> dict[str, str]:
    """Return what a trainer embeds: the EdgeFirst document and the class names."""
    boundaries = [
        {"name": "boxes", "channels": [0, 4]},
        {"name": "scores", "channels": [4, 4 + CLASSES], "activation": "sigmoid"},
    ]
    hint = {"type": "quantization_split", "target": "output0", "input_dtype": "uint8", "output_dtype": "int8"}
    document = {
        "schema_version": 2,
        "decoder_version": "yolov8",
        "split_hints": [{**hint, "strides": list(STRIDES), "anchors_per_cell": 1, "boundaries": boundaries}],
    }
    labels = [f"class {index}" for index in range(CLASSES)]
    return {"edgefirst": json.dumps(document), "labels": json.dumps(labels)}


def detector(width: float) -> onnx.ModelProto:
    """Return the whole model."""
    net = Network()
    decoded = decode(net, heads(net, backbone_and_neck(net, width)))
    net.nodes.append(helper.make_node("Identity", [decoded], ["output0"], name="output"))
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4 + CLASSES, CELLS])
    graph = helper.make_graph(net.nodes, "detector", [image], [output], net.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata())
    return model


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("output", type=Path)
    parser.add_argument("--width", type=float, default=0.5)
    options = parser.parse_args()
    onnx.save(detector(options.width), options.output)


if __name__ == "__main__":
    main()
