"""Folder of images, or snapshot -> calibration.safetensors, calibration.json."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from build_rules.calibrated import Calibrated, dump_calibrated
from build_rules.calibration.geometry import check_geometry
from build_rules.calibration.produce import Parameters, file_name, produce_snapshot
from build_rules.calibration.snapshot import Normalization, Snapshot, open_snapshot, verify_content
from build_rules.endpoints import Preprocessing, Split, load_split
from build_rules.errors import InputError

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
    """Make the snapshot from a folder of images, or check a given one; `images` are the files of `source`."""
    split = load_split(split_json)
    given = _choose(Path(source), images, split)
    if given.is_dir():
        name = _make(given, images, split, snapshot, count, skip_broken)
        facts = _check(snapshot, split, name)
    else:
        facts = _check(given, split, given.name)
        shutil.copyfile(given, snapshot)
    calibrated.write_text(dump_calibrated(facts), encoding="utf-8")


def _choose(given: Path, files: Sequence[Path], split: Split) -> Path:
    """Return the folder of images or the one snapshot to use; of several, the one that the ONNX metadata names."""
    if not given.is_dir() or files[0].suffix != ".safetensors":
        return given
    if len(files) == 1:
        return files[0]
    named = split.preprocessing.snapshot
    for file in files:
        if file.name == named:
            return file
    wanted = f"the ONNX metadata names {named}" if named else "the ONNX metadata names none"
    raise InputError(
        f"{given}: holds {len(files)} snapshots ({', '.join(file.name for file in files)}) and {wanted}; "
        "write which one to use as `calibration` into model.toml."
    )


def _make(folder: Path, images: Sequence[Path], split: Split, output: Path, count: int, skip_broken: bool) -> str:
    pixels, image = split.preprocessing, split.input
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
    names = [path.relative_to(folder).as_posix() for path in images]
    summary = produce_snapshot(folder, parameters, output, image.name, names=names, skip_broken=skip_broken)
    for line in summary.skipped:
        print(f"   skipped: {line}")
    advice = "" if len(summary.selected) >= count else f" ({count} wanted: more images calibrate better)"
    print(f"   {len(summary.selected)} of {summary.pool} images selected{advice}")
    return file_name(parameters)


def _check(path: Path, split: Split, name: str) -> Calibrated:
    snapshot = open_snapshot(path)
    verify_content(snapshot)
    tensor = snapshot.tensor(split.input.name)
    expected = (split.input.height, split.input.width)
    stored = None if tensor is None else tensor.shape
    geometry = check_geometry(snapshot.params, stored, expected, _tiling(split.preprocessing), source=str(path))
    _check_fit(snapshot, split)
    normalization = snapshot.normalization
    return Calibrated(
        file_name=name,
        count=snapshot.count,
        resize=geometry.resize,
        input_shape=geometry.input_shape,
        full_frame=geometry.full_frame,
        scale=normalization.scale,
        mean=normalization.mean,
        std=normalization.std,
    )


def _tiling(pixels: Preprocessing) -> dict[str, Any] | None:
    if pixels.tiling_mode is None:
        return None
    return {"version": 1, "mode": pixels.tiling_mode, "full_frame": {"enabled": pixels.full_frame}}


def _check_fit(snapshot: Snapshot, split: Split) -> None:
    tensor = snapshot.tensor(split.input.name)
    if tensor is not None and tensor.shape[1] != split.input.channels:
        raise InputError(
            f"{snapshot.path}: its samples have {tensor.shape[1]} channels, the model's input '{split.input.name}' has "
            f"{split.input.channels}; export the snapshot for this model."
        )
    if snapshot.dtype != "uint8":
        raise InputError(
            f"{snapshot.path}: holds {snapshot.dtype} samples in {list(snapshot.value_range)}, but compilers calibrate "
            "on pixels in [0, 255]; export it again as uint8."
        )
