"""Exports in half precision are cut as their float export is, and give its values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from build_rules.errors import InputError
from build_rules.graph.load.source import load_source
from build_rules.onnx_file.onnx_files import OnnxFiles
from build_rules.onnx_file.weights import is_stored_elsewhere, load_tensor
from tests.graph.graphs import cut_of, detection, image, save, split
from tests.shared import corpus_model, needs_shared

HALF, BRAIN = TensorProto.FLOAT16, TensorProto.BFLOAT16
MAPS = ["box_map_8", "box_map_16", "score_map_8", "score_map_16"]


def rounded(model: onnx.ModelProto, kind: int = HALF) -> onnx.ModelProto:
    """The model with its weights rounded to halves, still in float."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for tensor in _weights(made):
        tensor.CopyFrom(numpy_helper.from_array(_floats(_halves(tensor, kind), kind), tensor.name))
    return made


def halved(model: onnx.ModelProto, kind: int = HALF, lists: bool = False) -> onnx.ModelProto:
    """The model in half precision, inputs and outputs too; `lists` stores weights as lists of whole numbers."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for tensor in _weights(made):
        half = onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=kind)
        if lists:
            half.int32_data.extend(_halves(tensor, kind).ravel().tolist())
        else:
            half.raw_data = _halves(tensor, kind).tobytes()
        tensor.CopyFrom(half)
    for node in made.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = kind
    for value in (*made.graph.input, *made.graph.output, *made.graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = kind
    return made


def _weights(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    sizes = {name for node in model.graph.node if node.op_type == "Resize" for name in node.input[1:3]}
    inner = [
        a.t for node in model.graph.node for a in node.attribute if a.name == "value" and node.output[0] not in sizes
    ]
    stored = [tensor for tensor in model.graph.initializer if tensor.name not in sizes]
    return [tensor for tensor in (*stored, *inner) if tensor.data_type == TensorProto.FLOAT]


def _halves(tensor: onnx.TensorProto, kind: int) -> np.ndarray:
    values = numpy_helper.to_array(tensor).astype(np.float32)
    return (
        values.astype(np.float16).view(np.uint16) if kind == HALF else (values.view(np.uint32) >> 16).astype(np.uint16)
    )


def _floats(halves: np.ndarray, kind: int) -> np.ndarray:
    if kind == HALF:
        return halves.view(np.float16).astype(np.float32)
    return (halves.astype(np.uint32) << 16).view(np.float32)


def float_ends(model: onnx.ModelProto, kind: int = HALF) -> onnx.ModelProto:
    """A model in half precision with casts at both ends, as `keep_io_types` writes it."""
    source, result = model.graph.input[0], model.graph.output[0]
    for node in model.graph.node:
        node.input[:] = ["image_cast" if name == source.name else name for name in node.input]
        node.output[:] = ["before_cast" if name == result.name else name for name in node.output]
    model.graph.node.insert(0, helper.make_node("Cast", [source.name], ["image_cast"], name="first", to=kind))
    model.graph.node.append(helper.make_node("Cast", ["before_cast"], [result.name], name="last", to=TensorProto.FLOAT))
    for value in (source, result):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    return model


def island(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model in half precision, one of whose convolutions computes in float between two casts."""
    place = next(i for i, node in enumerate(model.graph.node) if node.name == "score_map_8")
    conv = model.graph.node[place]
    casts = {name: f"{name}_float" for name in conv.input}
    before = [helper.make_node("Cast", [name], [made], name=made, to=TensorProto.FLOAT) for name, made in casts.items()]
    conv.input[:], conv.output[0] = list(casts.values()), "wide"
    model.graph.node.insert(place + 1, helper.make_node("Cast", ["wide"], ["score_map_8"], name="narrow", to=HALF))
    for node in reversed(before):
        model.graph.node.insert(place, node)
    return model


def maps_of(model: onnx.ModelProto, maps: list[str]) -> list[np.ndarray]:
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    del seen.graph.output[:]
    seen.graph.output.extend(onnx.ValueInfoProto(name=name) for name in maps)
    session = onnxruntime.InferenceSession(seen.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"image": image()}))


EXPORTS: dict[str, tuple[Callable[[onnx.ModelProto], onnx.ModelProto], int]] = {
    "whole": (halved, HALF),
    "lists": (lambda model: halved(model, lists=True), HALF),
    "float ends": (lambda model: float_ends(halved(model)), HALF),
    "island": (lambda model: island(halved(model)), HALF),
    "bfloat16": (lambda model: halved(model, BRAIN), BRAIN),
}


@pytest.mark.parametrize("case", EXPORTS)
def test_cut_as_the_float_export(tmp_path: Path, case: str) -> None:
    make, kind = EXPORTS[case]
    path = save(make(detection()), tmp_path)
    found = split(path)
    tensors = [endpoint.tensor for endpoint in found.endpoints]
    assert tensors == [name if name != "score_map_8" or case != "island" else "wide" for name in MAPS]
    assert found.decoded == ("boxes", "scores")
    cut = cut_of(path)
    assert "Cast" not in [node.op_type for node in cut.graph.node]
    for got, wanted in zip(maps_of(cut, tensors), maps_of(rounded(detection(), kind), MAPS), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_halves_beside_the_model(tmp_path: Path) -> None:
    inside, beside = tmp_path / "inside", tmp_path / "beside"
    inside.mkdir()
    beside.mkdir()
    model = halved(detection())
    path = save(model, inside)
    split(path)
    onnx.save(model, beside / "model.onnx", save_as_external_data=True, location="w.data", size_threshold=0)
    split(beside / "model.onnx")
    assert (beside / "model.cut").read_bytes() == path.with_suffix(".cut").read_bytes()


def test_weights_stay_in_their_file(tmp_path: Path) -> None:
    path = save(halved(detection()), tmp_path)
    source = load_source(path)
    large = [tensor for tensor in source.model.graph.initializer if is_stored_elsewhere(tensor)]
    assert source.widened
    assert large
    kept = {tensor.name: tensor for tensor in rounded(detection()).graph.initializer}
    for tensor in large:
        read = numpy_helper.to_array(load_tensor(tensor, OnnxFiles(path)))
        np.testing.assert_array_equal(read, numpy_helper.to_array(kept[tensor.name]))


def test_halves_that_mean_something_else_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("build_rules.graph.prove.check_halves.TOLERANCE", 1e-6)
    with pytest.raises(InputError, match=r"half precision, .*'output0' differs.*export the model in float"):
        split(save(halved(detection()), tmp_path))


@needs_shared
@pytest.mark.parametrize("make", [halved, lambda model: float_ends(halved(model))], ids=["whole", "float ends"])
def test_a_real_export(tmp_path: Path, make: Callable[[onnx.ModelProto], onnx.ModelProto]) -> None:
    source = corpus_model("yolov8n_320")
    wanted = split_of(source, tmp_path / "float.onnx")
    assert split_of(save(make(onnx.load(source)), tmp_path, "half.onnx")) == wanted


def split_of(path: Path, copy: Path | None = None) -> list[tuple[str, str]]:
    if copy is not None:
        copy.write_bytes(path.read_bytes())
    return [(endpoint.tensor, endpoint.role) for endpoint in split(copy or path).endpoints]
