"""Exports with open dimensions: built at the size that is said, refused with the line that says it."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from build_rules.errors import InputError
from build_rules.graph import split_model
from build_rules.records.split_json import Split
from tests.graph.graphs import Builder, save
from tests.shared import corpus_model, needs_shared

OPEN = ("batch", 3, "height", "width")


def network(shape: tuple[int | str, ...] = OPEN, **properties: str) -> onnx.ModelProto:
    """A map of scores at stride 8, of any size."""
    b = Builder(image=shape)
    last = len(shape) == 4 and shape[3] == 3
    source = b.op("Transpose", "image", perm=[0, 3, 1, 2]) if last else "image"
    b.op("Sigmoid", b.conv(source, 3, 2, 8, "map"), name="output0")
    model = b.model(("output0", ("batch", 2, 80, 80)))
    hint = {"type": "quantization_split", "target": "output0", "boundaries": [{"name": "scores", "channels": [0, 2]}]}
    document = json.loads(properties.pop("document", "{}"))
    onnx.helper.set_model_props(
        model, {**properties, "edgefirst": json.dumps({"schema_version": 2, "split_hints": [hint], **document})}
    )
    return model


def built(folder: Path, model: onnx.ModelProto, shape: tuple[int, int] | None = None) -> Split:
    return split_model(save(model, folder), "m", folder / "cut", shape=shape).split


def document(shape: list[int], *names: str) -> str:
    section = {"shape": shape, "dshape": [{name: 0} for name in names]} if names else {"shape": shape}
    return json.dumps({"input": section})


@pytest.mark.parametrize(
    ("shape", "wanted", "properties", "expected"),
    [
        (OPEN, (64, 32), {}, (1, 3, 64, 32)),
        (OPEN, None, {"imgsz": "[64, 32]"}, (1, 3, 64, 32)),
        (OPEN, None, {"imgsz": "(64, 32)"}, (1, 3, 64, 32)),
        (OPEN, None, {"imgsz": "64"}, (1, 3, 64, 64)),
        (OPEN, None, {"imgsz": "[64]"}, (1, 3, 64, 64)),
        (OPEN, (32, 64), {"imgsz": "[64, 32]"}, (1, 3, 32, 64)),
        (OPEN, None, {"document": document([1, 3, 64, 32])}, (1, 3, 64, 32)),
        (OPEN, None, {"document": document([1, 64, 32, 3])}, (1, 3, 64, 32)),
        (OPEN, None, {"document": document([1, 64, 32, 3], "batch", "height", "width", "c")}, (1, 3, 64, 32)),
        (OPEN, None, {"document": document([1, 3, 64, 32]), "imgsz": "[64, 32]"}, (1, 3, 64, 32)),
        (("batch", 3, 64, 32), None, {}, (1, 3, 64, 32)),
        (("batch", 3, 64, 32), None, {"imgsz": "640"}, (1, 3, 64, 32)),
        ((1, 3, 64, "width"), None, {"imgsz": "[64, 32]"}, (1, 3, 64, 32)),
        (("batch", "channels", "height", "width"), (64, 32), {}, (1, 3, 64, 32)),
        (("batch", "height", "width", 3), (64, 32), {}, (1, 64, 32, 3)),
        ((-1, 3, -1, -1), (64, 32), {}, (1, 3, 64, 32)),
        ((1, 3, 64, 32), (64, 32), {}, (1, 3, 64, 32)),
        ((1, 3, 64, 32), None, {"imgsz": "640"}, (1, 3, 64, 32)),
    ],
)
def test_the_size(
    shape: tuple[int | str, ...],
    wanted: tuple[int, int] | None,
    properties: dict[str, str],
    expected: tuple[int, ...],
    tmp_path: Path,
) -> None:
    found = built(tmp_path, network(shape, **properties), wanted)
    assert found.input.shape == expected
    assert found.endpoints[0].shape == (1, 2, found.input.height // 8, found.input.width // 8)
    cut = onnx.load_from_string((tmp_path / "cut").read_bytes())
    assert [dim.dim_value for dim in cut.graph.input[0].type.tensor_type.shape.dim] == list(expected)


def pyramid(grid: int | None = None) -> onnx.ModelProto:
    """Maps at strides 8 and 16, the second joined to the first; with the numbers of a grid of other cells in it."""
    b = Builder(image=OPEN)
    near = b.conv("image", 3, 4, 8)
    far = b.op("Conv", near, b.weight(b.random.standard_normal((4, 4, 3, 3))), strides=[2, 2], pads=[1] * 4)
    larger = b.op("Resize", far, "", b.weight([1, 1, 2, 2]), mode="nearest")
    scores = b.reshape(b.conv(b.op("Concat", near, larger, axis=1), 8, 2, 1, "map"), 1, 2, -1)
    if grid is not None:
        scores = b.op("Mul", scores, b.weight(b.random.random((1, 2, grid))), name="by_place")
    b.op("Sigmoid", scores, name="output0")
    return b.model(("output0", ("batch", 2, "cells")))


@pytest.mark.parametrize(
    ("size", "grid", "message"),
    [
        ((72, 128), None, r"128x72 pixels .*its height 72 is no multiple .*shape = \[96, 128\] in model\.toml"),
        (
            (8, 8),
            None,
            r"height 8 and width 8 are no multiples of the strides .*'.*' \(Concat\) cannot take \[.*\] and \[",
        ),
        ((64, 64), 80, r"at 64x64 pixels .*node 'by_place' \(Mul\) cannot take .*holds numbers for another size"),
    ],
)
def test_a_size_that_the_graph_cannot_have(
    size: tuple[int, int], grid: int | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        built(tmp_path, pyramid(grid), size)


def test_open_channels_are_told_by_the_first_convolution(tmp_path: Path) -> None:
    b = Builder(image=("batch", "channels", "height", "width"))
    scaled = b.op("Mul", b.op("Identity", "image"), b.weight(2.0))
    b.op("Sigmoid", b.conv(scaled, 1, 2, 8, "map"), name="output0")
    model = b.model(("output0", ("batch", 2, 8, 8)))
    hint = {"type": "quantization_split", "target": "output0", "boundaries": [{"name": "scores", "channels": [0, 2]}]}
    onnx.helper.set_model_props(model, {"edgefirst": json.dumps({"schema_version": 2, "split_hints": [hint]})})
    assert built(tmp_path, model, (64, 64)).input.shape == (1, 1, 64, 64)


def test_open_channels_that_nothing_tells(tmp_path: Path) -> None:
    b = Builder(image=(1, "channels", 64, 64))
    b.op("Sigmoid", b.conv(b.op("Concat", "image", "image", axis=1), 6, 2, 8, "map"), name="output0")
    with pytest.raises(InputError, match="leaves its number of channels open"):
        built(tmp_path, b.model(("output0", (1, 2, 8, 8))))


@pytest.mark.parametrize(
    ("shape", "wanted", "properties", "message"),
    [
        (OPEN, None, {}, r"dynamic shape \[batch, 3, height, width\].*\[input\] shape = \[640, 640\]"),
        (OPEN, None, {"imgsz": "large"}, r"\[input\] shape = \[640, 640\]"),
        (OPEN, None, {"imgsz": "[" * 5000}, r"\[input\] shape = \[640, 640\]"),
        (OPEN, None, {"imgsz": "[1000000, 1000000]"}, r"\[input\] shape = \[640, 640\]"),
        (OPEN, None, {"imgsz": "[0, 64]"}, r"\[input\] shape = \[640, 640\]"),
        (("b", 3, 64, "w"), None, {}, r"dynamic shape \[b, 3, 64, w\]"),
        ((1, 3, 64, 32), (64, 64), {}, r"\[input\] in model.toml says \[64, 64\].*exported at 64x32"),
        ((1, 3, 64, "w"), (32, 32), {}, r"says \[32, 32\].*exported at 64x\?"),
        ((1, 3, 64, "w"), None, {"imgsz": "32"}, r"imgsz in the metadata says \[32, 32\].*exported at 64x\?"),
        (
            OPEN,
            None,
            {"imgsz": "32", "document": document([1, 3, 64, 64])},
            r"input.shape.* says \[64, 64\] and imgsz.* says \[32, 32\].*\[input\] shape = \[64, 64\]",
        ),
    ],
)
def test_refuses(
    shape: tuple[int | str, ...],
    wanted: tuple[int, int] | None,
    properties: dict[str, str],
    message: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match=message):
        built(tmp_path, network(shape, **properties), wanted)
    assert not (tmp_path / "cut").exists()


@needs_shared
@pytest.mark.parametrize(("size", "static"), [(None, "yolov8n_bare"), ((320, 320), "yolov8n_320")])
def test_a_dynamic_export_gives_the_endpoints_of_the_static_one(
    size: tuple[int, int] | None, static: str, tmp_path: Path
) -> None:
    found = split_model(corpus_model("yolov8n_dynamic"), "m", tmp_path / "cut", shape=size).split
    expected = split_model(corpus_model(static), "m", tmp_path / "static").split
    assert [(e.tensor, e.shape, e.stride, e.encoding) for e in found.endpoints] == [
        (e.tensor, e.shape, e.stride, e.encoding) for e in expected.endpoints
    ]
    kinds = [{n.op_type for n in onnx.load(tmp_path / name).graph.node} for name in ("cut", "static")]
    assert kinds[0] == kinds[1], "nothing computes sizes any more"
