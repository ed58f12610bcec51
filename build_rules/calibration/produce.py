"""From a folder of images to a snapshot file: select, fit, write; only parameters and selected pixels decide its bytes.

Neither the size of the pool, nor paths, nor time, nor the number of threads enters the file: adding an image that is
not selected writes the same bytes again, and what is built from them need not run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from build_rules.calibration.chosen import Chosen, ChosenImage, reason
from build_rules.calibration.frames import FramePlan, cut_samples, first_position, plan_frame
from build_rules.calibration.pixels.images import decoded
from build_rules.calibration.pool.image_db import Store, sample_key
from build_rules.calibration.pool.look_at import Member, Pool, look_at_pool
from build_rules.calibration.pool.marks import check_unchanged
from build_rules.calibration.pool.ordered import Progress, Workers
from build_rules.calibration.pool.select import Choice, Extreme, explain
from build_rules.calibration.pool.sources import list_images
from build_rules.calibration.sheet import Thumbnail, thumbnail
from build_rules.calibration.snapshot.parameters import Parameters, file_name, normalization_members
from build_rules.calibration.snapshot.snapshot_file import canonical_json, open_snapshot, write_snapshot
from build_rules.errors import InputError

__all__ = ["Summary", "produce_snapshot"]

# Raised when equal parameters and pixels would give other bytes; a release that changes nothing here must not change
# the file.
PRODUCER = "hailo-build-rules-calibration/1"
RECIPE = ("color", "grid", "input_shape", "letterbox", "resize")
"""The parameters that decide the pixels of a sample, once it is known which image it is made of."""


@dataclass(frozen=True)
class Summary:
    """What was done: where the snapshot is, what is told of it, and a small picture of each of its samples."""

    path: Path
    chosen: Chosen
    param_hash: str
    content_sha256: str
    pictures: Sequence[Thumbnail] = field(repr=False)

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
    known: Path | None = None,
    final: Path | None = None,
    tell: Callable[[str], None] = _silent,
) -> Summary:
    """Write the snapshot of the folder `images` to `output`; `tensor_name` is the name of the model's input.

    `pool` are the images, each with its name there (default: all that `list_images` finds). `known` is the file
    that keeps what one run finds out for the next ones, `final` where `output` will lie by then.

    Every image is decoded once for its statistics and, when selected, once more for its pixels: memory holds a few
    images per worker (default: one per processor), whatever the size of the pool. Raises `InputError` naming the
    images that cannot be decoded, unless `skip_broken`, and when no image is left.
    """
    found = [(name, images / name) for name in list_images(images)] if pool is None else pool
    store = Store(known)
    try:
        with Workers(workers) as threads:
            looked_at = look_at_pool(images, found, store, threads, skip_broken=skip_broken, tell=tell)
            frames = _plan(looked_at, parameters, threads)
            count = sum(len(frame.plan) for frame in frames)
            written = _Written()
            digest = write_snapshot(
                output,
                tensor_name,
                (count, parameters.channels, *parameters.input_shape),
                _samples(frames, parameters, store, threads, written, tell),
                _metadata(parameters, tensor_name, count),
            )
        _remember(store, final or output, output, written)
    finally:
        store.close()
    return Summary(output, _chosen(parameters, looked_at, frames), parameters.param_hash, digest, written.pictures)


@dataclass
class _Written:
    """What is known of the samples that were written, in their order."""

    keys: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    pictures: list[Thumbnail] = field(default_factory=list)


@dataclass(frozen=True)
class _Frame:
    """A selected image: why it was, and which samples it contributes."""

    member: Member
    choice: Choice
    plan: FramePlan


@dataclass(frozen=True)
class _Fitted:
    """A sample (C, height, width), uint8, its key and digest, and its picture."""

    pixels: NDArray[np.uint8]
    key: str
    digest: str
    picture: Thumbnail


def _plan(pool: Pool, parameters: Parameters, workers: Workers) -> list[_Frame]:
    """Select, and decide which samples each selected image contributes."""

    def plan(choice: Choice) -> _Frame:
        member = pool.members[choice.index]
        extremes = choice.extremes if parameters.grid is not None else ()
        pixels = _first_pixels(member, extremes)
        return _Frame(member, choice, plan_frame((member.height, member.width), parameters, choice.index, pixels))

    choices = explain([member.statistics for member in pool.members], parameters.count, parameters.seed)
    return list(workers.in_order(plan, choices))


def _first_pixels(member: Member, extremes: Sequence[Extreme]) -> list[tuple[int, int]]:
    if not extremes:
        return []
    with decoded(member.path) as image:
        try:
            found = [first_position(image, extreme.channel, extreme.level) for extreme in extremes]
        except InputError as error:
            raise error.within(member.path) from error
    check_unchanged(member.path, member.marks, member.sha256)
    return found


def _samples(
    frames: Sequence[_Frame],
    parameters: Parameters,
    store: Store,
    workers: Workers,
    written: _Written,
    tell: Callable[[str], None],
) -> Iterator[NDArray[np.uint8]]:
    """Yield the samples of the selected images in order, as some snapshot holds them already or made anew."""
    total = sum(len(frame.plan) for frame in frames)
    progress = Progress(len(frames), "selected images", tell)
    for fitted in workers.in_order(lambda frame: _fit(frame, parameters, store, total), frames):
        progress.step()
        for sample in fitted:
            written.keys.append(sample.key)
            written.digests.append(sample.digest)
            written.pictures.append(sample.picture)
            yield sample.pixels


def _fit(frame: _Frame, parameters: Parameters, store: Store, total: int) -> list[_Fitted]:
    """Return the samples of one image, of `total` in the file; it is decoded only when one of them lies nowhere."""
    shape = (parameters.channels, *parameters.input_shape)
    keys = [sample_key(frame.member.sha256, recipe) for recipe in _recipes(frame.plan, parameters)]
    found = [store.sample(key, math.prod(shape)) for key in keys]
    known = [(np.frombuffer(one[0], np.uint8).reshape(shape), one[1]) for one in found if one is not None]
    pixels = known if len(known) == len(keys) else _cut(frame, parameters)
    return [
        _Fitted(one, key, digest, thumbnail(one, parameters.color, total))
        for key, (one, digest) in zip(keys, pixels, strict=True)
    ]


def _cut(frame: _Frame, parameters: Parameters) -> list[tuple[NDArray[np.uint8], str]]:
    """Return samples that are made anew, each with its XXH3-128."""
    member = frame.member
    with decoded(member.path) as image:
        samples = cut_samples(image, frame.plan, parameters)
    check_unchanged(member.path, member.marks, member.sha256)
    return [(sample, xxhash.xxh3_128_hexdigest(sample.data)) for sample in samples]


def _recipes(plan: FramePlan, parameters: Parameters) -> list[dict[str, object]]:
    """Return, for each sample of a frame, everything that was done with the image."""
    members = parameters.as_mapping()
    common: dict[str, object] = {key: members.get(key) for key in RECIPE}
    return [{"producer": PRODUCER, **common, "tile": tile} for tile in (*plan.tiles, *[None] * plan.whole_frame)]


def _remember(store: Store, final: Path, output: Path, written: _Written) -> None:
    """Let the next run find these samples."""
    tensor = open_snapshot(output).tensors[0]
    size = (tensor.end - tensor.begin) // tensor.shape[0]
    store.keep_samples(final, tensor.begin, size, zip(written.keys, written.digests, strict=True))


def _chosen(parameters: Parameters, pool: Pool, frames: Sequence[_Frame]) -> Chosen:
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
