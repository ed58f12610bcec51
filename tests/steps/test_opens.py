"""What a step opens, and how often: data is read once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from build_rules.atomic_file import PARTIAL
from build_rules.commands.describe import describe
from build_rules.records.split_json import dump_split
from build_rules.steps import calibration, split
from tests.calibration.snapshot.test_given import write as write_snapshot
from tests.graph.graphs import detection, save
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
        database=str(folder / ".images.db"),
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
    written = [path for path in counts if path.name == "snapshot" or path.suffix == PARTIAL]
    assert sum(counts[path] for path in written) == 2


def test_calibration_reads_the_header_of_a_given_snapshot_once(tmp_path: Path) -> None:
    given = write_snapshot(tmp_path / "given.safetensors", "rgb")
    with opens() as counts:
        calibrate(tmp_path, given, [given], 2)
    # The header, all of it for its digest, and its samples for the sheet.
    assert counts[given] + counts[tmp_path / "snapshot"] == 3


@pytest.mark.parametrize("beside", [False, True])
def test_split_opens_the_model_once(tmp_path: Path, beside: bool) -> None:
    """For its metadata, its graph and all of its weights."""
    path = tmp_path / "m.onnx"
    onnx.save_model(detection(), path, save_as_external_data=beside, location="weights.bin")
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{number}\n" for number in range(5)))
    with opens() as counts:
        split.run(path, tmp_path / "split.onnx", tmp_path / "split.json", "m", None, str(labels), None)
    assert (counts[path], counts[tmp_path / "weights.bin"]) == (1, int(beside))


def test_inspect_opens_a_model_once(tmp_path: Path) -> None:
    path = save(detection(), tmp_path)
    with opens() as counts:
        assert describe(path)["endpoints"]
    assert counts[path] == 1
