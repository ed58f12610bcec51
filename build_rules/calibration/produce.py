"""From a folder of images to a snapshot file: select, fit, write; only parameters and selected pixels decide its bytes.

Neither the size of the pool, nor paths, nor time, nor the number of threads enters the file: adding an image that is
not selected writes the same bytes again, and what is built from them need not run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from build_rules.calibration.chosen import Chosen, ChosenImage, reason
from build_rules.calibration.fitted import PRODUCER, Fitter, Frame
from build_rules.calibration.pool.image_db import ImageDb
from build_rules.calibration.pool.look_at import Pool, look_at_pool
from build_rules.calibration.pool.ordered import Progress, Workers
from build_rules.calibration.pool.select import max_dynamic_range_v1
from build_rules.calibration.pool.sources import list_images
from build_rules.calibration.sheet import Thumbnail
from build_rules.calibration.snapshot.parameters import Parameters, file_name, normalization_members
from build_rules.calibration.snapshot.snapshot_file import Snapshot, canonical_json, open_snapshot, write_snapshot

__all__ = ["Summary", "produce_snapshot"]


@dataclass(frozen=True)
class Summary:
    """What was done: the snapshot as it lies there, what is told of it, and a small picture of each of its samples."""

    snapshot: Snapshot
    chosen: Chosen
    pictures: Sequence[Thumbnail] = field(repr=False)

    @property
    def path(self) -> Path:
        """Where the snapshot lies."""
        return self.snapshot.path

    @property
    def selected(self) -> tuple[str, ...]:
        """The names of the selected images, in the order of the file."""
        return tuple(image.name for image in self.chosen.images)


def _silent(text: str) -> None:
    """Nobody wants to know how far it is."""


def produce_snapshot(
    images: Path,
    parameters: Parameters,
    output: Path,
    tensor_name: str,
    *,
    pool: Sequence[tuple[str, Path]] | None = None,
    skip_broken: bool = False,
    workers: int | None = None,
    database: Path | None = None,
    final: Path | None = None,
    tell: Callable[[str], None] = _silent,
) -> Summary:
    """Write the snapshot of the folder `images` to `output`; `tensor_name` is the name of the model's input.

    `pool` are the images, each with its name there (default: all that `list_images` finds). `database` is the file
    that keeps what one run finds out for the next ones, `final` where `output` will lie by then.

    Every image is decoded once for its statistics and, when selected, once more for its pixels, if that was not known
    in time: memory holds a few images per worker (default: one per processor) and a bounded number of samples, whatever
    the size of the pool. Raises `InputError` naming the images that cannot be decoded, unless `skip_broken`, and when
    no image is left.
    """
    candidates = [(name, images / name) for name in list_images(images)] if pool is None else pool
    image_db = ImageDb(database)
    try:
        with Workers(workers) as threads:
            fitter = Fitter(parameters, image_db, selects_all=len(candidates) <= parameters.count)
            looked_at = look_at_pool(
                images, candidates, image_db, threads, skip_broken=skip_broken, tell=tell, show=fitter.see
            )
            choices = max_dynamic_range_v1(
                [member.statistics for member in looked_at.members], parameters.count, parameters.seed
            )
            frames = list(threads.in_order(lambda one: fitter.plan(looked_at.members[one.index], one), choices))
            count = sum(len(frame.plan) for frame in frames)
            written = _Written()
            write_snapshot(
                output,
                tensor_name,
                (count, parameters.channels, *parameters.input_shape),
                _samples(frames, fitter, threads, written, tell),
                _metadata(parameters, tensor_name, count),
            )
        snapshot = open_snapshot(output)
        _remember(image_db, final or output, snapshot, written)
    finally:
        image_db.close()
    return Summary(snapshot, _chosen(parameters, looked_at, frames), written.pictures)


@dataclass
class _Written:
    """What is known of the samples that were written, in their order."""

    keys: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    pictures: list[Thumbnail] = field(default_factory=list)


def _samples(
    frames: Sequence[Frame], fitter: Fitter, workers: Workers, written: _Written, tell: Callable[[str], None]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the samples of the selected images in order."""
    total = sum(len(frame.plan) for frame in frames)
    progress = Progress(len(frames), "selected images", tell)
    for samples in workers.in_order(lambda frame: fitter.samples(frame, total), frames):
        progress.step()
        for sample in samples:
            written.keys.append(sample.key)
            written.digests.append(sample.digest)
            written.pictures.append(sample.picture)
            yield sample.pixels


def _remember(image_db: ImageDb, final: Path, snapshot: Snapshot, written: _Written) -> None:
    """Let the next run find these samples."""
    tensor = snapshot.tensors[0]
    size = (tensor.end - tensor.begin) // tensor.shape[0]
    image_db.keep_samples(final, tensor.begin, size, zip(written.keys, written.digests, strict=True))


def _chosen(parameters: Parameters, pool: Pool, frames: Sequence[Frame]) -> Chosen:
    return Chosen(
        snapshot=file_name(parameters),
        pool=len(pool.members),
        requested=parameters.count,
        images=tuple(
            ChosenImage(
                frame.member.name, frame.member.sha256, len(frame.plan), frame.choice.order, reason(frame.choice)
            )
            for frame in frames
        ),
        left_out=pool.left_out,
    )


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
