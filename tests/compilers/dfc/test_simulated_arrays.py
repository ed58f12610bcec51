"""What comes back of a simulation is read as far as it was asked for, whoever wrote it."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from build_rules.compilers.dfc.simulated_arrays import MAX_VALUES, read_simulated
from build_rules.compilers.har_file import OutputLayer
from build_rules.errors import InputError

OUTPUTS = (
    OutputLayer("net/output_layer1", "net/conv2", (), (-1, 2, 3, 4)),
    OutputLayer("net/output_layer2", "net/conv1", (), (-1, 5)),
    OutputLayer("net/output_layer3", "net/conv2", (), (-1, 2, 3, 4)),
)
ZEROS = np.zeros((2, 2, 3, 4), np.float32)
WHOLE = {"net/conv1": np.ones((2, 5), np.float32), "net/conv2": ZEROS}


def npy(shape: tuple[int, ...], content: bytes, descr: str = "<f4") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


def packed(path: Path, members: Mapping[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def test_values_come_in_the_order_of_the_outputs(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    wide = np.arange(48, dtype=np.float32).reshape(4, 3, 2, 2).transpose()
    np.savez(path, extra=ZEROS, **{**WHOLE, "net/conv2": wide})
    values = read_simulated(path, OUTPUTS, 2)
    assert list(values) == ["net/conv2", "net/conv1"]
    assert np.array_equal(values["net/conv2"], wide)
    assert values["net/conv1"].shape == (2, 5)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (None, "net/conv2 is missing"),
        (ZEROS.astype(np.float64), "an array of float64"),
        (np.array([{"a": 1}], dtype=object), "an array of object"),
        (ZEROS[:, :1], r"has the shape \(2, 1, 3, 4\), expected 2 x 24 values"),
        (ZEROS[:1], "has the shape"),
        (ZEROS.reshape(4, 12), "has the shape"),
        (np.float32(0), "has the shape"),
    ],
)
def test_values_that_were_not_asked_for(tmp_path: Path, values: Any, told: str) -> None:
    path = tmp_path / "arrays.npz"
    kept = {name: array for name, array in {**WHOLE, "net/conv2": values}.items() if array is not None}
    np.savez(path, **kept)
    with pytest.raises(InputError, match=told):
        read_simulated(path, OUTPUTS, 2)


@pytest.mark.parametrize(
    "content",
    [
        npy((1 << 38,), bytes(1 << 20)),
        npy((2, 2, 3, 4), b"short"),
        npy((2, 2, 3, 4), bytes(300 << 20))[:-1],
        npy((-2, -24), bytes(192)),
        b"\x93NUMPY\1\0" + b"\xff" * 90,
        b"",
    ],
    ids=["a terabyte", "cut short", "a bomb", "negative", "a header of garbage", "nothing"],
)
def test_whatever_comes_back_in_place_of_the_values(tmp_path: Path, content: bytes) -> None:
    path = packed(tmp_path / "arrays.npz", {"net/conv1": npy((2, 5), bytes(40)), "net/conv2": content})
    del content
    tracemalloc.start()
    try:
        if path.stat().st_size > 100_000:  # what stands behind the values is never unpacked
            assert not read_simulated(path, OUTPUTS, 2)["net/conv2"].any()
        else:
            with pytest.raises(InputError, match="are not the values of 2 samples"):
                read_simulated(path, OUTPUTS, 2)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_what_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    for content in (b"", b"garbage" * 1000, bytes(1 << 20)):
        path.write_bytes(content)
        with pytest.raises(InputError, match="are not the values of 2 samples"):
            read_simulated(path, OUTPUTS, 2)


@pytest.mark.parametrize("shape", [(-1,), (-1, 0), (-1, "2"), (-1, 1 << 20, 1 << 20)])
def test_outputs_without_bounds(tmp_path: Path, shape: tuple[Any, ...]) -> None:
    """The HN comes from a file, too."""
    with pytest.raises(InputError, match=f"has no shape|more than {MAX_VALUES:,} values"):
        read_simulated(tmp_path / "never read", (OutputLayer("o", "net/conv1", (), shape),), 2)
