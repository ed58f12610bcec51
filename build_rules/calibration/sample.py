"""One real calibration sample as a network takes it, for whoever wants to try the network on something real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from build_rules.calibration.pixels.adaptor import convert
from build_rules.calibration.pixels.images import decode
from build_rules.calibration.pixels.letterbox import RESIZES, fit, place
from build_rules.calibration.pool.sources import list_sources, sources_of
from build_rules.calibration.snapshot.snapshot_file import open_snapshot, read_samples
from build_rules.errors import InputError
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import CAMERA_ADAPTORS

__all__ = ["read_sample"]

MAX_TRIED = 8


def read_sample(
    calibration: Path,
    shape: tuple[int, int, int],
    resize: str,
    normalization: Normalization,
    color: str | None = "rgb",
    name: str | None = None,
) -> NDArray[np.float32] | None:
    """Return the first usable sample, normalized: (1, C, H, W), float32; None when there is none.

    `calibration` is what `list_sources` takes, `shape` (C, H, W), `color` the camera adaptor, None when it is not
    known, `name` the input's: of a snapshot for several inputs it tells which tensor is meant (default: the first).
    What is wrong with calibration material is told by the step that calibrates.
    """
    try:
        sources = sources_of(calibration, list_sources(calibration))
    except (InputError, OSError):
        return None
    for path in sources.files[:MAX_TRIED]:
        try:
            if sources.kind == "snapshots":
                return _from_snapshot(path, shape, name)
            return _from_image(path, shape, resize, normalization, color)
        except (InputError, OSError):
            continue
    return None


def _from_snapshot(path: Path, shape: tuple[int, int, int], name: str | None) -> NDArray[np.float32]:
    snapshot = open_snapshot(path)
    sample = next(read_samples(snapshot, name))
    if sample.shape != shape or len(snapshot.normalization.mean) != shape[0]:
        raise InputError(f"{path}: holds no sample of shape {shape}.")
    return _normalized(sample[None], snapshot.normalization, snapshot.dtype == "float32")


def _from_image(
    path: Path, shape: tuple[int, int, int], resize: str, normalization: Normalization, color: str | None
) -> NDArray[np.float32]:
    channels, height, width = shape
    if color is None or CAMERA_ADAPTORS[color] != channels:
        raise InputError(f"{path}: is not made into {channels} channels by the camera adaptor {color!r}.")
    image = decode(path)
    # Tiles are cut elsewhere; a whole frame shows the network as much that is real.
    fitted = fit(
        image, place((image.shape[0], image.shape[1]), (height, width), resize if resize in RESIZES else "letterbox")
    )
    return _normalized(convert(fitted, color)[None], normalization, False)


def _normalized(pixels: NDArray[np.generic], normalization: Normalization, scaled: bool) -> NDArray[np.float32]:
    mean = np.array(normalization.mean, np.float32).reshape(1, -1, 1, 1)
    std = np.array(normalization.std, np.float32).reshape(1, -1, 1, 1)
    scale = 1.0 if scaled else normalization.scale
    return np.asarray((pixels.astype(np.float32) * np.float32(scale) - mean) / std, dtype=np.float32)
