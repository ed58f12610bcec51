"""The snapshot as the compiler takes it: NHWC, mapped, and in nobody's memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from build_rules.compilers.dfc.calibration_array import write_array
from build_rules.errors import InputError


def test_rows_are_turned_and_none_is_added(tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (5, 3, 6, 4), dtype=np.uint8)
    save_file({"images": images}, tmp_path / "snapshot")
    write_array(tmp_path / "snapshot", "images", (1, 6, 4, 3), 4, tmp_path / "rows.npy")
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert (rows.dtype, rows.flags.c_contiguous) == (np.uint8, True)
    assert np.array_equal(rows, images[:4].transpose(0, 2, 3, 1))


def test_it_takes_the_memory_of_one_row(tmp_path: Path) -> None:
    save_file({"images": np.zeros((64, 3, 256, 256), np.uint8)}, tmp_path / "snapshot")
    tracemalloc.start()
    write_array(tmp_path / "snapshot", "images", (1, 256, 256, 3), 64, tmp_path / "rows.npy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 3 * 256 * 256


@pytest.mark.parametrize("shape", [(1, 4, 6, 3), (1, 6, 4, 1)])
def test_a_snapshot_of_another_input(tmp_path: Path, shape: tuple[int, ...]) -> None:
    save_file({"images": np.zeros((2, 3, 6, 4), np.uint8)}, tmp_path / "snapshot")
    with pytest.raises(InputError, match="BadInputsShape"):
        write_array(tmp_path / "snapshot", "images", shape, 2, tmp_path / "rows.npy")
    assert not (tmp_path / "rows.npy").exists()
