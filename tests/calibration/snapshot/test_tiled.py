"""A snapshot of whole frames for a tiled model, and of tiles for another, is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from build_rules.calibration.snapshot.given import use_snapshot
from build_rules.calibration.snapshot.snapshot_file import canonical_json, hash_params, open_snapshot, write_snapshot
from build_rules.errors import InputError
from build_rules.records.split_json import Split, dump_split, load_split
from tests.calibration.snapshot.test_given import write
from tests.records.test_records import SPLIT

GRID = {"algorithm": "evendist", "overlap": 0.1}


def changed(path: Path, metadata: dict[str, str] | None = None, **params: Any) -> Path:
    """Write a snapshot with further parameters, and further entries beside them."""
    plain = open_snapshot(write(path, "rgb"))
    text = canonical_json({**plain.params, **params})
    sample = np.arange(3 * 64 * 48, dtype=np.uint8).reshape(3, 64, 48)
    told = {**plain.metadata, "params": text, "param_hash": hash_params(text), **(metadata or {})}
    write_snapshot(path, "images", (2, 3, 64, 48), [sample, sample], told)
    return path


def of_pixels(folder: Path, **members: Any) -> Split:
    """A model whose record of the cut says other things of its pixels."""
    record = json.loads(dump_split(SPLIT))
    record["preprocessing"].update(members)
    (folder / "split.json").write_text(json.dumps(record))
    return load_split(folder / "split.json")


@pytest.mark.parametrize("full_frame", [False, True])
def test_a_tiled_model_wants_tiles_and_whole_frames_where_it_says_so(tmp_path: Path, full_frame: bool) -> None:
    tiled = of_pixels(tmp_path, resize="tiled", tiling_mode="tiled", full_frame=full_frame)
    with pytest.raises(InputError, match=r"untiled: params\.resize must be 'tiled'.*not 'letterbox'"):
        use_snapshot(write(tmp_path / "untiled", "rgb"), tiled, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    given = changed(tmp_path / "tiles", resize="tiled", grid=GRID, full_frame=full_frame)
    use_snapshot(given, tiled, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == given.read_bytes()
    other = changed(tmp_path / "others", resize="tiled", grid=GRID, full_frame=not full_frame)
    with pytest.raises(InputError, match="full_frame"):
        use_snapshot(other, tiled, tmp_path / "further")


def test_a_model_of_whole_frames_wants_no_tiles(tmp_path: Path) -> None:
    whole = of_pixels(tmp_path, tiling_mode="whole_frame")
    given = changed(tmp_path / "tiles", resize="tiled", grid=GRID)
    for split in (whole, SPLIT):
        with pytest.raises(InputError, match=r"tiles: params\.resize must"):
            use_snapshot(given, split, tmp_path / "out")
    use_snapshot(write(tmp_path / "given", "rgb"), whole, tmp_path / "out")
    assert (tmp_path / "out").exists()
