"""Exports of several images at once are cut for one image; a graph that mixes its images is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from build_rules.errors import InputError
from build_rules.records.choices import SplitChoice
from tests.graph import graphs
from tests.graph.graphs import Builder, cut_of, document, hint, save, split

CHANNELS, HEADS = 8, 4
SIDE = 4  # of the feature map, of stride 8
CELLS = SIDE * SIDE
Body = Callable[[Builder, str, int], str]


def plain(b: Builder, features: str, batch: int) -> str:
    return features


def shuffled(b: Builder, features: str, batch: int) -> str:
    """The channel shuffle of ShuffleNet."""
    groups = b.reshape(features, batch, 2, CHANNELS // 2, SIDE, SIDE)
    return b.reshape(b.op("Transpose", groups, perm=[0, 2, 1, 3, 4]), batch, CHANNELS, SIDE, SIDE)


def attended(b: Builder, features: str, batch: int) -> str:
    """Attention whose heads are folded into the images."""
    width = CHANNELS // HEADS
    query, key, values = (b.reshape(b.conv(features, CHANNELS, CHANNELS, 1), batch * HEADS, width, -1) for _ in "qkv")
    scores = b.op("MatMul", b.op("Transpose", query, perm=[0, 2, 1]), key)
    mixed = b.op("MatMul", values, b.op("Transpose", b.op("Softmax", scores, axis=-1), perm=[0, 2, 1]))
    return b.op("Add", features, b.reshape(mixed, batch, CHANNELS, SIDE, SIDE))


def attended_unfolded(b: Builder, features: str, batch: int) -> str:
    """The same with an axis for the heads, as PyTorch writes `view`."""
    width = CHANNELS // HEADS
    query, key, values = (b.reshape(b.conv(features, CHANNELS, CHANNELS, 1), batch, HEADS, width, -1) for _ in "qkv")
    scores = b.op("MatMul", b.op("Transpose", query, perm=[0, 1, 3, 2]), key)
    mixed = b.op("MatMul", values, b.op("Transpose", b.op("Softmax", scores, axis=-1), perm=[0, 1, 3, 2]))
    return b.op("Add", features, b.reshape(mixed, batch, CHANNELS, SIDE, SIDE))


def windowed(b: Builder, features: str, batch: int) -> str:
    """Windows of the map folded into the images, as in Swin."""
    parts = b.reshape(features, batch, CHANNELS, 2, SIDE // 2, 2, SIDE // 2)
    windows = b.reshape(b.op("Transpose", parts, perm=[0, 2, 4, 1, 3, 5]), batch * 4, CHANNELS, SIDE // 2, SIDE // 2)
    mixed = b.op("MaxPool", windows, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    back = b.reshape(mixed, batch, 2, 2, CHANNELS, SIDE // 2, SIDE // 2)
    return b.reshape(b.op("Transpose", back, perm=[0, 3, 1, 4, 2, 5]), batch, CHANNELS, SIDE, SIDE)


def area_attention(b: Builder, features: str, batch: int) -> str:
    """Areas of the map folded into the images, as in YOLO12."""
    areas = b.reshape(
        b.op("Transpose", b.reshape(features, batch, CHANNELS, -1), perm=[0, 2, 1]), batch * 2, -1, CHANNELS
    )
    scores = b.op("Softmax", b.op("MatMul", areas, b.op("Transpose", areas, perm=[0, 2, 1])), axis=-1)
    mixed = b.reshape(b.op("MatMul", scores, areas), batch, CELLS, CHANNELS)
    return b.reshape(b.op("Transpose", mixed, perm=[0, 2, 1]), batch, CHANNELS, SIDE, SIDE)


def expanded(b: Builder, features: str, batch: int) -> str:
    mean = b.op("GlobalAveragePool", features)
    return b.op("Add", features, b.op("Expand", mean, b.integers(batch, CHANNELS, SIDE, SIDE)))


def resized(b: Builder, features: str, batch: int) -> str:
    small = b.op("MaxPool", features, kernel_shape=[2, 2], strides=[2, 2])
    return b.op("Resize", small, "", "", b.integers(batch, CHANNELS, SIDE, SIDE), mode="nearest")


def zeros_and_rest(b: Builder, features: str, batch: int) -> str:
    """Targets that say the images by `as before` (0) and by `what is left` (-1)."""
    kept = b.reshape(features, 0, CHANNELS, CELLS)
    return b.reshape(kept, -1, CHANNELS, SIDE, SIDE)


def measured(b: Builder, features: str, batch: int) -> str:
    """An export that was not simplified: targets are computed from shapes."""
    shape = b.op("Shape", features)
    flat = b.op("Concat", b.op("Slice", shape, b.integers(0), b.integers(2)), b.integers(-1), axis=0)
    return b.op("Reshape", b.op("Relu", b.op("Reshape", features, flat)), shape)


def one_behind_the_other(b: Builder, features: str, batch: int) -> str:
    """All images as channels of one, for a moment."""
    return b.reshape(b.op("Relu", b.reshape(features, 1, batch * CHANNELS, SIDE, SIDE)), batch, CHANNELS, SIDE, SIDE)


def head(batch: int, body: Body, opset: int = 17) -> onnx.ModelProto:
    b = Builder(opset, image=(batch, 3, 32, 32))
    features = body(b, b.op("Relu", b.conv("image", 3, CHANNELS, 8)), batch)
    scores = b.conv(features, CHANNELS, 5, 1, "map")
    b.op("Sigmoid", b.reshape(scores, batch, 5, -1), name="output0")
    return b.model(("output0", [batch, 5, CELLS]), document=document(hint(("scores", 0, 5), strides=[8])))


BODIES = [
    plain,
    shuffled,
    attended,
    attended_unfolded,
    windowed,
    area_attention,
    expanded,
    resized,
    zeros_and_rest,
    measured,
    one_behind_the_other,
]


@pytest.mark.parametrize("batch", [2, 3, 4])
@pytest.mark.parametrize("body", BODIES)
def test_the_cut_takes_one_image(tmp_path: Path, body: Body, batch: int) -> None:
    """The proof compares all images of the original with the cut, image by image."""
    path = save(head(batch, body), tmp_path)
    found = split(path, samples=lambda image, facts: [graphs.image(7)])
    assert found.proof is not None
    assert (found.input.shape, found.proof.inputs) == ((1, 3, 32, 32), 2)
    assert [(e.tensor, e.shape, e.activation) for e in found.endpoints] == [("map", (1, 5, SIDE, SIDE), "sigmoid")]
    cut = cut_of(path)
    onnx.checker.check_model(cut, full_check=True)
    ends = [*cut.graph.input, *cut.graph.output]
    assert [value.type.tensor_type.shape.dim[0].dim_value for value in ends] == [1, 1]


@pytest.mark.parametrize("body", BODIES)
def test_the_cut_computes_what_that_of_one_image_does(tmp_path: Path, body: Body) -> None:
    results = []
    for batch in (1, 3):
        path = save(head(batch, body), tmp_path)
        split(path)
        content = path.with_suffix(".cut").read_bytes()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        results.append(session.run(None, {"image": graphs.image(3)})[0])
    np.testing.assert_array_equal(*results)


def test_old_sizes_leave_nothing_behind(tmp_path: Path) -> None:
    path = save(head(4, shuffled), tmp_path)
    split(path)
    graph = cut_of(path).graph
    used = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= used
    assert 4 not in {int(onnx.numpy_helper.to_array(t).ravel()[0]) for t in graph.initializer if t.data_type == 7}


def test_a_whole_detector_of_several_images(tmp_path: Path) -> None:
    b = Builder(image=(2, 3, 32, 32))
    joined = []
    for role, size in (("b", 4), ("s", 5)):
        flat = [b.reshape(b.conv("image", 3, size, stride, f"{role}_{stride}"), 2, size, -1) for stride in (8, 16)]
        joined.append(b.op("Concat", *flat, axis=2))
    boxes, scores = joined
    located = b.op("Mul", b.op("Add", boxes, b.weight(b.random.random((1, 4, 20)))), b.weight(8.0))
    b.op("Concat", located, b.op("Sigmoid", scores), axis=1, name="output0")
    found = split(save(b.model("output0"), tmp_path))
    assert [(e.name, e.tensor, e.shape) for e in found.endpoints] == [
        ("boxes_0", "b_8", (1, 4, 4, 4)),
        ("boxes_1", "b_16", (1, 4, 2, 2)),
        ("scores_0", "s_8", (1, 5, 4, 4)),
        ("scores_1", "s_16", (1, 5, 2, 2)),
    ]
    assert found.hints[0].strides == (8, 16)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_either_layout(tmp_path: Path, layout: str) -> None:
    b = Builder(image=(2, 3, 32, 32) if layout == "nchw" else (2, 32, 32, 3))
    moved = "image" if layout == "nchw" else b.op("Transpose", "image", perm=[0, 3, 1, 2])
    b.op("Sigmoid", b.reshape(b.conv(moved, 3, 5, 8, "map"), 2, 5, -1), name="output0")
    found = split(save(b.model("output0", document=document(hint(("scores", 0, 5)))), tmp_path))
    assert (found.input.layout, found.input.shape[0], found.endpoints[0].shape) == (layout, 1, (1, 5, 4, 4))


def test_hints_are_inferred_of_several_images_too(tmp_path: Path) -> None:
    model = head(3, plain)
    del model.metadata_props[:]
    found = split(save(model, tmp_path))
    assert [(e.name, e.shape) for e in found.endpoints] == [("scores", (1, 5, SIDE, SIDE))]
    assert [(h.strides, h.anchors_per_cell) for h in found.hints] == [((8,), 1)]


def mean_of_images(b: Builder, features: str, batch: int) -> str:
    return b.op("Add", features, b.op("ReduceMean", features, axes=[0], keepdims=1))


def images_as_channels(b: Builder, features: str, batch: int) -> str:
    moved = b.op("Transpose", features, perm=[1, 0, 2, 3])
    joined = b.reshape(moved, 1, CHANNELS * batch, SIDE, SIDE)
    return b.reshape(b.conv(joined, CHANNELS * batch, CHANNELS * batch, 1), batch, CHANNELS, SIDE, SIDE)


def images_moved(b: Builder, features: str, batch: int) -> str:
    turned = b.op("Transpose", b.reshape(features, batch, CHANNELS, CELLS), perm=[1, 2, 0])
    back = b.op("Transpose", b.op("Softmax", turned, axis=2), perm=[2, 0, 1])
    return b.reshape(back, batch, CHANNELS, SIDE, SIDE)


def images_in_reverse(b: Builder, features: str, batch: int) -> str:
    return b.op("Gather", features, b.integers(*range(batch)[::-1]), axis=0)


def first_image_for_all(b: Builder, features: str, batch: int) -> str:
    return b.op("Add", features, b.slice(features, 0, 1, 0))


def attention_across_images(b: Builder, features: str, batch: int) -> str:
    tokens = b.reshape(b.op("Transpose", features, perm=[0, 2, 3, 1]), batch * CELLS, CHANNELS)
    scores = b.op("Softmax", b.op("MatMul", tokens, b.op("Transpose", tokens, perm=[1, 0])), axis=-1)
    mixed = b.reshape(b.op("MatMul", scores, tokens), batch, SIDE, SIDE, CHANNELS)
    return b.op("Transpose", mixed, perm=[0, 3, 1, 2])


def constant_for_each_image(b: Builder, features: str, batch: int) -> str:
    return b.op("Add", features, b.weight(b.random.random((batch, CHANNELS, 1, 1))))


def channels_for_each_image(b: Builder, features: str, batch: int) -> str:
    joined = b.op("Concat", features, b.weight(b.random.random((batch, 1, SIDE, SIDE))), axis=1)
    return b.conv(joined, CHANNELS + 1, CHANNELS, 1)


MIXING = [
    mean_of_images,
    images_as_channels,
    images_moved,
    images_in_reverse,
    first_image_for_all,
    attention_across_images,
    constant_for_each_image,
    channels_for_each_image,
]


@pytest.mark.parametrize("body", MIXING)
def test_a_graph_that_mixes_its_images_is_refused(tmp_path: Path, body: Body) -> None:
    path = save(head(2, body), tmp_path)
    with pytest.raises(InputError, match="export the model with batch 1"):
        split(path)


def test_more_images_than_any_export_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="export the model with batch 1"):
        split(save(head(257, plain), tmp_path), choice=SplitChoice(prove=False))
