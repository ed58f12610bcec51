"""What `doit inspect --json` prints has keys that programs rely on: these, in this order, for each kind of file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from build_rules.commands.inspect import Inspect
from tests.graph.graphs import CLASSES, detection
from tests.steps.test_pixels import Chain

KEYS = {
    "model.onnx": [
        *("file", "bytes", "kind", "producer", "ir_version", "opset", "other_opsets", "nodes", "inputs", "outputs"),
        *("external_files", "metadata_keys", "name", "decoder_version", "labels"),
        *("found_by", "attention", "endpoints", "bytes_per_frame"),
    ],
    "classifier.onnx": [
        *("file", "bytes", "kind", "producer", "ir_version", "opset", "other_opsets", "nodes", "inputs", "outputs"),
        *("external_files", "metadata_keys", "name", "decoder_version", "labels"),
        *("attention", "endpoints", "endpoints_not_found"),
    ],
    "parsed.har": [
        *("file", "bytes", "kind", "name", "state", "hw_arch", "sdk_version", "emulated"),
        *("layers", "members", "outputs", "build", "warnings", "times"),
    ],
    "model.alls": ["file", "bytes", "kind", "commands"],
    "snapshot.safetensors": [
        *("file", "bytes", "kind", "content", "samples", "dtype", "normalization", "producer", "tensors"),
        "parameters",
    ],
    "built/snapshot.safetensors": [
        *("file", "bytes", "kind", "content", "samples", "dtype", "normalization", "producer", "tensors"),
        *("parameters", "selected_from", "selected", "requested", "left_out", "images"),
    ],
    "model.hef": [
        *("file", "bytes", "kind", "header_version", "hw_arch", "silicon", "hailort_architectures", "compiler"),
        *("sdk_version", "emulated", "timestamp_ms", "created", "extensions", "unknown", "compiled_bytes", "embedding"),
        *("sections", "oldest_hailort", "oldest_hailort_without_zip", "loaders"),
        *("networks", "zip_members", "metadata", "build", "warnings", "described", "problems"),
    ],
}
ROWS = {
    ("model.onnx", "inputs"): ["name", "dtype", "shape"],
    ("model.onnx", "outputs"): ["name", "dtype", "shape"],
    ("parsed.har", "members"): ["name", "bytes"],
    ("parsed.har", "outputs"): ["name", "producer", "shape", "bits", "activation", "original_names"],
    ("model.alls", "commands"): ["line", "command"],
    ("snapshot.safetensors", "tensors"): ["name", "shape"],
    ("snapshot.safetensors", "normalization"): ["scale", "mean", "std"],
    ("built/snapshot.safetensors", "left_out"): ["name", "kind", "reason"],
    ("built/snapshot.safetensors", "images"): ["name", "samples", "chosen", "why"],
    ("model.hef", "sections"): ["section", "offset", "bytes"],
    ("model.hef", "loaders"): ["reader", "loads", "why"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file of each kind, as a build makes them."""
    chain = Chain(tmp_path_factory.mktemp("chain"))
    chain.export(detection())
    folder = chain.folder
    (folder / "labels.txt").write_text("".join(f"{number}\n" for number in range(CLASSES)))
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "pool/again.png")
    Image.fromarray(pixels).save(folder / "pool/copy.png")
    chain.cut()
    chain.script()
    chain.quantize()
    chain.executable()
    (folder / "built").mkdir()
    (folder / "chosen").rename(folder / "built/calibration-images.json")
    (folder / "snapshot").rename(folder / "snapshot.safetensors")
    (folder / "built/snapshot.safetensors").hardlink_to(folder / "snapshot.safetensors")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 10])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    other = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 10])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [value], [other])), folder / "classifier.onnx")
    return folder


def inspect(path: Path, capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capfd.readouterr()
    assert Inspect().parse_execute(["--json", str(path)]) == 0
    found: dict[str, Any] = json.loads(capfd.readouterr().out)
    return found


@pytest.mark.parametrize("name", KEYS)
def test_the_keys_of_a_file(folder: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    facts = inspect(folder / name, capfd)
    assert list(facts) == KEYS[name]
    assert (facts["file"], facts["bytes"]) == (str(folder / name), (folder / name).stat().st_size)


@pytest.mark.parametrize(("name", "key"), ROWS)
def test_the_keys_of_its_rows(folder: Path, name: str, key: str, capfd: pytest.CaptureFixture[str]) -> None:
    rows = inspect(folder / name, capfd)[key]
    assert rows
    for row in [rows] if isinstance(rows, dict) else rows:
        assert list(row) == ROWS[name, key]


def test_what_the_values_are(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    har = inspect(folder / "parsed.har", capfd)
    assert (har["kind"], har["name"], har["state"], har["emulated"]) == ("Hailo archive", "m", "hailo_model", True)
    assert [len(row["shape"]) for row in har["outputs"]] == [4] * 4
    export = inspect(folder / "model.onnx", capfd)
    assert export["inputs"] == [{"name": "image", "dtype": "float", "shape": [1, 3, 32, 32]}]
    assert (export["opset"], export["found_by"], export["metadata_keys"]) == (17, "hints", ["edgefirst"])
    snapshot = inspect(folder / "built/snapshot.safetensors", capfd)
    assert (snapshot["samples"], snapshot["selected"], snapshot["selected_from"]) == (8, 8, 9)
    assert [row["name"] for row in snapshot["left_out"]] == ["copy.png"]
    assert snapshot["tensors"] == [{"name": "image", "shape": [8, 3, 32, 32]}]
    script = inspect(folder / "model.alls", capfd)
    text = (folder / "model.alls").read_text().splitlines()
    assert [text[row["line"] - 1] for row in script["commands"]] == [row["command"] for row in script["commands"]]
