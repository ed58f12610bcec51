"""From a folder of images to a snapshot file: select, fit, write; only parameters and selected pixels decide its bytes.

Neither the size of the pool, nor paths, nor time, nor the number of threads enters the file: adding an image that is
not selected writes the same bytes again, and what is built from them need not run.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from build_rules.calibration.images import count_levels, decode
from build_rules.calibration.letterbox import fit, place
from build_rules.calibration.parameters import Parameters, normalization_members
from build_rules.calibration.select import ImageStatistics, describe, max_dynamic_range_v1
from build_rules.calibration.snapshot import canonical_json, write_snapshot
from build_rules.calibration.sources import list_images
from build_rules.errors import InputError

__all__ = ["Summary", "produce_snapshot"]

# Raised when equal parameters and pixels would give other bytes; a release that changes nothing here must not change
# the file.
PRODUCER = "hailo-build-rules-calibration/1"

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Summary:
    """What was done: selected images in file order (relative POSIX paths), pool size, a line per skipped image."""

    path: Path
    selected: tuple[str, ...]
    pool: int
    skipped: tuple[str, ...]
    param_hash: str
    content_sha256: str


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
        "normalization": canonical_json(normalization_members(parameters.normalization)),
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
