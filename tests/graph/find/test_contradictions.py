"""What the proof cannot see: a cut that is complete, and a description of it that the graph contradicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from build_rules.errors import InputError
from build_rules.graph import split_model
from build_rules.records.choices import SplitChoice
from tests.graph.graphs import BINS, CELLS, CLASSES, STRIDES, Builder, decode_boxes, document, hint, save, split

SCORES = document(hint(("scores", 0, 2)))
SCORES["split_hints"][0]["boundaries"][0]["activation"] = "sigmoid"


def refused(folder: Path, model: onnx.ModelProto) -> str:
    with pytest.raises(InputError) as caught:
        split(save(model, folder))
    return str(caught.value)


def joined(b: Builder, name: str, channels: int) -> str:
    maps = [b.conv("image", 3, channels, stride, f"{name}_{stride}") for stride in STRIDES]
    return b.op("Concat", *(b.reshape(one, 1, channels, -1) for one in maps), axis=2)


def head(tail: Any, metadata: Any = SCORES) -> onnx.ModelProto:
    """A map of two channels and what `tail` makes of it."""
    b = Builder()
    b.op("Identity", tail(b, b.conv("image", 3, 2, 8, "map")), name="output0")
    return b.model(("output0", [1, 2, 16]), document=metadata)


def test_swapped_names_are_told(tmp_path: Path) -> None:
    b = Builder()
    classes = b.op("Sigmoid", joined(b, "classes", 4))
    b.op("Concat", classes, decode_boxes(b, joined(b, "sides", 4)), axis=1, name="output0")
    model = b.model("output0", document=document(hint(("boxes", 0, 4), ("scores", 4, 8))))
    assert "'boxes'" in refused(tmp_path, model)


@pytest.mark.parametrize("kind", ["Sigmoid", "Tanh", "Softmax"])
def test_an_activation_is_not_applied_twice(tmp_path: Path, kind: str) -> None:
    def clipped(b: Builder, name: str) -> str:
        axis: dict[str, Any] = {"axis": 1} if kind == "Softmax" else {}
        pooled = b.op("MaxPool", b.op(kind, name, **axis), kernel_shape=[1, 1])
        return b.reshape(b.op("Clip", pooled, b.weight(0.01), b.weight(0.99)), 1, 2, -1)

    metadata = document(hint(("scores", 0, 2)))
    metadata["split_hints"][0]["boundaries"][0]["activation"] = kind.lower()
    (endpoint,) = split(save(head(clipped, metadata), tmp_path)).endpoints
    assert endpoint.activation is None


@pytest.mark.parametrize("kind", ["scaled before", "part of the channels"])
def test_an_activation_that_is_not_what_the_hint_says(tmp_path: Path, kind: str) -> None:
    def scaled(b: Builder, name: str) -> str:
        return b.op("Sigmoid", b.op("Mul", b.reshape(name, 1, 2, -1), b.weight(2.5)))

    def partial(b: Builder, name: str) -> str:
        flat = b.reshape(name, 1, 2, -1)
        return b.op("Concat", b.op("Sigmoid", b.slice(flat, 0, 1, 1)), b.slice(flat, 1, 2, 1), axis=1)

    model = head(scaled if kind == "scaled before" else partial)
    assert "needs the activation sigmoid" in refused(tmp_path, model)


@pytest.mark.parametrize("kind", ["MatMul", "ReduceSum"])
def test_bins_that_do_not_count_from_zero_are_no_dfl(tmp_path: Path, kind: str) -> None:
    b = Builder()
    weights = b.weight(np.arange(BINS)[::-1])
    bins = b.reshape(joined(b, "box", 4 * BINS), 1, 4, BINS, CELLS)
    last = b.op("Softmax", b.op("Transpose", bins, perm=[0, 1, 3, 2]), axis=-1)
    if kind == "MatMul":
        sides = b.op("MatMul", last, weights)
    else:
        sides = b.op("ReduceSum", b.op("Mul", last, weights), b.integers(-1), keepdims=0)
    scores = b.op("Sigmoid", joined(b, "scores", CLASSES))
    b.op("Concat", decode_boxes(b, sides), scores, axis=1, name="output0")
    assert refused(tmp_path, b.model("output0"))


def test_two_groups_of_landmarks_are_asked_about(tmp_path: Path) -> None:
    b = Builder()
    parts = [decode_boxes(b, joined(b, "box", 4)), b.op("Sigmoid", joined(b, "scores", CLASSES))]
    for name, size in (("left", 6), ("right", 10)):
        grid = b.weight(b.random.random((1, size, CELLS)))
        parts.append(b.op("Add", joined(b, name, size), grid))
    b.op("Concat", *parts, axis=1, name="output0")
    assert "is not understood" in refused(tmp_path, b.model("output0"))


def test_weights_called_like_those_that_are_written(tmp_path: Path) -> None:
    """PyTorch's exporter names the file of weights after the model, as we do."""
    b = Builder()
    b.op("Sigmoid", b.reshape(b.conv("image", 3, 2, 8, "map"), 1, 2, -1), name="output0")
    model = b.model("output0", document=SCORES)
    source, output = tmp_path / "source", tmp_path / "output"
    source.mkdir()
    output.mkdir()
    onnx.save_model(model, source / "split.onnx", save_as_external_data=True, location="split.onnx.data")
    split_model(source / "split.onnx", "m", output / "split.onnx", SplitChoice(prove=False))
    assert [file.name for file in output.iterdir()] == ["split.onnx"]
    onnx.checker.check_model(onnx.load(output / "split.onnx"))


def chunked(**change: Any) -> onnx.ModelProto:
    model = head(lambda b, name: _chunks(b, b.reshape(name, 1, 2, -1)))
    node = next(node for node in model.graph.node if node.op_type == change["kind"])
    if "drop" in change:
        del node.input[change["drop"]]
    if "store" in change:
        model.graph.initializer.append(change["store"])
        node.input[1] = change["store"].name
    return model


def _chunks(b: Builder, name: str) -> str:
    sequence = b.op("SplitToSequence", name, b.integers(1, 1), axis=1)
    return b.op("Concat", *(b.op("SequenceAt", sequence, b.weight(i, np.int64)) for i in (0, 1)), axis=1)


SIZES = helper.make_tensor("sizes", TensorProto.INT64, [2, 1], [1, 1])
TEXT = TensorProto(name="text", data_type=TensorProto.STRING, string_data=[b"x"])


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "SequenceAt", "drop": 1},
        {"kind": "SplitToSequence", "store": SIZES},
        {"kind": "SequenceAt", "store": TEXT},
    ],
    ids=["no position", "sizes of rank 2", "a word as position"],
)
def test_malformed_sequences(tmp_path: Path, change: dict[str, Any]) -> None:
    assert refused(tmp_path, chunked(**change))


@pytest.mark.parametrize("kind", ["dims", "type", "constant"])
def test_malformed_constants_beside_a_sequence(tmp_path: Path, kind: str) -> None:
    model = chunked(kind="SequenceAt")
    if kind == "constant":
        model.graph.node.append(helper.make_node("Constant", [], [], value_int=1))
    else:
        model.graph.initializer.append(helper.make_tensor("odd", TensorProto.FLOAT, [2], [1.0, 2.0]))
        if kind == "dims":
            model.graph.initializer[-1].dims[0] = 3
        else:
            model.graph.initializer[-1].data_type = 99
    assert refused(tmp_path, model)


def test_pixels_are_not_what_a_network_of_bytes_is_proven_on(tmp_path: Path) -> None:
    """Samples come normalized; as bytes they would be black."""
    b = Builder()
    b.inputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 3, 32, 32])]
    b.op("Sigmoid", b.reshape(b.conv(b.op("Cast", "image", to=1), 3, 2, 8, "map"), 1, 2, -1), name="output0")
    path = save(b.model("output0", document=SCORES), tmp_path)
    proof = split(path, samples=lambda image, facts: [np.full(image.shape, 0.5, np.float32)]).proof
    assert proof is not None
    assert proof.inputs == 1


def test_a_small_file_that_needs_gigabytes_is_not_run(tmp_path: Path) -> None:
    def large(b: Builder, name: str) -> str:
        wide = b.op("Expand", b.reshape(name, 1, 2, 16, 1), b.integers(1, 2, 16, 1 << 25))
        return b.op("Sigmoid", b.op("ReduceMax", wide, axes=[3], keepdims=0))

    assert "of them at one time, too many to be run here" in refused(tmp_path, head(large))
