from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from build_rules.errors import InputError
from build_rules.graph.load.source import load_source
from build_rules.onnx_file.skeleton import LARGE
from build_rules.onnx_file.weights import FileRange, is_stored_elsewhere, load_tensor, range_of
from tests.graph.graphs import Builder, detection, save


def outside(folder: Path, **entries: str) -> Path:
    """A model whose first weight lies in an external file described by `entries`."""
    model = detection()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return save(model, folder)


def test_a_pointer_in_place_of_the_weights_is_told(tmp_path: Path) -> None:
    path = outside(tmp_path, location="weights.bin")
    (tmp_path / "weights.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputError, match=r"lie in 'weights\.bin', which is a Git LFS pointer: .*`git lfs pull`"):
        load_source(path)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("/etc/passwd", "an absolute path"),
        ("C:\\weights.bin", "an absolute path"),
        ("C:weights.bin", "an absolute path"),
        ("\\\\server\\share\\weights.bin", "an absolute path"),
        ("../weights.bin", "outside the model's folder"),
        ("sub/../../weights.bin", "outside the model's folder"),
        ("link/weights.bin", "outside the model's folder"),
        (".", "outside the model's folder"),
        ("missing.bin", "does not exist"),
        ("sub", "is a folder and not a regular file"),
        ("", "name no file"),
    ],
)
def test_refuses_location(tmp_path: Path, location: str, message: str) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(1 << 16))
    folder = tmp_path / "models"
    (folder / "sub").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match=message):
        load_source(outside(folder, location=location))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": "0", "length": "9999999"}, "but the file has 65536"),
        ({"offset": "65537"}, "but the file has 65536"),
        ({"offset": "-1"}, "bytes -1 to"),
        ({"offset": "x"}, "is not a number"),
        ({"length": "12"}, "needs 12288 bytes, but 12 are stored"),
    ],
)
def test_refuses_extent(tmp_path: Path, entries: dict[str, str], message: str) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(1 << 16))
    with pytest.raises(InputError, match=message):
        load_source(outside(tmp_path, location="weights.bin", **entries))


def test_reads_what_lies_beside_the_model(tmp_path: Path) -> None:
    weight = detection().graph.initializer[0]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "weights.bin").write_bytes(bytes(64) + weight.raw_data)
    length = str(len(weight.raw_data))
    source = load_source(outside(tmp_path, location="sub/weights.bin", offset="64", length=length))
    stored = source.model.graph.initializer[0]
    assert range_of(stored, source.files) == FileRange(source.files, "sub/weights.bin", 64, len(weight.raw_data))
    assert load_tensor(stored, source.files).SerializeToString() == weight.SerializeToString()
    assert source.external_files == (tmp_path / "sub/weights.bin",)


def test_the_model_itself_may_be_a_link(tmp_path: Path) -> None:
    """Stores of large files put links where the files belong."""
    (tmp_path / "store").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m.onnx").symlink_to(save(detection(), tmp_path / "store"))
    source = load_source(tmp_path / "models" / "m.onnx")
    stored = next(t for t in source.model.graph.initializer if is_stored_elsewhere(t))
    expected = next(t for t in detection().graph.initializer if t.name == stored.name)
    assert load_tensor(stored, source.files).raw_data == expected.raw_data
    assert source.external_files == ()


def test_small_tensors_are_loaded_wherever_they_lie(tmp_path: Path) -> None:
    """Shape inference, and whoever runs the graph, need the target shapes themselves."""
    onnx.save_model(detection(), tmp_path / "m.onnx", save_as_external_data=True, location="all.bin", size_threshold=0)
    source = load_source(tmp_path / "m.onnx")
    loaded = {t.name for t in source.model.graph.initializer if not is_stored_elsewhere(t)}
    assert loaded == {
        t.name for t in source.model.graph.initializer if len(load_tensor(t, source.files).raw_data) <= LARGE
    }


@pytest.mark.parametrize("kind", ["initializer", "constant", "floats"])
def test_large_tensors_stay_in_the_model_file(tmp_path: Path, kind: str) -> None:
    model = detection()
    weight = model.graph.initializer[0]
    values = onnx.numpy_helper.to_array(weight)
    if kind == "constant":
        model.graph.node.insert(0, onnx.helper.make_node("Constant", [], [weight.name], value=weight))
        del model.graph.initializer[0]
    if kind == "floats":
        weight.ClearField("raw_data")
        weight.float_data.extend(values.ravel().tolist())
    source = load_source(save(model, tmp_path))
    stored = next(t for t in source.model.graph.initializer if t.name == "weight_0")
    assert is_stored_elsewhere(stored)
    assert range_of(stored, source.files).location == "model.onnx"
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(load_tensor(stored, source.files)), values)


def test_lists_that_are_not_raw_bytes_are_read(tmp_path: Path) -> None:
    b = Builder()
    b.weights.append(onnx.helper.make_tensor("halves", onnx.TensorProto.FLOAT16, [2000], np.arange(2000) / 4))
    b.op("Identity", "image", name="out")
    source = load_source(save(b.model("out"), tmp_path))
    (stored,) = source.model.graph.initializer
    assert not is_stored_elsewhere(stored)
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(stored), np.arange(2000) / 4)


def test_files_beside_the_model_are_told_before_they_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    told: list[Path] = []
    with pytest.raises(InputError, match="does not exist"):
        load_source(outside(folder, location="weights.bin"), reading=told.append)
    assert told == [folder / "weights.bin"]
    told.clear()
    with pytest.raises(InputError, match="only files beside the model"):
        load_source(outside(folder, location="../secret.bin"), reading=told.append)
    assert told == []


def reference(name: str, count: int) -> onnx.TensorProto:
    """The first `count` bytes of a file, which many tensors can name."""
    tensor = onnx.TensorProto(name=name, dims=[count], data_type=onnx.TensorProto.UINT8)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="holes.bin")
    return tensor


def holding(folder: Path, size: int, count: int, inside: bool = False) -> Path:
    model = detection()
    tensors = [reference(f"w{index}", size) for index in range(count)]
    if inside:
        model.graph.node[0].attribute.extend(
            onnx.helper.make_attribute(tensor.name, tensor, attr_type=onnx.AttributeProto.TENSOR) for tensor in tensors
        )
    else:
        model.graph.initializer.extend(tensors)
    with (folder / "holes.bin").open("wb") as file:
        file.truncate(size)  # its zeros take no room on the disk
    return save(model, folder)


@pytest.mark.parametrize(("size", "count"), [((1 << 30) + 1, 1), (1 << 26, 17)])
def test_more_weights_than_any_network_has(tmp_path: Path, size: int, count: int) -> None:
    with pytest.raises(InputError, match=r"more than 1024 MiB and than the .* that lie on the disk"):
        load_source(holding(tmp_path, size, count))


def test_weights_that_lie_on_the_disk_may_be_larger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("build_rules.onnx_file.weights.MAX_WEIGHTS", 1 << 16)
    size = 1 << 17
    path = holding(tmp_path, size, 1)
    with pytest.raises(InputError, match="lie on the disk"):
        load_source(path)
    for file in tmp_path.iterdir():
        if file != path:
            file.write_bytes(b"\1" * file.stat().st_size)
    assert load_source(path).input.name


@pytest.mark.parametrize(("size", "count", "inside"), [((1 << 26) + 1, 1, True), (1 << 24, 5, True), (1024, 70, False)])
def test_more_to_load_than_any_network_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, count: int, inside: bool
) -> None:
    if not inside:
        monkeypatch.setattr("build_rules.onnx_file.weights.MAX_LOADED", 64 << 10)
    with pytest.raises(InputError, match="external weights are small tensors or belong to attributes"):
        load_source(holding(tmp_path, size, count, inside))
