"""Each file of a model is opened once, and none that was not admitted."""

from __future__ import annotations

import gc
from pathlib import Path

import onnx
import pytest

from build_rules.graph.cut_model import split_model
from build_rules.onnx_file import onnx_files
from build_rules.onnx_file.onnx_files import OnnxFiles, opened
from build_rules.records.choices import SplitChoice
from tests.graph.graphs import detection, save
from tests.opens import opens


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def files(tmp_path: Path) -> OnnxFiles:
    """A model and four files beside it."""
    for name in ("m.onnx", "0", "1", "2", "3"):
        (tmp_path / name).write_bytes(f"{name} holds bytes".encode())
    files = OnnxFiles(tmp_path / "m.onnx")
    for name in "0123":
        files.admit(name, tmp_path / name, name)
    return files


def test_bytes_are_read_where_they_lie(files: OnnxFiles) -> None:
    assert files.read("m.onnx", 2, 4) == b"onnx"
    assert files.read("1", 8, 100) == b"bytes"
    assert files.read("1", 100, 5) == files.read("1", 0, 0) == b""
    assert files.stat("0").st_size == 13


def test_nothing_is_opened_that_was_not_admitted(files: OnnxFiles) -> None:
    (files.folder / "secret").write_bytes(b"x")
    with opens() as counts, pytest.raises(KeyError):
        files.read("secret", 0, 1)
    assert not counts


def test_all_are_closed_in_the_end(files: OnnxFiles) -> None:
    before = descriptors()
    with files:
        for name in ("m.onnx", *"0123"):
            files.read(name, 0, 1)
        assert descriptors() == before + 5
    assert descriptors() == before
    files.read("0", 0, 1)
    assert descriptors() == before + 1
    with opened(files) as held:
        assert held is files
    assert descriptors() == before + 1, "whoever opened them closes them"
    own = files.path
    with opened(own) as held:
        held.read("m.onnx", 0, 1)
    assert descriptors() == before + 1
    forgotten = OnnxFiles(own)
    forgotten.stat("m.onnx")
    del forgotten
    gc.collect()
    assert descriptors() == before + 1


def test_of_many_files_few_are_open(files: OnnxFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "MAX_OPEN", 3)
    before = descriptors()
    with opens() as counts:
        for name in ("m.onnx", "0", "m.onnx", "1", "m.onnx", "2", "m.onnx", "3", "m.onnx"):
            assert files.read(name, 0, 1) == name[:1].encode()
    assert descriptors() == before + 3
    assert set(counts.values()) == {1}
    assert files.read("0", 0, 1) == b"0"


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("prove", [False, True])
def test_a_cut_opens_each_file_of_the_model_once(tmp_path: Path, beside: bool, prove: bool) -> None:
    """Not once for each weight; what onnxruntime opens for the proof is not counted."""
    path = save(detection(), tmp_path)
    if beside:
        onnx.save_model(
            detection(), path, save_as_external_data=True, all_tensors_to_one_file=False, size_threshold=2048
        )
    weights = [file for file in tmp_path.iterdir() if file != path]
    assert len(weights) > 3 if beside else not weights
    with opens() as counts:
        split_model(path, "m", tmp_path / "cut.onnx", SplitChoice(prove=prove))
    assert {file.name: counts[file] for file in (path, *weights)} == {file.name: 1 for file in (path, *weights)}
