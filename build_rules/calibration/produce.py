"""From a folder of images to a snapshot file: select, fit, write; only parameters and selected pixels decide its bytes.

Neither the size of the pool, nor paths, nor time, nor the number of threads enters the file: adding an image that is
not selected writes the same bytes again, and what is built from them need not run.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from build_rules.calibration.images import count_levels, decode
from build_rules.calibration.letterbox import PAD, RESIZES, fit, place
from build_rules.calibration.select import ImageStatistics, describe, max_dynamic_range_v1
from build_rules.calibration.snapshot import Normalization, canonical_json, hash_params, write_snapshot
from build_rules.calibration.sources import list_images
from build_rules.errors import InputError

__all__ = ["Parameters", "Summary", "file_name", "produce_snapshot"]

# Raised when equal parameters and pixels would give other bytes; a release that changes nothing here must not change
# the file.
PRODUCER = "hailo-build-rules-calibration/1"
SELECTION = "max_dynamic_range_v1"

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Parameters:
    """The parameter set of a snapshot: everything but the pool that decides its bytes.

    `input_shape` is (height, width) in pixels; `normalization` is recorded, not applied; `dataset_id` None means a pool
    that is not a Studio data set; `count` is how many images to select (Hailo recommends 1024). `channels`, `layout`,
    `dtype`, `color` and `selection` are what this producer can make. Raises `InputError` for values that it cannot.
    """

    input_shape: tuple[int, int]
    normalization: Normalization
    dataset_id: str | None = None
    annotation_set_id: str | None = None
    split: str = "train"
    resize: str = "letterbox"
    count: int = 1024
    seed: int = 42
    channels: int = 3
    layout: str = "NCHW"
    dtype: str = "uint8"
    color: str = "rgb"
    selection: str = SELECTION

    def __post_init__(self) -> None:
        for key, allowed in _ALLOWED.items():
            if getattr(self, key) not in allowed:
                raise InputError(
                    f"calibration {key} {getattr(self, key)!r} is not possible "
                    f"(allowed: {', '.join(map(repr, allowed))})."
                )
        if len(self.input_shape) != 2 or not all(type(side) is int and side > 0 for side in self.input_shape):
            raise InputError(
                f"calibration input_shape {self.input_shape!r} is not possible (two positive integers: height, width)."
            )
        if type(self.count) is not int or self.count < 1:
            raise InputError(f"calibration count {self.count!r} is not possible (a positive integer).")
        # It becomes part of a file name.
        if self.dataset_id is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.dataset_id):
            raise InputError(
                f"calibration dataset_id {self.dataset_id!r} is not possible (letters, digits, '.', '_' and '-')."
            )
        _check_normalization(self.normalization, self.channels)

    @property
    def param_hash(self) -> str:
        """The 16 hexadecimal digits that name this parameter set."""
        return hash_params(self.canonical())

    def canonical(self) -> str:
        """Return the parameter set as the JSON text that is hashed and stored."""
        return canonical_json(self.as_mapping())

    def as_mapping(self) -> dict[str, Any]:
        """Return the members of `params`; the letterbox recipe is there only when it is used."""
        members: dict[str, Any] = {
            "annotation_set_id": self.annotation_set_id,
            "channels": self.channels,
            "color": self.color,
            "count": self.count,
            "dataset_id": self.dataset_id,
            "dtype": self.dtype,
            "input_shape": list(self.input_shape),
            "layout": self.layout,
            "normalization": _normalization_members(self.normalization),
            "resize": self.resize,
            "seed": self.seed,
            "selection": self.selection,
            "split": self.split,
        }
        return {**members, "letterbox": _LETTERBOX} if self.resize == "letterbox" else members


_ALLOWED: dict[str, tuple[object, ...]] = {
    "resize": RESIZES,
    "channels": (3,),
    "layout": ("NCHW",),
    "dtype": ("uint8",),
    "color": ("rgb",),
    "selection": (SELECTION,),
}
_LETTERBOX = {"pad_color": [PAD] * 3, "scale": "long_side", "round": "ceil", "center": True, "interpolation": "linear"}


def _check_normalization(normalization: Normalization, channels: int) -> None:
    numbers = (normalization.scale, *normalization.mean, *normalization.std)
    per_channel = len(normalization.mean) == len(normalization.std) == channels
    if not per_channel or not all(map(math.isfinite, numbers)) or min(normalization.scale, *normalization.std) <= 0:
        raise InputError(
            f"calibration normalization {normalization!r} is not possible ({channels} means, {channels} positive stds)."
        )


def _normalization_members(normalization: Normalization) -> dict[str, Any]:
    # 0 and 0.0 are one value but two texts, hence two hashes; published snapshots write whole numbers without a point.
    def plain(value: float) -> float:
        return int(value) if float(value).is_integer() else float(value)

    return {
        "scale": plain(normalization.scale),
        "mean": [plain(value) for value in normalization.mean],
        "std": [plain(value) for value in normalization.std],
    }


@dataclass(frozen=True)
class Summary:
    """What was done: selected images in file order (relative POSIX paths), pool size, a line per skipped image."""

    path: Path
    selected: tuple[str, ...]
    pool: int
    skipped: tuple[str, ...]
    param_hash: str
    content_sha256: str


def file_name(parameters: Parameters) -> str:
    """Return the conventional name, `calibration-{dataset_id or "local"}-{param_hash}.safetensors`."""
    return f"calibration-{parameters.dataset_id or 'local'}-{parameters.param_hash}.safetensors"


def produce_snapshot(
    images: Path,
    parameters: Parameters,
    output: Path,
    tensor_name: str,
    *,
    names: Sequence[str] | None = None,
    skip_broken: bool = False,
    workers: int | None = None,
) -> Summary:
    """Write the snapshot of the folder `images` to `output`; `tensor_name` is the name of the model's input.

    `names` are the pool's images, relative to the folder (default: all that `list_images` finds).

    Every image is decoded once for its statistics and, when selected, once more for its pixels: memory holds a few
    images per worker (default: one per processor), whatever the size of the pool. Raises `InputError` naming the first
    image that cannot be decoded, unless `skip_broken`, and when no image is left.
    """
    names = list_images(images) if names is None else names
    workers = workers or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(workers) as executor:
        ordered = partial(_in_order, executor, 2 * workers)
        described = ordered(lambda name: _describe(images / name, skip_broken), names)
        pool: list[tuple[str, ImageStatistics]] = []
        skipped: list[str] = []
        for name, outcome in zip(names, described, strict=True):
            if isinstance(outcome, ImageStatistics):
                pool.append((name, outcome))
            else:
                skipped.append(outcome)
        if not pool:
            raise InputError(f"{images}: none of its {len(names)} images can be decoded; the first: {skipped[0]}")
        indices = max_dynamic_range_v1([statistics for _, statistics in pool], parameters.count, parameters.seed)
        selected = tuple(pool[index][0] for index in indices)
        digest = write_snapshot(
            output,
            tensor_name,
            (len(selected), parameters.channels, *parameters.input_shape),
            ordered(lambda name: _sample(images / name, parameters), selected),
            _metadata(parameters, tensor_name, len(selected)),
        )
    return Summary(output, selected, len(pool), tuple(skipped), parameters.param_hash, digest)


def _describe(path: Path, skip_broken: bool) -> ImageStatistics | str:
    """Return the image's statistics, or why it is skipped."""
    try:
        return describe(count_levels(path))
    except InputError as error:
        if not skip_broken:
            raise
        return str(error)


def _sample(path: Path, parameters: Parameters) -> NDArray[np.uint8]:
    """Return the stored sample of one image: (C, height, width), uint8."""
    image = decode(path)
    placement = place((image.shape[0], image.shape[1]), parameters.input_shape, parameters.resize)
    return np.ascontiguousarray(fit(image, placement).transpose(2, 0, 1))


def _metadata(parameters: Parameters, tensor_name: str, count: int) -> dict[str, str]:
    """Everything in the string map but `content_sha256`; the keys of Studio's provenance belong to Studio's pools."""
    return {
        "count_actual": str(count),
        "count_requested": str(parameters.count),
        "dtype": parameters.dtype,
        "layout": parameters.layout,
        "normalization": canonical_json(_normalization_members(parameters.normalization)),
        "param_hash": parameters.param_hash,
        "params": parameters.canonical(),
        "producer": PRODUCER,
        "seed": str(parameters.seed),
        "selection": parameters.selection,
        "tensor_names": json.dumps([tensor_name]),
        "value_range": "[0, 255]",
    }


def _in_order(
    executor: ThreadPoolExecutor, window: int, function: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Iterator[_Result]:
    """Like `executor.map`, but at most `window` results ahead of the consumer, so that memory stays bounded."""
    pending: deque[Future[_Result]] = deque()
    try:
        for item in items:
            pending.append(executor.submit(function, item))
            if len(pending) >= window:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
