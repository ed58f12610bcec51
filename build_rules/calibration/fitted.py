"""The samples of one selected image: kept since it was looked at, found in a snapshot that holds them, or made anew.

An image is decoded once where it is known in time what is wanted of it: a pool of no more images than are wanted is
selected whole, and of an untiled model every image is one sample. Those are fitted while the picture is there for its
statistics, as many as `KEPT_BYTES` hold. Any other selected image is opened and decoded a second time.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray
from PIL import Image

from build_rules.calibration.frames import FramePlan, cut_samples, first_position, plan_frame
from build_rules.calibration.pixels.image_file import changed, open_image
from build_rules.calibration.pixels.images import decoded
from build_rules.calibration.pool.image_db import ImageDb, sample_key
from build_rules.calibration.pool.look_at import Member
from build_rules.calibration.pool.select import Choice
from build_rules.calibration.sheet import Thumbnail, thumbnail
from build_rules.calibration.snapshot.parameters import Parameters
from build_rules.errors import InputError

__all__ = ["PRODUCER", "Fitter", "Frame", "Sample"]

# Raised when equal parameters and pixels would give other bytes; a release that changes nothing here must not change
# the file.
PRODUCER = "hailo-build-rules-calibration/1"
RECIPE = ("color", "grid", "input_shape", "letterbox", "resize")
"""The parameters that decide the pixels of a sample, once it is known which image it is made of."""
KEPT_BYTES = 192 << 20
"""Bytes of all samples that wait in memory until the file is written: a hundred and sixty of 640x640."""

_Pixels = tuple[NDArray[np.uint8], str]
"""A sample (C, height, width), uint8, with its XXH3-128."""


@dataclass(frozen=True)
class Frame:
    """A selected image: why it was, and which samples it contributes."""

    member: Member
    choice: Choice
    plan: FramePlan


@dataclass(frozen=True)
class Sample:
    """A sample (C, height, width), uint8, its key and digest, and its picture."""

    pixels: NDArray[np.uint8]
    key: str
    digest: str
    picture: Thumbnail


class Fitter:
    """Makes the samples of one snapshot; methods may be called from several threads.

    `selects_all`: whatever image is looked at is selected.
    """

    def __init__(self, parameters: Parameters, image_db: ImageDb, *, selects_all: bool) -> None:
        self._parameters = parameters
        self._image_db = image_db
        self._fits_early = selects_all and parameters.grid is None
        self._shape = (parameters.channels, *parameters.input_shape)
        self._kept: dict[str, list[_Pixels]] = {}
        self._left = KEPT_BYTES
        self._lock = threading.Lock()

    def see(self, sha256: str, picture: Image.Image) -> None:
        """Fit a picture that is decoded for its statistics, if its samples are sure to be wanted."""
        if self._fits_early and self._may_keep(1):
            self._keep(sha256, np.asarray(picture), FramePlan((), True))

    def plan(self, member: Member, choice: Choice) -> Frame:
        """Decide which samples a selected image contributes. Of a tiled model, what seeded the selection is looked up.

        Raises `InputError` for an image that is no longer what it was.
        """
        frame = (member.height, member.width)
        if self._parameters.grid is None or not choice.extremes:
            return Frame(member, choice, plan_frame(frame, self._parameters, choice.index))
        with _pixels_of(member) as image:
            try:
                places = [first_position(image, extreme.channel, extreme.level) for extreme in choice.extremes]
            except InputError as error:
                raise error.within(member.path) from error
            plan = plan_frame(frame, self._parameters, choice.index, places)
            if self._may_keep(len(plan)):
                self._keep(member.sha256, image, plan)
        return Frame(member, choice, plan)

    def samples(self, frame: Frame, total: int) -> list[Sample]:
        """Return the samples of one image, of `total` in the file; it is decoded only when one of them lies nowhere."""
        keys = [sample_key(frame.member.sha256, recipe) for recipe in self._recipes(frame.plan)]
        with self._lock:
            made = self._kept.pop(frame.member.sha256, None)
        made = made or self._stored(keys) or self._made(frame)
        return [
            Sample(pixels, key, digest, thumbnail(pixels, self._parameters.color, total))
            for key, (pixels, digest) in zip(keys, made, strict=True)
        ]

    def _may_keep(self, count: int) -> bool:
        with self._lock:
            self._left -= count * math.prod(self._shape)
            return self._left >= 0

    def _keep(self, sha256: str, image: NDArray[np.uint8], plan: FramePlan) -> None:
        made = self._cut(image, plan)
        with self._lock:
            self._kept[sha256] = made

    def _stored(self, keys: Sequence[str]) -> list[_Pixels] | None:
        """Return samples as some snapshot holds them already, None when one is in none."""
        found = [self._image_db.sample(key, math.prod(self._shape)) for key in keys]
        stored = [(np.frombuffer(one[0], np.uint8).reshape(self._shape), one[1]) for one in found if one is not None]
        return stored if len(stored) == len(keys) else None

    def _made(self, frame: Frame) -> list[_Pixels]:
        with _pixels_of(frame.member) as image:
            return self._cut(image, frame.plan)

    def _cut(self, image: NDArray[np.uint8], plan: FramePlan) -> list[_Pixels]:
        samples = cut_samples(image, plan, self._parameters)
        return [(sample, xxhash.xxh3_128_hexdigest(sample.data)) for sample in samples]

    def _recipes(self, plan: FramePlan) -> list[dict[str, object]]:
        """Return, for each sample of a frame, everything that was done with the image."""
        members = self._parameters.as_mapping()
        common: dict[str, object] = {key: members.get(key) for key in RECIPE}
        return [{"producer": PRODUCER, **common, "tile": tile} for tile in (*plan.tiles, *[None] * plan.whole_frame)]


@contextmanager
def _pixels_of(member: Member) -> Iterator[NDArray[np.uint8]]:
    """Give the pixels (H, W, 3) of a selected image. Raises `InputError` when it is not the one that was looked at."""
    with open_image(member.path) as file:
        if file.sha256 != member.sha256:
            raise changed(member.path)
        with decoded(file) as picture:
            yield np.asarray(picture)
