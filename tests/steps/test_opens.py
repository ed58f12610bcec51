"""What a step opens, and how often: data is read once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from build_rules.records.split_json import dump_split
from build_rules.steps import calibration
from tests.calibration.snapshot.test_given import write as write_snapshot
from tests.opens import opens
from tests.records.test_records import SPLIT


def calibrate(folder: Path, source: Path, files: list[Path], count: int) -> None:
    (folder / "split.json").write_text(dump_split(SPLIT), encoding="utf-8")
    calibration.run(
        split_json=folder / "split.json",
        images=files,
        snapshot=folder / "snapshot",
        calibrated=folder / "calibration.json",
        chosen=folder / "images.json",
        sheet=folder / "sheet.png",
        source=str(source),
        named_in=None,
        count=count,
        skip_broken=False,
        passed_over="",
        known=str(folder / ".images.db"),
        final=str(folder / "snapshot"),
    )


@pytest.mark.parametrize(("count", "most"), [(9, 1), (3, 2)])
def test_calibration_opens_each_image_for_its_digest_and_its_pixels(tmp_path: Path, count: int, most: int) -> None:
    """Once where all are wanted; whatever is selected of more of them, twice."""
    pool = tmp_path / "pool"
    pool.mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(pool / f"{number}.png")
    files = sorted(pool.iterdir())
    with opens() as counts:
        calibrate(tmp_path, pool, files, count)
    assert sorted(counts[path] for path in files) == sorted([1] * (6 - count) + [most] * min(6, count))
    # Written, and its header read back.
    written = [path for path in counts if path.name.startswith((".snapshot", "snapshot"))]
    assert sum(counts[path] for path in written) == 2


def test_calibration_reads_the_header_of_a_given_snapshot_once(tmp_path: Path) -> None:
    given = write_snapshot(tmp_path / "given.safetensors", "rgb")
    with opens() as counts:
        calibrate(tmp_path, given, [given], 2)
    # The header, all of it for its digest, and its samples for the sheet.
    assert counts[given] + counts[tmp_path / "snapshot"] == 3
