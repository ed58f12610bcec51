from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from build_rules.errors import InputError
from build_rules.graph.source import load_source
from tests.graph.graphs import detection, save


def outside(folder: Path, **entries: str) -> Path:
    """A model whose first weight lies in an external file described by `entries`."""
    model = detection()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return save(model, folder)


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
        ("sub", "does not exist"),
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
        ({"length": "12"}, "does not pass|cannot be read"),
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
    assert source.model.graph.initializer[0].SerializeToString() == weight.SerializeToString()
