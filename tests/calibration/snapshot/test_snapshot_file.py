"""What a snapshot must say about itself, damaged ones, and that writing is streamed and repeatable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from build_rules.calibration.snapshot.geometry import check_geometry
from build_rules.calibration.snapshot.snapshot_file import (
    canonical_json,
    hash_params,
    open_snapshot,
    read_samples,
    samples,
    verify_content,
    write_snapshot,
)
from build_rules.errors import InputError
from build_rules.records.normalization import Normalization
from tests.shared import SHARED, needs_shared

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 6, 4), dtype=np.uint8)
PARAMS = canonical_json({"input_shape": [6, 4], "resize": "letterbox", "seed": 42})
METADATA = {
    "params": PARAMS,
    "param_hash": hash_params(PARAMS),
    "tensor_names": '["images"]',
    "dtype": "uint8",
    "value_range": "[0, 255]",
    "layout": "NCHW",
    "normalization": '{"scale": 0.5, "mean": [1, 2, 3], "std": [1, 1, 2]}',
    "count_actual": "5",
    "content_sha256": hashlib.sha256(PIXELS.tobytes()).hexdigest(),
    "producer": "test/1",
}


def store(path: Path, tensors: dict[str, NDArray[Any]] | None = None, **changes: str | None) -> Path:
    metadata = {key: value for key, value in {**METADATA, **changes}.items() if value is not None}
    save_file(tensors or {"images": PIXELS}, path, metadata)
    return path


def test_everything_is_read(tmp_path: Path) -> None:
    snapshot = open_snapshot(store(tmp_path / "x"))
    assert snapshot.count == 5
    assert [(tensor.name, tensor.shape) for tensor in snapshot.tensors] == [("images", (5, 3, 6, 4))]
    assert (snapshot.dtype, snapshot.layout, snapshot.value_range) == ("uint8", "NCHW", (0.0, 255.0))
    assert snapshot.normalization == Normalization(0.5, (1.0, 2.0, 3.0), (1.0, 1.0, 2.0))
    assert snapshot.normalization.in_pixels() == ((2.0, 4.0, 6.0), (2.0, 2.0, 4.0))
    assert snapshot.params["input_shape"] == [6, 4]
    assert snapshot.producer == "test/1"
    verify_content(snapshot)
    np.testing.assert_array_equal(samples(snapshot), PIXELS)
    assert not samples(snapshot, "images").flags.writeable
    with pytest.raises(InputError, match="'other'"):
        samples(snapshot, "other")


@pytest.mark.parametrize(
    "key", ["params", "param_hash", "tensor_names", "dtype", "value_range", "layout", "normalization", "content_sha256"]
)
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match=f"no '{key}'"):
        open_snapshot(store(tmp_path / "x", **{key: None}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dtype", "int8"),
        ("dtype", "float32"),
        ("layout", "NHWC"),
        ("value_range", "[0, 1]"),
        ("value_range", "255"),
        ("tensor_names", "images"),
        ("tensor_names", '"images"'),
        ("tensor_names", "[]"),
        ("tensor_names", '["images", "images"]'),
        ("tensor_names", '["images", "depth"]'),
        ("tensor_names", "[[]]"),
        ("params", "[]"),
        ("params", '{"a": NaN}'),
        ("params", "{"),
        ("param_hash", "0123456789abcdef"),
        ("normalization", "{}"),
        ("normalization", '{"scale": 0, "mean": [0, 0, 0], "std": [1, 1, 1]}'),
        ("normalization", '{"scale": true, "mean": [0, 0, 0], "std": [1, 1, 1]}'),
        ("normalization", '{"scale": 1, "mean": [0, 0], "std": [1, 1, 1]}'),
        ("normalization", '{"scale": 1, "mean": [0, 0, 0], "std": [1, 0, 1]}'),
        ("normalization", '{"scale": 1, "mean": [0, 0, 1e999], "std": [1, 1, 1]}'),
        ("normalization", '{"scale": 1' + "0" * 400 + ', "mean": [0, 0, 0], "std": [1, 1, 1]}'),
        ("content_sha256", ""),
        ("content_sha256", "ab" * 31),
        ("content_sha256", "xy" * 32),
        ("content_sha256", "sha256:" + "ab" * 32),
        ("params", "[" * 100_000),
        ("params", '{"a": -Infinity}'),
        ("value_range", "[0, 255, 255]"),
        ("value_range", "[false, 255]"),
        ("count_actual", "6"),
        ("count_actual", "five"),
        ("count_actual", "5.0"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, key: str, value: str) -> None:
    changes: dict[str, Any] = {key: value}
    if key == "params":
        changes["param_hash"] = hash_params(value)
    if (key, value) == ("dtype", "float32"):
        key, changes["value_range"] = "dtype", "[0, 1]"
    with pytest.raises(InputError, match=f"'{key}'") as caught:
        open_snapshot(store(tmp_path / "x.safetensors", **changes))
    assert "x.safetensors" in str(caught.value)


@pytest.mark.parametrize("shape", [(5, 72), (0, 3, 6, 4), (5, 3, 6, 4, 1)])
def test_tensors_that_are_not_samples(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="NCHW"):
        open_snapshot(store(tmp_path / "x", {"images": np.zeros(shape, np.uint8)}))


def test_the_hash_may_be_of_spaced_json(tmp_path: Path) -> None:
    spaced = json.dumps(json.loads(PARAMS), sort_keys=True)
    assert open_snapshot(store(tmp_path / "x", param_hash=hash_params(spaced))).param_hash == hash_params(spaced)


def test_two_inputs_hash_in_the_order_of_their_names(tmp_path: Path) -> None:
    tensors: dict[str, NDArray[Any]] = {"a": PIXELS[:, :, :2].copy(), "z": PIXELS}
    digest = hashlib.sha256(tensors["z"].tobytes() + tensors["a"].tobytes()).hexdigest()
    snapshot = open_snapshot(store(tmp_path / "x", tensors, tensor_names='["z", "a"]', content_sha256=digest))
    verify_content(snapshot)
    np.testing.assert_array_equal(samples(snapshot, "a"), tensors["a"])
    assert snapshot.tensor("b") is None
    tensors["a"] = tensors["a"][:4]
    with pytest.raises(InputError, match="4 samples"):
        open_snapshot(store(tmp_path / "x", tensors, tensor_names='["z", "a"]'))


@pytest.mark.parametrize("names", [["images", "depth"], ["depth", "images"]])
def test_one_normalization_for_inputs_of_different_channels(tmp_path: Path, names: list[str]) -> None:
    tensors: dict[str, NDArray[Any]] = {"images": PIXELS, "depth": PIXELS[:, :1].copy()}
    digest = hashlib.sha256(b"".join(tensors[name].tobytes() for name in names)).hexdigest()
    path = store(tmp_path / "x", tensors, tensor_names=json.dumps(names), content_sha256=digest.upper())
    snapshot = open_snapshot(path)
    verify_content(snapshot)
    assert snapshot.normalization.mean == (1.0, 2.0, 3.0)
    wrong = '{"scale": 1, "mean": [0, 0], "std": [1, 1]}'
    with pytest.raises(InputError, match="'normalization'"):
        open_snapshot(store(tmp_path / "x", tensors, tensor_names=json.dumps(names), normalization=wrong))


def test_samples_one_at_a_time(tmp_path: Path) -> None:
    tensors: dict[str, NDArray[Any]] = {"images": PIXELS, "depth": PIXELS[:, :1].copy()}
    path = store(tmp_path / "x", tensors, tensor_names='["depth", "images"]')
    snapshot = open_snapshot(path)
    for name in tensors:
        np.testing.assert_array_equal(np.stack(list(read_samples(snapshot, name))), tensors[name])
    with pytest.raises(InputError, match="'other'"):
        next(read_samples(snapshot, "other"))
    path.write_bytes(path.read_bytes()[: snapshot.tensors[0].begin + 30])
    with pytest.raises(InputError, match="ends within sample 1 of 5"):
        list(read_samples(snapshot, "depth"))


keys = st.sampled_from(sorted(METADATA))
values = st.text(max_size=8) | st.sampled_from(
    ["null", "[]", "{}", "NaN", "1e999", "true", '["images"]', "[0, 255]", "0"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(keys, values | st.none(), min_size=1, max_size=3))
def test_any_other_metadata_is_accepted_as_it_is_or_named(tmp_path: Path, changes: dict[str, str | None]) -> None:
    path = store(tmp_path / "x.safetensors", None, **changes)
    told = ""
    try:
        open_snapshot(path)
    except InputError as error:
        told = str(error)
    if told:
        assert "x.safetensors" in told
        assert any(f"'{key}'" in told for key in METADATA)
    else:
        assert changes.keys() <= {"producer", "count_actual", "tensor_names", "value_range"}


def test_an_older_snapshot_is_read_when_it_says_so(tmp_path: Path) -> None:
    scaled = (PIXELS / 255).astype(np.float32)
    digest = hashlib.sha256(scaled.tobytes()).hexdigest()
    path = store(tmp_path / "x", {"images": scaled}, dtype="float32", value_range="[0.0, 1.0]", content_sha256=digest)
    snapshot = open_snapshot(path)
    verify_content(snapshot)
    assert snapshot.value_range == (0.0, 1.0)
    np.testing.assert_array_equal(samples(snapshot), scaled)
    with pytest.raises(InputError, match="'dtype'"):
        open_snapshot(store(tmp_path / "x", {"images": scaled}))


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    path = store(tmp_path / "x")
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="content_sha256"):
        verify_content(open_snapshot(path))


def test_a_truncated_file_is_found(tmp_path: Path) -> None:
    path = store(tmp_path / "x")
    content = path.read_bytes()
    for kept in (len(content) - 1, 300, 8, 3, 0):
        path.write_bytes(content[:kept])
        with pytest.raises(InputError, match="not a whole safetensors file"):
            open_snapshot(path)


def test_writing_is_repeatable_and_reads_back(tmp_path: Path) -> None:
    metadata = {key: value for key, value in METADATA.items() if key != "content_sha256"}
    first, second = tmp_path / "a", tmp_path / "b"
    digest = write_snapshot(first, "images", (5, 3, 6, 4), iter(PIXELS), metadata)
    write_snapshot(second, "images", (5, 3, 6, 4), iter(PIXELS), dict(reversed(metadata.items())))
    assert first.read_bytes() == second.read_bytes()
    assert digest == METADATA["content_sha256"]
    snapshot = open_snapshot(first)
    verify_content(snapshot)
    np.testing.assert_array_equal(load_file(first)["images"], PIXELS)
    assert dict(snapshot.metadata) == METADATA


def test_samples_that_are_not_contiguous_are_written_right(tmp_path: Path) -> None:
    pixels = np.ascontiguousarray(PIXELS.transpose(0, 2, 3, 1))
    content = (sample.transpose(2, 0, 1) for sample in pixels)
    write_snapshot(tmp_path / "x", "images", (5, 3, 6, 4), content, {})
    np.testing.assert_array_equal(load_file(tmp_path / "x")["images"], PIXELS)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")

    def broken() -> Iterator[NDArray[np.uint8]]:
        yield PIXELS[0]
        raise InputError("the second image is broken")

    with pytest.raises(InputError, match="second"):
        write_snapshot(path, "images", (5, 3, 6, 4), broken(), {})
    for content in (iter(PIXELS[:4]), iter(PIXELS[:, :, :5]), iter(PIXELS.astype(np.float32))):
        with pytest.raises(ValueError):
            write_snapshot(path, "images", (5, 3, 6, 4), content, {})
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
    assert path.read_text() == "old"


@needs_shared
def test_a_published_snapshot_opens_verifies_and_fits() -> None:
    snapshot = open_snapshot(next((SHARED / "corpus").glob("calibration-*.safetensors")))
    verify_content(snapshot)
    assert snapshot.count == 16
    tensor = snapshot.tensor("images")
    assert tensor is not None
    geometry = check_geometry(snapshot.params, tensor.shape, (320, 320), source=str(snapshot.path))
    assert geometry.as_mapping() == {"resize": "letterbox", "input_shape": [320, 320]}
    with pytest.raises(InputError, match=r"params\.input_shape"):
        check_geometry(snapshot.params, tensor.shape, (640, 640))
