"""A calibration snapshot that is there already: which one is meant, and whether it fits the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from build_rules.calibrated import Calibrated
from build_rules.calibration.geometry import check_geometry
from build_rules.calibration.snapshot import Snapshot, open_snapshot, verify_content
from build_rules.endpoints import Preprocessing, Split
from build_rules.errors import InputError

__all__ = ["check_snapshot", "choose_snapshot"]


def choose_snapshot(given: Path, files: Sequence[Path], split: Split) -> Path:
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


def check_snapshot(path: Path, split: Split, name: str) -> Calibrated:
    """Return what later steps need to know of a snapshot. Raises `InputError` when it is damaged or does not fit."""
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
