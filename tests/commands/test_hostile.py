"""Files that mean harm or mean nothing: always one paragraph and an exit code, never a traceback."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from build_rules.commands import describe
from build_rules.commands.command import BuildCommand
from build_rules.commands.infer import Infer
from build_rules.commands.inspect import Inspect
from build_rules.errors import InputError
from build_rules.hef import embed_zip
from tests.compilers.emulator.hostile import leaking, passing, save_hef

Captured = pytest.CaptureFixture[str]


def call(command: type[BuildCommand], *arguments: str | Path) -> int:
    """Run a command as doit does; returns the exit code."""
    return int(command().parse_execute([str(argument) for argument in arguments]))


def refused(capfd: Captured, command: type[BuildCommand], *arguments: str | Path, told: str, code: int = 3) -> None:
    """Run a command that must end with one line of error."""
    assert call(command, *arguments) == code
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ERROR: ")
    assert captured.err.count("\n") == 1
    assert captured.err.rstrip("\n").isprintable()
    assert told in captured.err


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def with_document(folder: Path, content: bytes, network: onnx.ModelProto | None = None) -> Path:
    hef = save_hef(folder / "a.hef", network or passing())
    embed_zip(hef, {"edgefirst.json": content}, hef)
    return hef


DOCUMENTS = [b"[]", b"null", b"3", b"{", b"\xff\xfe\xfa", b"[" * 100_000, b"9" * 5000]
SECTIONS: list[Any] = [{"hailo": []}, {"hailo": {"calibration_geometry": [1]}}]
RESIZES: list[Any] = [
    {"hailo": {"calibration_geometry": {"resize": resize}}} for resize in ("tiled", "x\x1b", [1], None)
]


@pytest.mark.parametrize("content", [*DOCUMENTS, *(json.dumps(one).encode() for one in (*SECTIONS, *RESIZES))])
def test_infer_refuses_documents_that_do_not_tell_the_geometry(
    tmp_path: Path, image: Path, capfd: Captured, content: bytes
) -> None:
    hef = with_document(tmp_path, content)
    refused(capfd, Infer, hef, image, "-o", tmp_path / "o.npz", told=f"{hef}: ")
    assert not (tmp_path / "o.npz").exists()


@pytest.mark.parametrize("document", [{}, {"hailo": {}}, {"hailo": {"calibration_geometry": {"resize": "stretch"}}}])
def test_infer_runs(tmp_path: Path, image: Path, capfd: Captured, document: Any) -> None:
    hef = with_document(tmp_path, json.dumps(document).encode(), passing(out="file"))
    assert call(Infer, hef, image, image, "--output", tmp_path / "o.npz") == 0
    with np.load(tmp_path / "o.npz") as arrays:
        assert (arrays["file"] == 7).all()
        assert arrays["file"].shape == (2, 8, 8, 3)
    assert capfd.readouterr().out.endswith("1 outputs of 2 images, from an emulated network\n")


@pytest.mark.parametrize(
    ("target", "told"),
    [("no/dir/x.npz", "no folder"), (".", "is a folder"), ("folder", "is a folder"), ("a.png", "files to read")],
)
def test_infer_refuses_targets(
    tmp_path: Path, image: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch, target: str, told: str
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    refused(capfd, Infer, save_hef(Path("a.hef"), passing()), "a.png", "--output", target, told=told)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.hef", "a.png", "folder"]


def test_pipes_and_missing_files_do_not_wait(tmp_path: Path, image: Path, capfd: Captured) -> None:
    hef = save_hef(tmp_path / "a.hef", passing())
    os.mkfifo(tmp_path / "pipe.hef")
    target = tmp_path / "o.npz"
    refused(capfd, Infer, tmp_path / "pipe.hef", image, "-o", target, told="not a regular file")
    refused(capfd, Infer, hef, tmp_path / "pipe.hef", "-o", target, told="not a regular file")
    refused(capfd, Infer, hef, tmp_path / "no\x1b\n.png", "-o", target, told="there is no such file")
    refused(capfd, Infer, hef, image, "-o", tmp_path / "pipe.hef", told="not a regular file")
    refused(capfd, Inspect, tmp_path / "pipe.hef", told="not a regular file")


def test_infer_reads_no_file_for_a_network(
    tmp_path: Path, image: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.bin").write_bytes(b"s" * 192)
    monkeypatch.chdir(tmp_path)
    hef = save_hef(tmp_path / "a.hef", leaking("secret.bin")["initializer"])
    refused(capfd, Infer, hef, image, "-o", "o.npz", told="another file of this machine")


def facts(capfd: Captured, file: Path) -> dict[str, Any]:
    """What inspect says, as JSON; as text it must be harmless."""
    assert call(Inspect, file) == 0
    assert all(line.isprintable() for line in capfd.readouterr().out.splitlines())
    assert call(Inspect, "--json", file) == 0
    found: dict[str, Any] = json.loads(capfd.readouterr().out)
    return found


@pytest.mark.parametrize("content", DOCUMENTS)
def test_inspect_shows_a_hef_whose_document_is_none(tmp_path: Path, capfd: Captured, content: bytes) -> None:
    hef = facts(capfd, with_document(tmp_path, content))
    assert (hef["metadata"], [problem["path"] for problem in hef["problems"]]) == (None, ["edgefirst.json"])
    assert hef["networks"][0]["outputs"][0]["name"] == "net/conv1"


@pytest.mark.parametrize("inside", [{}, 3, [1], None, [[]], [{"outputs": 3}], [{"outputs": [1]}], [{"outputs": {}}]])
def test_inspect_shows_documents_of_any_form(tmp_path: Path, capfd: Captured, inside: Any) -> None:
    hef = facts(capfd, with_document(tmp_path, json.dumps({"outputs": inside, "hailo": inside}).encode()))
    assert hef["problems"]


@pytest.mark.parametrize("depth", [100, 900, 960, 985, 5000])
def test_inspect_shows_deep_documents(tmp_path: Path, capfd: Captured, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    content = (
        f'{{"schema_version": 2, "hailo": {deep}, "outputs": [{{"name": {deep}, "type": {deep}, "shape": {deep}}}]}}'
    )
    assert facts(capfd, with_document(tmp_path, content.encode()))["problems"]


def test_inspect_escapes_what_no_encoding_knows(tmp_path: Path, capfd: Captured) -> None:
    content = rb'{"outputs": [{"name": "\ud800\u001b[31m", "type": "x\nERROR: y"}]}'
    hef = facts(capfd, with_document(tmp_path, content))
    assert hef["metadata"]["outputs"][0]["name"] == "\ud800\x1b[31m"


def test_numbers_and_names_in_scripts(tmp_path: Path, capfd: Captured) -> None:
    script = tmp_path / "a.alls"
    script.write_text("\na(" + "9" * 5000 + ")\n")
    refused(capfd, Inspect, script, told="line 2: a number of 5000")
    script.write_text("a(\x1b)")
    refused(capfd, Inspect, script, told="not part of the model script language")


def test_what_nobody_foresaw_is_one_paragraph_too(
    tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise ZeroDivisionError(f"{path.name}\n\x1b[31mforged")

    monkeypatch.delenv("BUILD_RULES_DEBUG", raising=False)
    monkeypatch.setattr(describe, "describe", fail)
    hef = save_hef(tmp_path / "a.hef", passing())
    refused(capfd, Inspect, hef, told="BUILD_RULES_DEBUG=1 doit inspect ... shows where", code=2)
    monkeypatch.setenv("BUILD_RULES_DEBUG", "1")
    assert call(Inspect, hef) == 2
    told = capfd.readouterr().err
    assert "Traceback" in told
    assert "\x1b" not in told


def save_onnx(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def test_inspect_shows_any_onnx(tmp_path: Path, capfd: Captured) -> None:
    model = passing(("batch", "side", 8, 3), kind=onnx.TensorProto.FLOAT)
    model.opset_import.append(onnx.helper.make_opsetid("own", 2))
    model.metadata_props.add(key="note", value="\x1b")
    found = facts(capfd, save_onnx(tmp_path / "a.onnx", model))
    assert (found["opset"], found["other_opsets"]) == (17, [{"domain": "own", "version": 2}])
    assert (found["ir_version"], found["metadata_keys"], found["labels"]) == (8, ["note"], 0)
    assert found["inputs"] == [{"name": "image", "dtype": "float", "shape": ["batch", "side", 8, 3]}]
    assert found["outputs"] == [{"name": "out", "dtype": "float", "shape": ["batch", "side", 8, 3]}]
    assert "dynamic shape" in found["endpoints_not_found"]


@pytest.mark.parametrize("place", ["initializer", "attribute", "subgraph", "function"])
def test_inspect_reads_no_file_outside_the_folder(tmp_path: Path, capfd: Captured, place: str) -> None:
    found = facts(capfd, save_onnx(tmp_path / "a.onnx", leaking("../secret.bin")[place]))
    assert found["endpoints"] == []
    assert "outside the model's folder" in found["endpoints_not_found"]


@pytest.mark.parametrize("key", ["edgefirst", "labels"])
def test_inspect_shows_an_onnx_with_broken_metadata(tmp_path: Path, capfd: Captured, key: str) -> None:
    model = passing()
    model.metadata_props.add(key=key, value="{")
    found = facts(capfd, save_onnx(tmp_path / "a.onnx", model))
    assert f"the metadata '{key}' is not valid JSON" in found["endpoints_not_found"]


def test_large_weights_beside_the_model_are_not_needed(
    tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("build_rules.graph.load.constants.SMALL", 4096)
    source = Path(__file__).resolve().parents[2] / "models/shapes-det/shapes-det.onnx"
    inside = facts(capfd, source)
    model = onnx.load(source)
    onnx.save(
        model, tmp_path / "a.onnx", save_as_external_data=True, location="weights.bin", size_threshold=4096 * 4 + 64
    )
    (tmp_path / "weights.bin").unlink()
    beside = facts(capfd, tmp_path / "a.onnx")
    assert beside["external_files"] == ["weights.bin"]
    assert beside["endpoints"] == inside["endpoints"] != []
    assert beside["attention"] == inside["attention"]


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\x08"])
def test_inspect_refuses_what_is_no_onnx(tmp_path: Path, capfd: Captured, content: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    refused(capfd, Inspect, tmp_path / "a.onnx", told="ONNX")


def test_describe_is_for_known_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="kind of file"):
        describe.describe(tmp_path / "a.txt")
