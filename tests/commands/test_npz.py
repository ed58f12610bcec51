"""Results of many images in one archive."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from build_rules.commands.npz import MAX_NAME, write_stacked
from build_rules.errors import InputError

NAMES = ("net/conv1", "file", "self", "\u00fc")


def results(count: int) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    for index in range(count):
        yield {
            name: np.full((1, 2, 3, place), index + place, np.uint16 if place % 2 else np.uint8)
            for place, name in enumerate(NAMES)
        }


def test_arrays_are_stacked_under_any_name(tmp_path: Path) -> None:
    target = tmp_path / "out.npz"
    assert write_stacked(target, results(3)) == 4
    with np.load(target) as arrays:
        assert tuple(arrays.files) == NAMES
        for name in NAMES:
            wanted = np.concatenate([result[name] for result in results(3)])
            np.testing.assert_array_equal(arrays[name], wanted)
            assert arrays[name].dtype == wanted.dtype
    first = target.read_bytes()
    write_stacked(target, results(3))
    assert target.read_bytes() == first
    assert list(tmp_path.iterdir()) == [target]


def test_results_that_differ_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="image 2 differ"):
        write_stacked(tmp_path / "a.npz", [{"a": np.zeros((1, 2))}, {"a": np.zeros((1, 3))}])
    for name in ("", "a\0b", "x" * 5000):
        with pytest.raises(InputError, match="cannot be stored"):
            write_stacked(tmp_path / "a.npz", [{name: np.zeros((1, 2))}])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("beyond", [0, 1])
def test_how_long_a_name_may_be(tmp_path: Path, beyond: int) -> None:
    result = {"x" * (MAX_NAME + beyond): np.zeros((1, 2))}
    if not beyond:
        assert write_stacked(tmp_path / "a.npz", [result]) == 1
        return
    with pytest.raises(InputError, match="cannot be stored"):
        write_stacked(tmp_path / "a.npz", [result])


def test_an_array_that_is_large_only_when_all_results_are_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its member has the 64-bit form, which has to be known before the first byte is written."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    assert write_stacked(tmp_path / "a.npz", [{"a": np.ones((1, 300), np.uint8)}] * 4) == 1
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["a"].sum() == 1200


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode: opened(FULL, "wb"))
    with pytest.raises(InputError, match=r"a\.npz: cannot be written \(No space left on device\)"):
        write_stacked(tmp_path / "a.npz", results(3))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_stacked(tmp_path / "no" / "a.npz", results(1))
