"""Graphs that begin by preparing pixels, in the ways exporters write it; behind that a small map of scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.graph.graphs import SIZE, Builder, document, hint

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
BY_255 = ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
SPREAD = (MEAN, STD)
UNIT = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NHWC = (1, SIZE, SIZE, 3)


@dataclass(frozen=True)
class Form:
    """One way to write a front: what it is made of, the type and shape of the input, and what is right.

    `does` is (mean, std) per channel behind it, in the units of the input; None when it is left in the graph.
    """

    write: Callable[[Builder, str], str]
    takes: str | None
    does: tuple[tuple[float, ...], tuple[float, ...]] | None
    swapped: bool = False
    kind: int = TensorProto.FLOAT
    shape: tuple[int, ...] = (1, 3, SIZE, SIZE)


def column(b: Builder, values: Any, last: bool = False) -> str:
    return b.weight(np.reshape(values, (1, 1, 1, -1) if last else (1, -1, 1, 1)))


def cast(b: Builder, x: str, kind: int = TensorProto.FLOAT) -> str:
    return b.op("Cast", x, to=kind)


def by(b: Builder, x: str, value: float) -> str:
    return b.op("Div", x, b.weight(value))


def times(b: Builder, x: str, value: float) -> str:
    return b.op("Mul", x, b.weight(value))


def spread(b: Builder, x: str, mean: Any = MEAN, std: Any = STD, last: bool = False) -> str:
    return b.op("Div", b.op("Sub", x, column(b, mean, last)), column(b, std, last))


def to_nchw(b: Builder, x: str) -> str:
    return b.op("Transpose", x, perm=[0, 3, 1, 2])


def gathered(b: Builder, x: str, axis: int = 1) -> str:
    return b.op("Gather", x, b.integers(2, 1, 0), axis=axis)


def reversed_slice(b: Builder, x: str) -> str:
    ends = (b.integers(-1), b.integers(-4), b.integers(1), b.integers(-1))
    return b.op("Slice", x, *ends)


def split_up(b: Builder, x: str, order: tuple[int, ...] = (2, 1, 0)) -> str:
    first = b.op("Split", x, b.integers(1, 1, 1), axis=1, outputs=3)
    parts = [first, f"{first}_1", f"{first}_2"]
    return b.op("Concat", *(parts[k] for k in order), axis=1)


def channel_by_channel(b: Builder, x: str) -> str:
    parts = [b.slice(x, k, k + 1, 1) for k in range(3)]
    made = [by(b, b.op("Sub", part, b.weight(MEAN[k])), STD[k]) for k, part in enumerate(parts)]
    return b.op("Concat", *made, axis=1)


def batch_norm(b: Builder, x: str, mean: Any, variance: Any) -> str:
    ones, zeros = b.weight(np.ones(3)), b.weight(np.zeros(3))
    return b.op("BatchNormalization", x, ones, zeros, b.weight(mean), b.weight(variance), epsilon=1e-12)


def pointwise(b: Builder, x: str, mean: Any = MEAN, std: Any = STD, group: int = 3) -> str:
    scale = 1 / np.array(std)
    kernel = scale.reshape(3, 1, 1, 1) if group == 3 else np.diag(scale).reshape(3, 3, 1, 1)
    return b.op("Conv", x, b.weight(kernel), b.weight(-np.array(mean) * scale), group=group, kernel_shape=[1, 1])


def clipped(b: Builder, x: str, low: float, high: float) -> str:
    return b.op("Clip", x, b.weight(low), b.weight(high))


def focus(b: Builder, x: str) -> str:
    """Pixels moved into channels, as YOLOv5 did it."""
    parts = []
    for row, start in ((0, 0), (1, 0), (0, 1), (1, 1)):
        far = b.integers(SIZE)
        rows = b.op("Slice", x, b.integers(row), far, b.integers(2), b.integers(2))
        parts.append(b.op("Slice", rows, b.integers(start), far, b.integers(3), b.integers(2)))
    return b.op("Concat", *parts, axis=1)


def padded(b: Builder, x: str, grey: float = 114.0) -> str:
    return b.op("Pad", x, b.integers(0, 0, 0, 0, 0, 0, 8, 8), b.weight(grey))


U8 = TensorProto.UINT8
FORMS: dict[str, Form] = {
    "nothing": Form(lambda b, x: x, None, None),
    "a cast of floats": Form(cast, None, None),
    "bytes": Form(cast, "raw", PLAIN, kind=U8),
    "bytes by 255": Form(lambda b, x: by(b, cast(b, x), 255), "raw", BY_255, kind=U8),
    "bytes times 1/255": Form(lambda b, x: times(b, cast(b, x), 1 / 255), "raw", BY_255, kind=U8),
    "bytes, channels last, then turned": Form(
        lambda b, x: by(b, cast(b, to_nchw(b, x)), 255), "raw", BY_255, kind=U8, shape=NHWC
    ),
    "bytes, channels last, times 1/255, turned": Form(
        lambda b, x: to_nchw(b, times(b, cast(b, x), 1 / 255)), "raw", BY_255, kind=U8, shape=NHWC
    ),
    "bytes swapped, channels last": Form(
        lambda b, x: by(b, to_nchw(b, cast(b, gathered(b, x, 3))), 255), "raw", BY_255, True, U8, NHWC
    ),
    "by 255": Form(lambda b, x: by(b, x, 255), "raw", BY_255),
    "by 256": Form(lambda b, x: by(b, x, 256), "raw", ((0.0,) * 3, (256.0,) * 3)),
    "times 1/255 twice cast": Form(lambda b, x: cast(b, times(b, cast(b, x), 1 / 255)), "raw", BY_255),
    "mean, deviation": Form(spread, "raw", SPREAD),
    "mean, deviation, channels last": Form(lambda b, x: to_nchw(b, spread(b, x, last=True)), "raw", SPREAD, shape=NHWC),
    "by 255, then ImageNet": Form(lambda b, x: spread(b, by(b, x, 255), *UNIT), "raw", SPREAD),
    "deviation, then mean": Form(
        lambda b, x: b.op("Sub", b.op("Div", x, column(b, STD)), column(b, np.divide(MEAN, STD))), "raw", SPREAD
    ),
    "added negative mean": Form(
        lambda b, x: b.op("Mul", b.op("Add", x, column(b, np.negative(MEAN))), column(b, np.reciprocal(STD))),
        "raw",
        SPREAD,
    ),
    "constant first": Form(lambda b, x: b.op("Mul", b.weight(1 / 255), x), "raw", BY_255),
    "means alone": Form(lambda b, x: b.op("Sub", x, column(b, MEAN)), "raw", (MEAN, (1.0, 1.0, 1.0))),
    "to -1..1": Form(lambda b, x: b.op("Sub", by(b, x, 127.5), b.weight(1.0)), "raw", ((127.5,) * 3, (127.5,) * 3)),
    "centred by 128": Form(
        lambda b, x: by(b, b.op("Sub", x, b.weight(127.5)), 128), "raw", ((127.5,) * 3, (128.0,) * 3)
    ),
    "batch normalization of pixels": Form(lambda b, x: batch_norm(b, x, MEAN, np.square(STD)), "raw", SPREAD),
    "channel by channel": Form(channel_by_channel, "raw", SPREAD),
    "a convolution for each channel": Form(pointwise, "raw", SPREAD),
    "a convolution of 1x1": Form(lambda b, x: pointwise(b, x, group=1), "raw", SPREAD),
    "swapped, then spread": Form(lambda b, x: spread(b, gathered(b, x)), "raw", SPREAD, True),
    "spread, then swapped": Form(lambda b, x: reversed_slice(b, spread(b, x)), "raw", (MEAN[::-1], STD[::-1]), True),
    "swapped by Gather": Form(gathered, None, PLAIN, True),
    "swapped by Slice": Form(reversed_slice, None, PLAIN, True),
    "swapped by Split and Concat": Form(split_up, None, PLAIN, True),
    "split up and joined as before": Form(lambda b, x: split_up(b, x, (0, 1, 2)), None, None),
    "ImageNet on 0..1": Form(lambda b, x: spread(b, x, *UNIT), "unit", UNIT),
    "0..1 to pixels": Form(lambda b, x: times(b, x, 255), "unit", ((0.0,) * 3, (0.00392157,) * 3)),
    "0..1 to -1..1": Form(lambda b, x: b.op("Sub", times(b, x, 2), b.weight(1.0)), "unit", ((0.5,) * 3, (0.5,) * 3)),
    "batch normalization of 0..1": Form(lambda b, x: batch_norm(b, x, UNIT[0], np.square(UNIT[1])), "unit", UNIT),
    "bytes as half floats": Form(
        lambda b, x: cast(b, b.op("Div", cast(b, x, TensorProto.FLOAT16), b.weight(256, np.float16))),
        "raw",
        ((0.0,) * 3, (256.0,) * 3),
        kind=U8,
    ),
    "bounded to pixels, by 255": Form(lambda b, x: by(b, clipped(b, x, 0, 255), 255), "raw", BY_255),
    "by 255, bounded to 0..1": Form(lambda b, x: clipped(b, by(b, x, 255), 0, 1), "raw", BY_255),
    "not below 0, by 255": Form(lambda b, x: by(b, b.op("Relu", x), 255), "raw", BY_255),
    "not above 255, by 255": Form(lambda b, x: by(b, b.op("Min", b.weight(255.0), x), 255), "raw", BY_255),
    "bounded below alone, by 255": Form(lambda b, x: by(b, b.op("Clip", x, b.weight(0.0)), 255), "raw", BY_255),
    "bounded above alone, by 255": Form(lambda b, x: by(b, b.op("Clip", x, "", b.weight(255.0)), 255), "raw", BY_255),
    "channels last, turned by Einsum": Form(
        lambda b, x: by(b, b.op("Einsum", x, equation="bhwc->bchw"), 255), "raw", BY_255, shape=NHWC
    ),
    "in one row, by 255": Form(lambda b, x: b.reshape(by(b, b.op("Flatten", x), 255), 1, 3, SIZE, SIZE), "raw", BY_255),
    "a sum, by 255": Form(lambda b, x: by(b, b.op("Sum", x, column(b, (0, 0, 0))), 255), "raw", BY_255),
    "a negative twice": Form(lambda b, x: b.op("Neg", by(b, x, -255)), "raw", BY_255),
    "bytes, cast like others": Form(
        lambda b, x: by(b, b.op("CastLike", x, b.weight(1.0)), 255), "raw", BY_255, kind=U8
    ),
    "a product with a matrix": Form(
        lambda b, x: to_nchw(b, b.op("MatMul", x, b.weight(np.eye(3) / 255))), "raw", BY_255, shape=NHWC
    ),
    "a product with a matrix that swaps": Form(
        lambda b, x: to_nchw(b, b.op("MatMul", x, b.weight(np.eye(3)[::-1] / 255))), "raw", BY_255, True, shape=NHWC
    ),
    "halved, then by 255": Form(
        lambda b, x: by(b, b.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), 255), "raw", None
    ),
    "repeated, then by 255": Form(lambda b, x: by(b, b.op("Tile", x, b.integers(1, 2, 1, 1)), 255), "raw", None),
    "bytes in doubles": Form(
        lambda b, x: cast(b, b.op("Div", cast(b, x, TensorProto.DOUBLE), b.weight(255, np.float64))),
        "raw",
        BY_255,
        kind=U8,
    ),
    "bytes in whole numbers": Form(
        lambda b, x: cast(b, b.op("Sub", cast(b, x, TensorProto.INT32), b.weight(128, np.int32))),
        "raw",
        ((128.0,) * 3, (1.0,) * 3),
        kind=U8,
    ),
    "rounded pixels, by 255": Form(lambda b, x: by(b, b.op("Round", x), 255), "raw", BY_255),
    "bytes, bounded": Form(lambda b, x: by(b, clipped(b, cast(b, x), 0, 255), 255), "raw", BY_255, kind=U8),
    # What is bounded to 0..1 as it comes in was not meant to be pixels; the bound stays.
    "bounded to 0..1, then ImageNet": Form(lambda b, x: spread(b, clipped(b, x, 0, 1), *UNIT), None, None),
    "bounded to pixels": Form(lambda b, x: clipped(b, x, 0, 255), None, None),
    "a mean image": Form(
        lambda b, x: b.op("Sub", x, b.weight(np.linspace(90, 140, 3 * SIZE * SIZE).reshape(1, 3, SIZE, SIZE))),
        "raw",
        None,
    ),
    # Left where it is: no order of colours, no scale, or not done to each pixel alone.
    "another order": Form(lambda b, x: split_up(b, x, (1, 2, 0)), None, None),
    "one colour three times": Form(lambda b, x: split_up(b, x, (0, 0, 0)), None, None),
    "turned upside down": Form(lambda b, x: by(b, b.op("Sub", b.weight(255.0), x), 255), "raw", None),
    "pixels into channels": Form(focus, None, None),
    "pixels into channels, by 255": Form(lambda b, x: by(b, focus(b, x), 255), "raw", None),
    "a border, then by 255": Form(lambda b, x: by(b, padded(b, x), 255), "raw", None),
    "by 255, then a border": Form(lambda b, x: padded(b, by(b, x, 255), 114 / 255), "raw", BY_255),
    "bytes, then a border": Form(lambda b, x: padded(b, cast(b, x)), "raw", PLAIN, kind=U8),
}


def scores_of(form: Form, metadata: dict[str, Any] | None = None) -> onnx.ModelProto:
    """A graph with that front: one map of scores, at stride 8."""
    b = Builder(image=form.shape)
    b.inputs = [helper.make_tensor_value_info("image", form.kind, list(form.shape))]
    prepared = form.write(b, "image")
    shapes = {v.name: v for v in onnx.shape_inference.infer_shapes(_bare(b, prepared)).graph.output}
    sizes = [dim.dim_value for dim in shapes[prepared].type.tensor_type.shape.dim]
    if sizes[3] == 3 and sizes[1] != 3:
        prepared, sizes = to_nchw(b, prepared), [1, 3, *sizes[1:3]]
    stride = sizes[2] // (SIZE // 8)
    # What comes in may be 0..255; scores are to depend on it all the same.
    white = 1 if form.does is None else (255 if form.takes == "raw" else 1) / form.does[1][0]
    kernel = b.weight(b.random.standard_normal((2, sizes[1], stride, stride)) / stride / max(1, white / 2))
    made = b.op("Conv", prepared, kernel, name="map", strides=[stride] * 2, kernel_shape=[stride] * 2)
    b.op("Sigmoid", b.reshape(made, 1, 2, -1), name="output0")
    told = document(hint(("scores", 0, 2)), **(metadata or {}))
    told["split_hints"][0]["boundaries"][0]["activation"] = "sigmoid"
    return b.model("output0", document=told)


def _bare(b: Builder, output: str) -> onnx.ModelProto:
    graph = helper.make_graph(b.nodes or [helper.make_node("Identity", ["image"], ["same"])], "front", b.inputs,
                              [onnx.ValueInfoProto(name=output)] if b.nodes else [b.inputs[0]], b.weights)  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", b.opset)], ir_version=8)
