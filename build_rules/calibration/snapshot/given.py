"""A calibration snapshot that is there already: which one is meant, and whether it fits the model."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from build_rules.calibration.snapshot.find_named import find_named, is_plain
from build_rules.calibration.snapshot.from_float import check_scale, write_pixels
from build_rules.calibration.snapshot.geometry import check_geometry
from build_rules.calibration.snapshot.snapshot_file import Snapshot, open_snapshot, verify_content
from build_rules.errors import InputError, printable
from build_rules.records.calibration_json import Calibrated, Geometry
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import CAMERA_ADAPTORS, SWAPPED_COLORS, Split, swapped_order

__all__ = ["UsedSnapshot", "check_produced", "choose_snapshot", "find_snapshot", "use_snapshot"]


def choose_snapshot(given: Path, files: Sequence[Path], split: Split) -> Path:
    """Return the snapshot that `given` is or holds; of several, the one that the ONNX metadata names."""
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


def find_snapshot(folder: Path, split: Split) -> Path:
    """Return the snapshot that the ONNX metadata names, in the folder of the repository's snapshots.

    Raises `InputError` when it names none, or when it is not there.
    """
    named = split.preprocessing.snapshot
    if named is None:
        raise InputError(
            f"there is nothing to calibrate from: the ONNX metadata names no snapshot that could be in {folder}; put a "
            "calibration-*.safetensors or a folder of images named calibration beside the ONNX, or name one in "
            "`calibration`."
        )
    return find_named(folder, named)


@dataclass(frozen=True)
class UsedSnapshot:
    """The snapshot that is the build's, where it lies now, and what later steps need to know of it."""

    snapshot: Snapshot
    facts: Calibrated


def use_snapshot(path: Path, split: Split, output: Path) -> UsedSnapshot:
    """Check a given snapshot and make it the build's: as it lies there, as pixels when it holds scaled ones.

    `output` becomes a symbolic link in the first case, which whoever runs the step publishes as one.
    Raises `InputError` when it is damaged or does not fit.
    """
    if not is_plain(path.name):
        raise InputError(
            f"{path}: the name of a calibration snapshot is recorded in the metadata, so it has to be plain text; "
            "rename the file."
        )
    snapshot = open_snapshot(path)
    geometry = _fitted_geometry(snapshot, split)
    named = split.preprocessing.snapshot
    if named not in (None, path.name):
        print(f"   warning: {path.name} is used, though the ONNX metadata names {printable(str(named))}")
    wanted, fitted = split.preprocessing.resize, geometry.resize
    if fitted != wanted:
        print(
            f"   warning: the frames of {path.name} are fitted by {fitted}, though the ONNX metadata says {wanted}: "
            "ranges may not be those of what the network will see"
        )
    print(f"   {path.name}: {snapshot.count} {'sample' if snapshot.count == 1 else 'samples'}")
    # Last, because only this reads all of what may be gigabytes.
    verify_content(snapshot)
    turned = _is_turned(snapshot, split)
    if snapshot.dtype == "uint8" and not turned:
        _lead_to(path, output)
        used = replace(snapshot, path=output)
    else:
        write_pixels(snapshot, split.input.name, output, split.preprocessing.color if turned else None)
        used = open_snapshot(output)
    if snapshot.dtype != "uint8":
        print(f"   {path.name}: {snapshot.dtype} in {list(snapshot.value_range)}, calibrated on as uint8 pixels")
    if turned:
        print(f"   {path.name}: calibrated on as {split.preprocessing.color}, since the chip begins behind the swap")
    return UsedSnapshot(used, _facts(snapshot, geometry, path.name, _normalization(snapshot, split, turned)))


def _lead_to(path: Path, output: Path) -> None:
    """Leave a symbolic link, where there can be one that leads to the file; a copy where there cannot."""
    with suppress(OSError):
        output.symlink_to(path.resolve())
        if output.samefile(path):
            return
    output.unlink(missing_ok=True)
    shutil.copyfile(path, output)


def check_produced(snapshot: Snapshot, split: Split, name: str) -> Calibrated:
    """Return what later steps need to know of a snapshot that this process has just written.

    `name` is its conventional file name. Raises `InputError` when it does not fit.
    """
    geometry = _fitted_geometry(snapshot, split)
    return _facts(snapshot, geometry, name, snapshot.normalization)


def _is_turned(snapshot: Snapshot, split: Split) -> bool:
    """Say whether the samples are in the order of the graph's input, which its front swaps: the chip's is the other."""
    if split.front is None or not split.front.swapped:
        return False
    return snapshot.params.get("color") in (None, _own_color(split))


def _own_color(split: Split) -> str | None:
    """Return the colours of the graph's own input."""
    return SWAPPED_COLORS.get(str(split.preprocessing.color))


def _fitted_geometry(snapshot: Snapshot, split: Split) -> Geometry:
    """Return the geometry of a snapshot that fits the model."""
    tensor = snapshot.tensor(split.input.name)
    expected = (split.input.height, split.input.width)
    stored = None if tensor is None else tensor.shape
    geometry = check_geometry(
        snapshot.params,
        stored,
        expected,
        split.preprocessing.tiling,
        source=str(snapshot.path),
        wanted_tensor=f"'{split.input.name}' (it has: {', '.join(tensor.name for tensor in snapshot.tensors)})",
    )
    _check_fit(snapshot, split)
    return geometry


def _normalization(snapshot: Snapshot, split: Split, turned: bool) -> Normalization:
    """Return what is to be done to the pixels: what the snapshot says, unless the graph or `model.toml` knows better.

    Raises `InputError` when the ONNX metadata say that nothing is, and the snapshot that something is.
    """
    scale = snapshot.normalization.scale if snapshot.dtype == "uint8" else check_scale(snapshot)
    own, channels = snapshot.normalization, split.input.channels
    order: Sequence[int] = swapped_order(channels) if turned else range(channels)
    stated = replace(own.in_order(order), scale=scale)
    wanted = split.preprocessing.normalization
    if _is_close(stated, wanted):
        return stated
    both = f"the normalization in it is {_shown(stated)}, but the model's input is {_shown(wanted)}"
    if split.preprocessing.word is not None:
        print(f"   warning: {snapshot.path.name}: {both}, as the graph or [input] in model.toml says; that is done")
        return wanted
    if wanted.scale == 1:
        raise InputError(
            f"{snapshot.path}: {both} (pixels as they are: validation.normalization); write which one is right as "
            "normalization under [input] in model.toml."
        )
    return stated


def _is_close(first: Normalization, second: Normalization) -> bool:
    pairs = zip(first.in_pixels(), second.in_pixels(), strict=True)
    return all(abs(a - b) <= 1e-4 * (1 + abs(a)) for these, those in pairs for a, b in zip(these, those, strict=True))


def _shown(normalization: Normalization) -> str:
    mean, std = ([float(f"{value:.6g}") for value in values] for values in normalization.in_pixels())
    return f"(pixel - {mean}) / {std}"


def _facts(snapshot: Snapshot, geometry: Geometry, name: str, normalization: Normalization) -> Calibrated:
    return Calibrated(
        file_name=name,
        count=snapshot.count,
        geometry=geometry,
        normalization=normalization,
    )


def _check_fit(snapshot: Snapshot, split: Split) -> None:
    image, tensor = split.input, snapshot.tensor(split.input.name)
    if tensor is not None and tensor.shape[1] != image.channels:
        raise InputError(
            f"{snapshot.path}: its samples have {tensor.shape[1]} channels, the model's input '{image.name}' has "
            f"{image.channels}; export the snapshot for this model."
        )
    if len(snapshot.normalization.mean) != image.channels:
        raise InputError(
            f"{snapshot.path}: the metadata's 'normalization' is for {len(snapshot.normalization.mean)} channels, the "
            f"model's input '{image.name}' has {image.channels}; export the snapshot for this model."
        )
    if len(snapshot.tensors) > 1:
        return  # of which input the colours are told is not said
    color, wanted = snapshot.params.get("color"), split.preprocessing.color
    if CAMERA_ADAPTORS.get(str(color), image.channels) != image.channels:
        raise InputError(
            f"{snapshot.path}: params.color is {color!r}, which has other than the {image.channels} channels that are "
            "stored; export the snapshot again."
        )
    if None not in (color, wanted) and color != wanted and not _is_turned(snapshot, split):
        raise InputError(
            f"{snapshot.path}: params.color is {color!r}, but the model takes its pixels as {wanted!r} "
            "(input.cameraadaptor); use a snapshot exported for this model."
        )
