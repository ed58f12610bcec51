"""Images, or snapshot -> calibration.safetensors, calibration.json."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from build_rules.calibrated import dump_calibrated
from build_rules.calibration.parameters import Parameters, file_name
from build_rules.calibration.produce import produce_snapshot
from build_rules.calibration.snapshot import Normalization
from build_rules.calibration.sources import Pool, pool_of
from build_rules.endpoints import Split, load_split
from build_rules.errors import InputError
from build_rules.steps.given import check_snapshot, choose_snapshot

__all__ = ["run"]


def run(
    split_json: Path,
    images: Sequence[Path],
    snapshot: Path,
    calibrated: Path,
    source: str,
    count: int,
    skip_broken: bool,
) -> None:
    """Make the snapshot from images, or check a given one; `images` are the files of `source`."""
    split = load_split(split_json)
    pool = pool_of(Path(source), images)
    if pool.kind == "images":
        name = _make(pool, split, snapshot, count, skip_broken)
        facts = check_snapshot(snapshot, split, name)
    else:
        given = choose_snapshot(Path(source), images, split)
        facts = check_snapshot(given, split, given.name)
        shutil.copyfile(given, snapshot)
    calibrated.write_text(dump_calibrated(facts), encoding="utf-8")


def _make(pool: Pool, split: Split, output: Path, count: int, skip_broken: bool) -> str:
    folder, pixels, image = pool.folder, split.preprocessing, split.input
    if pixels.tiling_mode is not None:
        raise InputError(
            f"{folder}: the model's metadata has a tiling section ({pixels.tiling_mode}); tiles are not cut from "
            "a folder of images yet: name the snapshot that was exported with the model in `calibration`."
        )
    if image.channels != 3:
        raise InputError(
            f"{folder}: the model's input '{image.name}' has {image.channels} channels, but only RGB ones are made "
            "from images yet: name the snapshot that was exported with the model in `calibration`."
        )
    parameters = Parameters(
        input_shape=(image.height, image.width),
        normalization=Normalization(pixels.scale, pixels.mean, pixels.std),
        resize=pixels.resize,
        count=count,
    )
    summary = produce_snapshot(folder, parameters, output, image.name, names=pool.names, skip_broken=skip_broken)
    for line in summary.skipped:
        print(f"   skipped: {line}")
    advice = "" if len(summary.selected) >= count else f" ({count} wanted: more images calibrate better)"
    print(f"   {len(summary.selected)} of {summary.pool} images selected{advice}")
    return file_name(parameters)
