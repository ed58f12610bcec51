"""The step that calibrates: from images or from a snapshot that is there; what it writes, says, returns and refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from build_rules.calibration.snapshot.snapshot_file import open_snapshot
from build_rules.errors import InputError
from build_rules.records.split_json import ModelInput, Split, dump_split
from build_rules.steps import calibration
from tests.calibration.snapshot.test_given import write as write_given
from tests.calibration.snapshot.test_tiled import changed
from tests.records.test_records import SPLIT

NAME = "calibration-ds-1.safetensors"


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    folder = tmp_path / "pool"
    folder.mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def calibrate(tmp_path: Path) -> Any:
    """Run the step; what is named replaces what a plain build hands to it. Returns the files found, and the facts."""

    def run(
        source: Path | None, split: Split = SPLIT, pixels: dict[str, Any] | None = None, **changes: Any
    ) -> tuple[tuple[Path, ...], dict[str, Any]]:
        record = json.loads(dump_split(split))
        record["preprocessing"].update(pixels or {})
        (tmp_path / "split.json").write_text(json.dumps(record))
        images = sorted(source.iterdir()) if source is not None and source.is_dir() else [source] if source else []
        arguments: dict[str, Any] = {  # in the order in which the step takes them
            "split_json": tmp_path / "split.json",
            "images": tuple(images),
            "snapshot": tmp_path / "snapshot",
            "calibrated": tmp_path / "calibration.json",
            "chosen": tmp_path / "calibration-images.json",
            "sheet": tmp_path / "calibration.png",
            "source": None if source is None else str(source),
            "named_in": None,
            "count": 3,
            "skip_broken": False,
            "passed_over": "",
            "database": str(tmp_path / "images.db"),
            "final": str(tmp_path / "snapshot"),
        }
        further = calibration.run(*(arguments | changes).values())
        return further, json.loads((tmp_path / "calibration.json").read_text())

    return run


def chosen(folder: Path) -> Any:
    return json.loads((folder / "calibration-images.json").read_text())


def named(name: str | None) -> Split:
    """A model whose metadata name a snapshot."""
    return replace(SPLIT, preprocessing=replace(SPLIT.preprocessing, snapshot=name))


def test_a_snapshot_of_images(calibrate: Any, pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    further, facts = calibrate(pool)
    assert further == ()
    assert (facts["count"], facts["input_shape"], facts["resize"]) == (3, [64, 48], "letterbox")
    assert facts["file_name"].startswith("calibration-")
    assert open_snapshot(tmp_path / "snapshot").count == 3
    record = chosen(tmp_path)
    assert (len(record["images"]), record["pool"]) == (3, 4)
    with Image.open(tmp_path / "calibration.png") as sheet:
        assert sheet.width > 100
    assert capsys.readouterr().out == "   3 of 4 images selected\n"


@pytest.mark.parametrize(("count", "warned"), [(3, False), (4, False), (5, True)])
def test_fewer_images_than_wanted(
    calibrate: Any, pool: Path, capsys: pytest.CaptureFixture[str], count: int, warned: bool
) -> None:
    calibrate(pool, count=count)
    told = capsys.readouterr().out
    assert ("   warning: 4 calibration images, 5 wanted: " in told) == warned


def test_what_was_left_out_is_told(
    calibrate: Any, pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(pool / "0.png", pool / "9.png")
    (pool / "torn.png").write_bytes(b"\x89PNG")
    calibrate(pool, skip_broken=True, passed_over="1 .dng")
    told = capsys.readouterr().out
    assert "   6 images: 4 usable, 1 duplicate, 1 skipped (cannot be decoded)\n" in told
    assert "   3 of 4 images selected; passed over: 1 .dng\n" in told
    record = chosen(tmp_path)
    assert record["passed_over"] == "1 .dng"
    assert sorted(one["kind"] for one in record["left_out"]) == ["broken", "duplicate"]
    with pytest.raises(InputError, match=r"pool: 1 image cannot be decoded: torn\.png"):
        calibrate(pool)


@pytest.mark.parametrize("spare", [0, -1])
def test_a_snapshot_that_is_larger_than_producers_like(
    calibrate: Any,
    pool: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spare: int,
) -> None:
    assert calibration.LARGE_BYTES == 4 << 30
    calibrate(pool)
    monkeypatch.setattr(calibration, "LARGE_BYTES", (tmp_path / "snapshot").stat().st_size + spare)
    capsys.readouterr()
    calibrate(pool)
    assert ("warning: the snapshot has 0.0 GB" in capsys.readouterr().out) == (spare < 0)


def test_an_input_of_unknown_colours(calibrate: Any, tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/a.png").write_bytes(b"never read")
    split = replace(SPLIT, input=ModelInput("pair", (1, 2, 64, 48)))
    unknown = {"mean": [0.0, 0.0], "std": [1.0, 1.0], "color": None}
    with pytest.raises(InputError, match=r"pool: the model's input 'pair' has 2 channels.*cameraadaptor"):
        calibrate(tmp_path / "pool", split, unknown)
    assert not (tmp_path / "calibration.json").exists()


def test_a_snapshot_that_is_there(calibrate: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = write_given(tmp_path / NAME, None)
    further, facts = calibrate(given)
    assert (further, facts["file_name"], facts["count"]) == ((), NAME, 2)
    assert (tmp_path / "snapshot").read_bytes() == given.read_bytes()
    assert f"   {NAME}: 2 samples\n" in capsys.readouterr().out
    record = chosen(tmp_path)
    assert (record.get("pool"), record["images"]) == (None, [])
    assert (tmp_path / "calibration.png").stat().st_size


def test_of_several_snapshots_the_one_that_the_metadata_name(calibrate: Any, tmp_path: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    for name in ("calibration-a.safetensors", NAME, "calibration-z.safetensors"):
        write_given(folder / name, None)
    further, facts = calibrate(folder, named(NAME))
    assert (further, facts["file_name"]) == ((), NAME)
    with pytest.raises(InputError, match=r"given: holds 3 snapshots \(.*names none"):
        calibrate(folder, named(None))
    with pytest.raises(InputError, match=r"given: holds 3 snapshots \(.*names other"):
        calibrate(folder, named("other"))


def test_the_snapshot_that_the_metadata_name_is_returned_as_read(calibrate: Any, tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    given = write_given(tmp_path / "snapshots" / NAME, None)
    further, facts = calibrate(None, named(NAME), named_in=str(tmp_path / "snapshots"))
    assert (further, facts["file_name"]) == ((given,), NAME)
    with pytest.raises(InputError, match="there is nothing to calibrate from"):
        calibrate(None, named(None), named_in=str(tmp_path / "snapshots"))


@pytest.mark.parametrize(
    ("told", "ids"),
    [('["a", 3]', ["a", "3"]), ("[]", []), ("{}", []), ('"a"', []), ("[", []), ("[" * 99_999, []), (None, [])],
)
def test_names_of_the_samples_in_studio(calibrate: Any, tmp_path: Path, told: str | None, ids: list[str]) -> None:
    given = changed(tmp_path / NAME, {} if told is None else {"image_ids": told})
    calibrate(given)
    assert chosen(tmp_path).get("image_ids", []) == ids
