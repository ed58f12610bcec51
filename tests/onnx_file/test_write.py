"""A model that goes through the room's reading and writing keeps every weight, wherever it lay and wherever it goes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from build_rules.errors import InputError
from build_rules.graph import split_model
from build_rules.graph.load.source import load_source
from build_rules.onnx_file import write
from build_rules.onnx_file.onnx_files import OnnxFiles
from build_rules.onnx_file.skeleton import LARGE, read_skeleton
from build_rules.onnx_file.weights import place_weights
from build_rules.onnx_file.write import ALIGNMENT, model_content, write_model
from tests.graph.graphs import CLASSES, Builder, detection, image, save

KINDS = (
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.UINT64,
    TensorProto.BOOL,
)
STORAGES = ("raw", "list", "external", "external without extent")
WEIGHTS = "weights.bin"
Tensors = dict[str, NDArray[Any]]
per_example = settings(deadline=None, max_examples=150)


@dataclass(frozen=True)
class Stored:
    """One tensor of a random model: its type, how many values, how they are stored, and in which part of the model."""

    kind: int
    count: int
    storage: str
    constant: bool

    def values(self, seed: int) -> NDArray[Any]:
        random = np.random.default_rng(seed).integers(0, 100, self.count)
        return random.astype(helper.tensor_dtype_to_np_dtype(self.kind))


sizes = st.integers(0, 6) | st.integers(LARGE // 8 - 2, LARGE + 2) | st.just(5 * LARGE)
stored = st.builds(Stored, st.sampled_from(KINDS), sizes, st.sampled_from(STORAGES), st.booleans())


def make_model(folder: Path, tensors: Sequence[Stored]) -> Path:
    """Write `model.onnx`, whose only meaning is to hold tensors, and `weights.bin` beside it."""
    b = Builder()
    with (folder / WEIGHTS).open("wb") as weights:
        last = next((i for i, one in reversed(list(enumerate(tensors))) if one.storage == STORAGES[-1]), None)
        for index, one in enumerate(tensors):
            # Only the last of a file may leave out where it ends.
            storage = STORAGES[-2] if one.storage == STORAGES[-1] and index != last else one.storage
            if index != last:
                _store(b, weights, f"t{index}", replace(one, storage=storage), index)
        if last is not None:
            _store(b, weights, f"t{last}", tensors[last], last)
    b.op("Identity", "image", name="out")
    return save(b.model("out"), folder)


def _store(b: Builder, weights: Any, name: str, one: Stored, seed: int) -> None:
    values = one.values(seed)
    if one.storage == "list":
        tensor = helper.make_tensor(name, one.kind, values.shape, values)
    else:
        tensor = numpy_helper.from_array(values, name)
    if one.storage.startswith("external"):
        entries = {"location": WEIGHTS, "offset": str(weights.tell()), "length": str(len(tensor.raw_data))}
        weights.write(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        if one.storage != "external":
            del entries["length"]
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
    if one.constant:
        b.op("Constant", name=name, value=tensor)
    else:
        b.weights.append(tensor)


def tensors_of(path: Path) -> Tensors:
    """Every tensor of a model as onnx itself loads it, those of `Constant` nodes by the name of their output."""
    model = onnx.load(path)
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def check_equal(found: Tensors, expected: Tensors) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        assert found[name].tobytes() == values.tobytes()


def rewrite(path: Path, output: Path) -> Path:
    model = read_skeleton(path)
    files = OnnxFiles(path)
    place_weights(model, files)
    write_model(model, files, output)
    return output


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return lambda: tmp_path_factory.mktemp("model")


@per_example
@given(tensors=st.lists(stored, min_size=1, max_size=6))
def test_every_tensor_is_what_onnx_loads(folders: Callable[[], Path], tensors: list[Stored]) -> None:
    folder = folders()
    path = make_model(folder, tensors)
    check_equal(tensors_of(path), {f"t{index}": one.values(index) for index, one in enumerate(tensors)})
    first, second = rewrite(path, folder / "first"), rewrite(path, folder / "second")
    check_equal(tensors_of(first), tensors_of(path))
    onnx.checker.check_model(first)
    assert first.read_bytes() == second.read_bytes()
    assert not (folder / "first.data").exists()


@per_example
@given(tensors=st.lists(stored, min_size=1, max_size=6))
def test_beyond_the_limit_every_tensor_is_what_onnx_loads(folders: Callable[[], Path], tensors: list[Stored]) -> None:
    folder = folders()
    path = make_model(folder, tensors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "MAX_BYTES", 0)
        written = rewrite(path, folder / "written")
        again = rewrite(written, folder / "again")
    check_equal(tensors_of(written), tensors_of(path))
    check_equal(tensors_of(again), tensors_of(path))
    assert (folder / "again.data").read_bytes() == (folder / "written.data").read_bytes()
    onnx.checker.check_model(written)


@per_example
@given(tensors=st.lists(stored, min_size=1, max_size=6), data=st.data())
def test_where_initializers_lay_does_not_show(
    folders: Callable[[], Path], tensors: list[Stored], data: st.DataObject
) -> None:
    raw = [replace(one, storage="raw", constant=False) for one in tensors]
    moved = [replace(one, storage=data.draw(st.sampled_from(("raw", *STORAGES[2:])))) for one in raw]
    # The one that says no extent comes last in both models.
    if any(one.storage == STORAGES[-1] for one in moved[:-1]):
        moved = [replace(one, storage="external") if one.storage == STORAGES[-1] else one for one in moved]
    contents = []
    for model in (raw, moved):
        folder = folders()
        contents.append(rewrite(make_model(folder, model), folder / "written").read_bytes())
    assert contents[0] == contents[1]


def split_both_ways(model: onnx.ModelProto, folder: Path) -> list[bytes]:
    """Return what the room writes for a model that holds its weights, and for one that has them beside it."""
    inside, outside = save(model, folder, "inside.onnx"), folder / "outside.onnx"
    external = onnx.ModelProto.FromString(model.SerializeToString())
    onnx.save_model(
        external, outside, save_as_external_data=True, location=WEIGHTS, size_threshold=0, convert_attribute=True
    )
    cuts = []
    for path in (inside, outside):
        split_model(path, "m", path.with_suffix(".cut"))
        cuts.append(path.with_suffix(".cut").read_bytes())
    return cuts


def with_constants(sizes: Sequence[int]) -> onnx.ModelProto:
    b = Builder()
    name = b.conv("image", 3, 1, 8)
    for size in sizes:
        constant = b.op("Constant", value=numpy_helper.from_array(np.ones((size, 1, 1, 1), np.float32)))
        name = b.op("Conv", b.op("Relu", name), constant, kernel_shape=[1, 1])
        name = b.op("Slice", name, b.integers(0), b.integers(1), b.integers(1))
    b.op("Softmax", b.conv(name, 1, 400, 1), axis=1, name="output0")
    return b.model("output0")


def test_external_weights_give_the_same_file(tmp_path: Path) -> None:
    first, second = split_both_ways(detection(), tmp_path)
    assert first == second


@pytest.mark.parametrize("sizes", [[LARGE], [3], [LARGE, 3]], ids=["large", "small", "both"])
def test_external_constants_give_the_same_file(tmp_path: Path, sizes: list[int]) -> None:
    first, second = split_both_ways(with_constants(sizes), tmp_path)
    assert first == second


def large() -> onnx.ModelProto:
    """A detector of which several weights are larger than a page."""
    return detection(classes=20 * CLASSES, metadata=None)


def write_beside(folder: Path, model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch, limit: int = 4096) -> Path:
    monkeypatch.setattr(write, "MAX_BYTES", limit)
    return rewrite(save(model, folder), folder / "written.onnx")


def references_of(path: Path) -> dict[str, dict[str, str]]:
    graph = onnx.load(path, load_external_data=False).graph
    referring = [tensor for tensor in graph.initializer if tensor.data_location == TensorProto.EXTERNAL]
    return {tensor.name: {entry.key: entry.value for entry in tensor.external_data} for tensor in referring}


def test_over_the_limit_weights_go_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_beside(tmp_path, large(), monkeypatch)
    data = (tmp_path / "written.onnx.data").read_bytes()
    references, expected = references_of(path), tensors_of(tmp_path / "model.onnx")
    assert set(references) == {name for name, values in expected.items() if values.nbytes > LARGE}
    for name, entries in references.items():
        assert list(entries) == ["location", "offset", "length", "checksum"]
        offset, length = int(entries["offset"]), int(entries["length"])
        assert (entries["location"], offset % ALIGNMENT) == ("written.onnx.data", 0)
        assert data[offset : offset + length] == expected[name].tobytes()
        assert entries["checksum"] == hashlib.sha1(expected[name].tobytes()).hexdigest()
    assert len(data) < sum(values.nbytes for values in expected.values()) + ALIGNMENT * len(references)
    assert path.stat().st_size < sum(values.nbytes for values in expected.values())


def test_weights_beside_the_model_are_found_by_every_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_beside(tmp_path, large(), monkeypatch)
    check_equal(tensors_of(path), tensors_of(tmp_path / "model.onnx"))
    onnx.checker.check_model(str(path), full_check=True)
    outputs = [
        onnxruntime.InferenceSession(str(one), providers=["CPUExecutionProvider"]).run(None, {"image": image()})[0]
        for one in (tmp_path / "model.onnx", path)
    ]
    np.testing.assert_array_equal(*outputs)
    assert load_source(path).external_files == (tmp_path / "written.onnx.data",)


def test_other_weights_beside_it_mean_another_model_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who compares or caches by the model file alone must see that a weight changed."""
    model = large()
    before = write_beside(tmp_path, model, monkeypatch).read_bytes()
    weight = next(tensor for tensor in model.graph.initializer if len(tensor.raw_data) > LARGE)
    changed = numpy_helper.to_array(weight).copy()
    changed.flat[0] += 1
    weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    assert write_beside(tmp_path, model, monkeypatch).read_bytes() != before


def test_beside_the_model_equal_models_give_equal_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = []
    for _ in range(2):
        path = write_beside(tmp_path, large(), monkeypatch)
        contents.append((path.read_bytes(), (tmp_path / "written.onnx.data").read_bytes()))
    assert contents[0] == contents[1]


def test_the_limit_is_that_of_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rewrite(save(large(), tmp_path), tmp_path / "whole").stat().st_size
    beside = tmp_path / "written.onnx.data"
    write_beside(tmp_path, large(), monkeypatch, limit=whole + 4096)
    assert not beside.exists()
    write_beside(tmp_path, large(), monkeypatch, limit=whole - 1)
    assert beside.exists()


def test_a_split_beyond_the_limit_is_proven_and_cut_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(large(), tmp_path)
    expected = split_model(path, "m", tmp_path / "whole.onnx").split
    monkeypatch.setattr(write, "MAX_BYTES", 4096)
    assert split_model(path, "m", tmp_path / "parted.onnx").split == expected
    assert (tmp_path / "parted.onnx.data").is_file()
    check_equal(tensors_of(tmp_path / "parted.onnx"), tensors_of(tmp_path / "whole.onnx"))


def test_the_content_in_memory_is_that_of_the_file(tmp_path: Path) -> None:
    source = load_source(save(detection(), tmp_path))
    write_model(source.model, source.files, tmp_path / "written")
    assert model_content(source.model, source.files) == (tmp_path / "written").read_bytes()


def test_weights_that_become_shorter_meanwhile_are_told(tmp_path: Path) -> None:
    b = Builder()
    b.weights.append(numpy_helper.from_array(np.zeros(LARGE, np.float32), "w"))
    b.op("Identity", "image", name="out")
    path = save(b.model("out"), tmp_path)
    source = load_source(path)
    path.write_bytes(path.read_bytes()[:LARGE])
    with pytest.raises(InputError, match=r"model\.onnx became shorter while it was read; run again"):
        write_model(source.model, source.files, tmp_path / "written")
