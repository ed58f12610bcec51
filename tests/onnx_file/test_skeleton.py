"""The skeleton is the model in all but its large tensors, which stay in their file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from build_rules.errors import InputError
from build_rules.onnx_file import skeleton
from build_rules.onnx_file.field_reader import FieldReader, encode_field
from build_rules.onnx_file.onnx_files import OnnxFiles
from build_rules.onnx_file.skeleton import LARGE, read_skeleton
from build_rules.onnx_file.weights import is_stored_elsewhere, load_tensor, place_weights
from tests.graph.graphs import Builder, save

LONG = 4 * LARGE
MODEL_GRAPH, GRAPH_INITIALIZER, TENSOR_TYPE, TENSOR_RAW = 7, 5, 2, 9


def holding(*tensors: onnx.TensorProto) -> onnx.ModelProto:
    b = Builder()
    b.weights.extend(tensors)
    b.op("Identity", "image", name="out")
    return b.model("out")


def floats(name: str, count: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.arange(count, dtype=np.float32), name)


def references(model: onnx.ModelProto) -> list[str]:
    return [tensor.name for tensor in model.graph.initializer if is_stored_elsewhere(tensor)]


def test_only_large_tensors_are_references(tmp_path: Path) -> None:
    path = save(holding(floats("small", LARGE // 8), floats("large", LONG)), tmp_path)
    found = read_skeleton(path)
    assert references(found) == ["large"]
    (small, large) = found.graph.initializer
    assert small == floats("small", LARGE // 8)
    assert (large.name, list(large.dims), large.data_type) == ("large", [LONG], TensorProto.FLOAT)
    assert {entry.key: entry.value for entry in large.external_data}["location"] == path.name


def test_a_model_of_small_tensors_is_its_own_skeleton(tmp_path: Path) -> None:
    model = holding(floats("a", 3), floats("b", 200))
    assert read_skeleton(save(model, tmp_path)) == model


def test_the_bytes_of_large_tensors_are_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder()
    b.weights += [floats("raw", 1 << 20), helper.make_tensor("floats", TensorProto.FLOAT, [1 << 18], [0.5] * (1 << 18))]
    b.op("Constant", name="constant", value=floats("", 1 << 19))
    b.op("Identity", "image", name="out")
    path = save(b.model("out"), tmp_path)
    spans: list[int] = []
    read = FieldReader.read

    def counted(self: FieldReader, start: int, end: int) -> bytes:
        spans.append(end - start)
        return read(self, start, end)

    monkeypatch.setattr(FieldReader, "read", counted)
    found = read_skeleton(path)
    assert sorted(references(found)) == ["constant", "floats", "raw"]
    assert sum(spans) < 4096
    assert found.ByteSize() < 4096 < path.stat().st_size


def test_weights_of_gigabytes_are_left_alone(tmp_path: Path) -> None:
    """A file beyond protobuf's own limit; its zeros take no room on the disk."""
    path, count = tmp_path / "model.onnx", 3 << 30
    head = onnx.TensorProto(name="weight", dims=[count], data_type=TensorProto.UINT8).SerializeToString()
    raw = head + encode_field(TENSOR_RAW, count)
    graph = encode_field(GRAPH_INITIALIZER, len(raw) + count) + raw
    rest = holding()
    body = rest.graph.SerializeToString()
    rest.ClearField("graph")
    start = rest.SerializeToString() + encode_field(MODEL_GRAPH, len(body) + len(graph) + count) + body + graph
    with path.open("wb") as file:
        file.write(start)
        file.truncate(len(start) + count)
    found = read_skeleton(path)
    place_weights(found, OnnxFiles(path))
    assert references(found) == ["weight"]
    assert {e.key: e.value for e in found.graph.initializer[0].external_data} == {
        "location": "model.onnx",
        "offset": str(len(start)),
        "length": str(count),
    }


def constant(name: str = "c", kind: str = "Constant", outputs: int = 1, **attributes: Any) -> onnx.ModelProto:
    model = holding()
    names = [name, *(f"{name}_{i}" for i in range(1, outputs))]
    model.graph.node.insert(0, helper.make_node(kind, [], names, name="n", **attributes))
    return model


def test_a_large_constant_becomes_an_initializer_of_its_name(tmp_path: Path) -> None:
    path = save(constant(value=floats("inner", LONG)), tmp_path)
    found = read_skeleton(path)
    assert [node.op_type for node in found.graph.node] == ["Identity"]
    (tensor,) = found.graph.initializer
    assert (tensor.name, is_stored_elsewhere(tensor)) == ("c", True)
    loaded = numpy_helper.to_array(load_tensor(tensor, OnnxFiles(path)))
    np.testing.assert_array_equal(loaded, np.arange(LONG, dtype=np.float32))


@pytest.mark.parametrize(
    "model",
    [
        constant(value=floats("inner", 3)),
        constant(kind="ConstantOfShape", value=floats("inner", LONG)),
        constant(value_floats=[0.5] * LONG),
        constant(value=floats("inner", LONG), value_float=1.0),
        constant(value=floats("inner", LONG), outputs=2),
        constant(values=floats("inner", LONG)),
    ],
    ids=["small", "another operator", "a list", "two attributes", "two outputs", "another attribute"],
)
def test_other_nodes_stay_as_they_are(tmp_path: Path, model: onnx.ModelProto) -> None:
    assert read_skeleton(save(model, tmp_path)) == model


def test_a_constant_of_another_domain_stays(tmp_path: Path) -> None:
    model = constant(value=floats("inner", LONG))
    model.graph.node[0].domain = "com.example"
    assert read_skeleton(save(model, tmp_path)) == model


def test_tensors_inside_branches_stay(tmp_path: Path) -> None:
    b = Builder()
    value = helper.make_tensor_value_info("t", TensorProto.FLOAT, [LONG])
    branch = helper.make_graph([], "g", [], [value], [floats("t", LONG)])
    b.op("If", b.weight(True, bool), name="out", then_branch=branch, else_branch=branch)
    model = b.model(("out", [LONG]))
    assert read_skeleton(save(model, tmp_path)) == model


def lists(kind: int, count: int) -> onnx.TensorProto:
    return helper.make_tensor("list", kind, [count], np.arange(count) % 100)


@pytest.mark.parametrize(
    ("kind", "referred"),
    [
        (TensorProto.FLOAT, True),
        (TensorProto.DOUBLE, True),
        (TensorProto.FLOAT16, False),
        (TensorProto.INT64, False),
        (TensorProto.INT8, False),
        (TensorProto.UINT64, False),
        (TensorProto.COMPLEX64, False),
    ],
)
def test_lists_that_are_stored_as_raw_bytes_would_be_are_references(tmp_path: Path, kind: int, referred: bool) -> None:
    tensor = lists(kind, LONG)
    path = save(holding(tensor), tmp_path)
    found = read_skeleton(path)
    assert references(found) == (["list"] if referred else [])
    loaded = numpy_helper.to_array(load_tensor(found.graph.initializer[0], OnnxFiles(path)))
    np.testing.assert_array_equal(loaded, numpy_helper.to_array(tensor))


def written(folder: Path, tensor: bytes) -> Path:
    """A model whose one initializer is written byte by byte."""
    model = holding()
    graph = model.graph.SerializeToString() + encode_field(GRAPH_INITIALIZER, len(tensor)) + tensor
    model.ClearField("graph")
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString() + encode_field(MODEL_GRAPH, len(graph)) + graph)
    return path


HEAD = onnx.TensorProto(name="w", dims=[LONG // 4], data_type=TensorProto.FLOAT).SerializeToString()
ELSEWHERE = onnx.TensorProto(external_data=[onnx.StringStringEntryProto(key="location", value="w")]).SerializeToString()
ONES, TWOS = (np.full(LONG // 4, value, np.float32).tobytes() for value in (1, 2))


@pytest.mark.parametrize(
    ("tensor", "referred"),
    [
        (encode_field(9, LONG) + ONES + HEAD, True),
        (HEAD + encode_field(9, LONG) + ONES + encode_field(9, LONG) + TWOS, False),
        (HEAD + encode_field(4, LONG // 2) + ONES[: LONG // 2] + encode_field(4, LONG // 2) + TWOS[: LONG // 2], False),
        (HEAD + b"".join(b"\x25" + ONES[:4] for _ in range(LONG // 4)), False),
        (HEAD + encode_field(4, LONG) + ONES, True),
        (HEAD + encode_field(TENSOR_TYPE, 0) + encode_field(4, LONG) + ONES, True),
        (HEAD + encode_field(9, LONG) + ONES + ELSEWHERE, False),
    ],
    ids=[
        "data first",
        "data twice",
        "a list in two parts",
        "a list item by item",
        "a packed list",
        "an odd type field",
        "entries of data elsewhere, which nothing refers to",
    ],
)
def test_odd_writings_of_a_tensor_mean_what_protobuf_says(tmp_path: Path, tensor: bytes, referred: bool) -> None:
    path = written(tmp_path, tensor)
    (expected,) = onnx.load(path).graph.initializer
    found = read_skeleton(path)
    assert references(found) == (["w"] if referred else [])
    loaded = numpy_helper.to_array(load_tensor(found.graph.initializer[0], OnnxFiles(path)))
    np.testing.assert_array_equal(loaded, numpy_helper.to_array(expected))


def test_a_graph_in_two_parts_is_one(tmp_path: Path) -> None:
    """Protobuf joins a message that occurs twice."""
    model, more = holding(floats("a", LONG)), onnx.GraphProto(initializer=[floats("b", LONG)])
    part = more.SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString() + encode_field(MODEL_GRAPH, len(part)) + part)
    found = read_skeleton(path)
    assert references(found) == ["a", "b"]
    assert [node.op_type for node in found.graph.node] == ["Identity"]


def test_a_skeleton_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skeleton, "MAX_BYTES", 1 << 20)
    big = constant(value_floats=[0.5] * (1 << 18))
    with pytest.raises(InputError, match="without its weights this model still has over 1 MiB"):
        read_skeleton(save(big, tmp_path))
    read_skeleton(save(holding(floats("w", 1 << 20)), tmp_path))


@pytest.mark.parametrize("place", ["graph", "node", "op_type"])
def test_what_is_no_tensor_may_be_smaller_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setattr(skeleton, "MAX_STRUCTURE", 1 << 20)
    model, text = holding(), "d" * (1 << 20)
    lists = onnx.TensorProto(name="list", dims=[1 << 20], data_type=TensorProto.FLOAT16, int32_data=[1] * (1 << 20))
    model.graph.initializer.append(lists)
    read_skeleton(save(model, tmp_path))
    if place == "graph":
        model.graph.doc_string = text
    elif place == "node":
        model.graph.node[0].doc_string = text
    else:
        model.graph.node[0].op_type = text
    with pytest.raises(InputError, match="without its weights this model still has over 1 MiB"):
        read_skeleton(save(model, tmp_path))


def test_a_broken_tensor_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, b"\x0a\x01\xff" + encode_field(TENSOR_RAW, LONG) + ONES)
    with pytest.raises(InputError, match="not a complete ONNX file"):
        read_skeleton(path)


def test_the_name_of_the_file_need_not_be_ascii(tmp_path: Path) -> None:
    path = save(holding(floats("large", LONG)), tmp_path, "m \u00e9.onnx")
    (tensor,) = read_skeleton(path).graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(load_tensor(tensor, OnnxFiles(path))), range(LONG))


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rename it"):
        read_skeleton(save(holding(floats("large", LONG)), tmp_path, os.fsdecode(b"m\xff.onnx")))
