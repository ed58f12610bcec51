"""The training pool: thousands of scenes drawn once, letterboxed, and kept as three plain arrays that two trainings
can share.

Drawing a scene costs as much as a training step, so it is paid once. The pool is reproducible and therefore never
committed.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.letterbox import fit, letterbox
from training.scenes import TRAINING_SEED, USUAL, Scene, Spread, jpeg_bytes, make_scene

__all__ = ["INPUT_SIZE", "MASK_SIZE", "MAX_OBJECTS", "Batch", "TrainingPool", "load_pool"]

INPUT_SIZE = 256
MASK_SIZE = 64
MAX_OBJECTS = 7


@dataclass(frozen=True)
class Batch:
    """Images N x 3 x H x W (uint8), boxes N x M x 4 in input pixels, labels N x M (-1 = none), maps N x 64 x 64."""

    images: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    instances: NDArray[np.uint8]


@dataclass(frozen=True)
class TrainingPool:
    """Memory-mapped arrays; `truth` rows are label, x1, y1, x2, y2 with label -1 where there is no object."""

    images: NDArray[np.uint8]
    instances: NDArray[np.uint8]
    truth: NDArray[np.float32]

    def epoch(self, rng: np.random.Generator, batch_size: int) -> Iterator[Batch]:
        """Every scene once, in random order, augmented; the remainder that fills no batch is left for another epoch."""
        order = rng.permutation(len(self.images))
        for start in range(0, len(order) - batch_size + 1, batch_size):
            chosen = [self._augmented(rng, int(i)) for i in order[start : start + batch_size]]
            images, instances, truth = (np.stack(part) for part in zip(*chosen, strict=True))
            yield Batch(
                images.transpose(0, 3, 1, 2),
                truth[..., 1:].astype(np.float32),
                truth[..., 0].astype(np.int64),
                instances,
            )

    def _augmented(
        self, rng: np.random.Generator, index: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
        """One of the eight symmetries of the square, then new gain and offset per colour channel."""
        image, instances, truth = self.images[index], self.instances[index], self.truth[index].copy()
        if rng.uniform() < 0.5:
            image, instances, truth = image[:, ::-1], instances[:, ::-1], truth[:, [0, 3, 2, 1, 4]]
            truth[:, [1, 3]] = INPUT_SIZE - truth[:, [1, 3]]
        if rng.uniform() < 0.5:
            image, instances, truth = image[::-1], instances[::-1], truth[:, [0, 1, 4, 3, 2]]
            truth[:, [2, 4]] = INPUT_SIZE - truth[:, [2, 4]]
        if rng.uniform() < 0.5:
            image, instances, truth = image.transpose(1, 0, 2), instances.T, truth[:, [0, 2, 1, 4, 3]]
        if rng.uniform() < 0.5:
            image = image[..., rng.permutation(3)]
        gain, offset = rng.uniform(0.8, 1.2, 3), rng.uniform(-20, 20, 3)
        table = np.clip(np.arange(256)[:, None] * gain + offset, 0, 255).astype(np.uint8)
        return table[image, np.arange(3)], instances, truth


def _sampled_instances(scene: Scene) -> NDArray[np.uint8]:
    """The instance map at the centres of the mask cells; 0 in the padding."""
    height, width = scene.instances.shape
    place = fit(width, height, INPUT_SIZE)
    centres = (np.arange(MASK_SIZE) + 0.5) * (INPUT_SIZE / MASK_SIZE)
    columns = np.floor((centres - place.left) / place.scale_x).astype(int)
    rows = np.floor((centres - place.top) / place.scale_y).astype(int)
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    picked = scene.instances[np.clip(rows, 0, height - 1)][:, np.clip(columns, 0, width - 1)]
    return np.where(inside, picked, 0).astype(np.uint8)


def _sample(index: int, spread: Spread) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """Scene `index`, through JPEG like every other picture the detectors will see."""
    scene = make_scene(TRAINING_SEED, index, spread)
    with Image.open(io.BytesIO(jpeg_bytes(scene.image))) as picture:
        image = letterbox(np.asarray(picture.convert("RGB")), INPUT_SIZE)
    truth = np.full((MAX_OBJECTS, 5), -1, np.float32)
    place = fit(scene.image.shape[1], scene.image.shape[0], INPUT_SIZE)
    for row, thing in enumerate(scene.objects):
        truth[row, 0], truth[row, 1:] = thing.label, place.to_square(np.array(thing.box, np.float64))
    return image, _sampled_instances(scene), truth


def load_pool(folder: Path, count: int, spread: Spread = USUAL) -> TrainingPool:
    """The pool of `count` scenes, drawn now if it is not there yet."""
    shapes = {"images": (INPUT_SIZE, INPUT_SIZE, 3), "instances": (MASK_SIZE, MASK_SIZE), "truth": (MAX_OBJECTS, 5)}
    mark = f"-{spread.seed_offset}" if spread.seed_offset else ""
    files = {name: folder / f"{name}-{count}{mark}.npy" for name in shapes}
    if not all(file.exists() for file in files.values()):
        folder.mkdir(parents=True, exist_ok=True)
        drawn = {
            name: np.lib.format.open_memmap(
                file.with_suffix(".part"),
                mode="w+",
                dtype=np.float32 if name == "truth" else np.uint8,
                shape=(count, *shapes[name]),
            )
            for name, file in files.items()
        }
        with Pool(os.cpu_count()) as workers:
            for index, sample in enumerate(workers.imap(partial(_sample, spread=spread), range(count), chunksize=16)):
                drawn["images"][index], drawn["instances"][index], drawn["truth"][index] = sample
        for name, file in files.items():
            drawn[name].flush()
            file.with_suffix(".part").replace(file)
    return TrainingPool(*(np.load(files[name], mmap_mode="r") for name in ("images", "instances", "truth")))
