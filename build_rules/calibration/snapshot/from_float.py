"""An older snapshot, `float32` in [0, 1], as the `uint8` snapshot that compilers calibrate on.

The samples were scaled by whoever exported them: a stored value is pixel / 255, so `pixel = value * 255`, rounded half
to even. The normalization goes on to say what the model expects of pixels, `real = (pixel * scale - mean) / std`. In
these files its `scale` can mean two things, the factor that was applied (1/255) or that none is left to apply (1). Both
come to `real = (value - mean) / std`, and both become 1/255; any other factor would be a guess, and is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from build_rules.calibration.snapshot.snapshot_file import (
    Snapshot,
    canonical_json,
    hash_params,
    read_samples,
    write_snapshot,
)
from build_rules.errors import InputError
from build_rules.records.split_json import swapped_order

__all__ = ["check_scale", "write_pixels"]

SCALE = 1 / 255
# Published files write 1/255 with nine digits.
RELATIVE_ERROR = 1e-6


def check_scale(snapshot: Snapshot) -> float:
    """Return the scale that samples of a `float32` snapshot have once they are pixels.

    Raises `InputError` when its metadata do not tell.
    """
    scale = snapshot.normalization.scale
    if math.isclose(scale, SCALE, rel_tol=RELATIVE_ERROR):
        return scale
    if math.isclose(scale, 1.0, rel_tol=RELATIVE_ERROR):
        return SCALE
    raise InputError(
        f"{snapshot.path}: the metadata's 'normalization' has scale {scale}, but its samples are scaled to [0, 1], "
        "where it can only be 1/255, which was applied, or 1; export the snapshot again as uint8."
    )


def write_pixels(snapshot: Snapshot, name: str, output: Path, swapped_to: str | None = None) -> None:
    """Write the tensor `name` of a snapshot as `uint8` to `output`, with one sample in memory at a time.

    `swapped_to` names the colours that it is to have with red and blue swapped, None leaves them. Otherwise `params`
    and `param_hash` stay, since they say what the snapshot was made from; `converted_from` is the `content_sha256` of
    the samples as they were. Raises `InputError` as `check_scale` does, for a value that is not within [0, 1] and for
    an unknown tensor.
    """
    tensor = next(tensor for tensor in snapshot.tensors if tensor.name == name)
    channels = tensor.shape[1]
    order = list(range(channels)) if swapped_to is None else swapped_order(channels)
    scale = snapshot.normalization.scale if snapshot.dtype == "uint8" else check_scale(snapshot)
    normalization = replace(snapshot.normalization.in_order(order), scale=scale)
    kept = {key: value for key, value in snapshot.metadata.items() if key != "content_sha256"}
    metadata = {
        **kept,
        "converted_from": snapshot.content_sha256,
        "dtype": "uint8",
        "normalization": canonical_json(asdict(normalization)),
        "tensor_names": json.dumps([name]),
        "value_range": "[0, 255]",
    }
    if swapped_to is not None:
        params = canonical_json({**snapshot.params, "color": swapped_to})
        metadata |= {"params": params, "param_hash": hash_params(params)}
    samples = (sample[order] for sample in _pixels(snapshot, name))
    write_snapshot(output, name, tensor.shape, samples, metadata)


def _pixels(snapshot: Snapshot, name: str) -> Iterator[NDArray[np.uint8]]:
    for index, sample in enumerate(read_samples(snapshot, name)):
        if snapshot.dtype == "uint8":
            yield sample
            continue
        _check_values(snapshot, name, index, sample)
        yield np.rint(sample * np.float32(255)).astype(np.uint8)


def _check_values(snapshot: Snapshot, name: str, index: int, sample: NDArray[Any]) -> None:
    low, high = sample.min(), sample.max()
    if low >= 0 and high <= 1:  # neither is true of what is not a number
        return
    wrong = sample[~((sample >= 0) & (sample <= 1))][0]
    raise InputError(
        f"{snapshot.path}: sample {index} of tensor {name!r} holds {wrong}, but the metadata's 'value_range' is "
        "[0, 1]; export the snapshot again."
    )
