"""Procedural scenes of five shapes: the one data set that can be committed, regenerated and published without asking
anybody.

Everything is drawn from `numpy`'s PCG64 seeded with (seed, index), so scene 17 of a seed is the same whoever asks and
whichever scenes were drawn before it. The three pools (training, calibration, held-out) differ in their seed only.

Truth: an object is what can be seen of it. Its mask is the visible part of its silhouette (the hollow middle of an
outlined shape is opaque and belongs to it), and its box is the extent of that mask, `x1 y1 x2 y2` in pixels with `x2
y2` exclusive. A shape that would leave an earlier one mostly hidden is not placed, so nothing lies half-seen in a
scene without being in the truth.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

__all__ = [
    "CALIBRATION_SEED",
    "CLASSES",
    "HELDOUT_SEED",
    "TRAINING_SEED",
    "USUAL",
    "WIDE",
    "Scene",
    "SceneObject",
    "Spread",
    "coco_truth",
    "jpeg_bytes",
    "make_scene",
    "write_data_set",
]

CLASSES = ("circle", "square", "triangle", "star", "cross")
SIZES = ((320, 240), (256, 256), (240, 320), (320, 320), (320, 180), (256, 192))  # width, height
TRAINING_SEED, CALIBRATION_SEED, HELDOUT_SEED = 1, 2, 3
LEAST_VISIBLE = 0.5  # share of a silhouette that must stay visible
LEAST_CONTRAST = 70.0  # Euclidean distance in RGB between a shape and what it lies on
JPEG_QUALITY = 84

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Spread:
    """How sizes are drawn: diameters in pixels of the circle around a shape, at most `share` of the short side.

    Diameters are even on a logarithmic scale, or crowd at the small end where the exponent `skew` is above 1. Less than
    `least_pixels` visible pixels make no object. `seed_offset` keeps the pools of one spread apart from another's.
    """

    smallest: float
    largest: float
    share: float
    least_pixels: int
    skew: float = 1.0
    seed_offset: int = 0


USUAL = Spread(smallest=18.0, largest=140.0, share=0.75, least_pixels=60)
WIDE = Spread(smallest=10.0, largest=320.0, share=1.25, least_pixels=24, skew=2.0, seed_offset=10)


@dataclass(frozen=True)
class SceneObject:
    """One visible shape: index into CLASSES and the extent of its visible pixels, x1 y1 x2 y2."""

    label: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """An image with its truth; `instances` holds object index + 1 per pixel, 0 for background."""

    image: NDArray[np.uint8]
    instances: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]


# --------------------------------------------------------------------------------------------------------------- shapes
# Each answers, for coordinates in units of the shape's radius, how deep inside the shape they lie (negative: outside).


def _circle(u: Floats, v: Floats) -> Floats:
    return np.asarray(1.0 - np.sqrt(u * u + v * v))


def _square(u: Floats, v: Floats) -> Floats:
    return np.asarray(0.75 - np.maximum(np.abs(u), np.abs(v)))


def _triangle(u: Floats, v: Floats) -> Floats:
    slope = np.sqrt(3.0) / 2.0
    return np.asarray(np.minimum(np.minimum(0.5 + v, 0.5 - v / 2 + slope * u), 0.5 - v / 2 - slope * u))


def _star(u: Floats, v: Floats) -> Floats:
    tenth = np.pi / 5
    radius, angle = np.sqrt(u * u + v * v), np.abs(np.mod(np.arctan2(u, v) + tenth, 2 * tenth) - tenth)
    inner = np.array([np.cos(tenth), np.sin(tenth)]) * 0.46
    edge = inner - np.array([1.0, 0.0])
    edge /= np.hypot(edge[0], edge[1])
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    return np.asarray(edge[1] * (1.0 - x) + edge[0] * y)


def _cross(u: Floats, v: Floats) -> Floats:
    long, short = 0.92, 0.3
    x, y = np.abs(u), np.abs(v)
    return np.maximum(np.minimum(long - x, short - y), np.minimum(short - x, long - y))


SHAPES: tuple[Callable[[Floats, Floats], Floats], ...] = (_circle, _square, _triangle, _star, _cross)

# ---------------------------------------------------------------------------------------------------------- backgrounds


def _grid(width: int, height: int) -> tuple[Floats, Floats]:
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    return columns, rows


def _gradient(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    angle = rng.uniform(0, 2 * np.pi)
    ramp = x * np.cos(angle) + y * np.sin(angle)
    return np.asarray((ramp - ramp.min()) / (ramp.max() - ramp.min()))


def _clouds(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    """Value noise: random lattices of growing fineness, bilinearly interpolated."""
    total = np.zeros_like(x)
    for octave, weight in ((48.0, 0.6), (20.0, 0.3), (7.0, 0.1)):
        columns, rows = x / octave, y / octave
        lattice = rng.uniform(0, 1, (int(rows.max()) + 2, int(columns.max()) + 2))
        c, r = columns.astype(int), rows.astype(int)
        fc, fr = columns - c, rows - r
        top = lattice[r, c] * (1 - fc) + lattice[r, c + 1] * fc
        total += weight * (top * (1 - fr) + (lattice[r + 1, c] * (1 - fc) + lattice[r + 1, c + 1] * fc) * fr)
    return total


def _stripes(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    angle, period, sharpness = rng.uniform(0, np.pi), rng.uniform(8, 40), rng.uniform(1, 4)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
    return np.asarray(np.clip(0.5 + 0.5 * sharpness * wave, 0, 1))


def _blobs(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    total = np.zeros_like(x)
    for _ in range(int(rng.integers(5, 13))):
        cx, cy, spread = rng.uniform(0, x.max()), rng.uniform(0, y.max()), rng.uniform(8, 45)
        total += np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * spread * spread))
    return np.asarray(np.clip(total, 0, 1))


def _tiles(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    angle, side = rng.uniform(0, np.pi / 2), rng.uniform(10, 36)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return np.asarray(np.mod(np.floor(u / side) + np.floor(v / side), 2))


TEXTURES = (_gradient, _clouds, _stripes, _blobs, _tiles)


def _background(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    """Two colours mixed by one texture, with a little of a second texture on top; H x W x 3, 0..255."""
    first, second = rng.integers(len(TEXTURES)), rng.integers(len(TEXTURES))
    mix = TEXTURES[first](rng, x, y) * 0.8 + TEXTURES[second](rng, x, y) * 0.2
    base = rng.uniform(20, 235, 3)
    other = np.clip(base + rng.uniform(-70, 70, 3), 0, 255)
    return np.asarray(base + mix[..., None] * (other - base))


# --------------------------------------------------------------------------------------------------------------- scenes


def _colour_unlike(rng: np.random.Generator, ground: Floats) -> Floats:
    """A colour that can be told from the mean colour it is painted on."""
    while True:
        colour: Floats = rng.uniform(0, 255, 3)
        if np.sqrt(((colour - ground) ** 2).sum()) >= LEAST_CONTRAST:
            return colour


def _radius(rng: np.random.Generator, spread: Spread, short_side: int) -> float:
    low, high = np.log(spread.smallest), np.log(min(spread.largest, spread.share * short_side))
    drawn = rng.uniform(low, high)
    if spread.skew != 1:
        drawn = low + (high - low) * ((drawn - low) / (high - low)) ** spread.skew
    return float(np.exp(drawn)) / 2


def _place(rng: np.random.Generator, spread: Spread, label: int, x: Floats, y: Floats) -> tuple[Floats, float]:
    """How deep every pixel lies inside a shape of random size, place and rotation; and the shape's radius."""
    height, width = x.shape
    radius = _radius(rng, spread, min(width, height))
    cx, cy = rng.uniform(0.5 * radius, width - 0.5 * radius), rng.uniform(0.5 * radius, height - 0.5 * radius)
    angle, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.9, 1.1)
    dx, dy = (x - cx) / radius, (y - cy) / radius
    u, v = dx * np.cos(angle) + dy * np.sin(angle), (dy * np.cos(angle) - dx * np.sin(angle)) * stretch
    return SHAPES[label](u, v) * radius, radius


def _paint(rng: np.random.Generator, canvas: Floats, behind: Floats, depth: Floats, radius: float) -> None:
    """Paint a filled shape, or an outline whose middle shows the bare background."""
    inside = depth > 0
    colour = _colour_unlike(rng, canvas[inside].mean(axis=0))
    shading = 1.0 + rng.uniform(-0.15, 0.15) * np.clip(depth / radius, 0, 1)
    alpha = np.clip(depth + 0.5, 0, 1)[..., None]
    painted = np.clip(colour * shading[..., None], 0, 255)
    if rng.uniform() < 0.3:
        thickness = max(2.5, radius * rng.uniform(0.14, 0.24))
        hollow = np.clip(depth - thickness + 0.5, 0, 1)[..., None]
        painted = painted * (1 - hollow) + behind * hollow
    canvas[:] = canvas * (1 - alpha) + painted * alpha


def _extent(mask: Bools) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _camera(rng: np.random.Generator, canvas: Floats, x: Floats, y: Floats) -> NDArray[np.uint8]:
    """Uneven light, then blur, then sensor noise."""
    low, high = rng.uniform(0.7, 1.0), rng.uniform(1.0, 1.2)
    lit = np.clip(canvas * (low + (high - low) * _gradient(rng, x, y))[..., None], 0, 255)
    image = Image.fromarray(np.rint(lit).astype(np.uint8))
    if rng.uniform() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.2))))
    noisy = np.asarray(image).astype(np.float64) + rng.normal(0, rng.uniform(0, 7), (*x.shape, 3))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def make_scene(seed: int, index: int, spread: Spread = USUAL) -> Scene:
    """Draw scene `index` of pool `seed`."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed + spread.seed_offset, index])))
    x, y = _grid(*SIZES[rng.integers(len(SIZES))])
    behind = _background(rng, x, y)
    canvas, labels, silhouettes = behind.copy(), list[int](), list[Bools]()
    owner = np.zeros(x.shape, np.uint8)
    for _ in range(int(rng.integers(1, 8))):
        label = int(rng.integers(len(CLASSES)))
        depth, radius = _place(rng, spread, label, x, y)
        silhouette = depth > 0
        after = np.where(silhouette, np.uint8(len(labels) + 1), owner)
        everyone = [*silhouettes, silhouette]
        seen = [int((after == number + 1).sum()) for number in range(len(everyone))]
        least = (max(spread.least_pixels, LEAST_VISIBLE * shape.sum()) for shape in everyone)
        if any(pixels < needed for pixels, needed in zip(seen, least, strict=True)):
            continue
        _paint(rng, canvas, behind, depth, radius)
        labels.append(label)
        silhouettes, owner = everyone, after
    objects = tuple(SceneObject(label, _extent(owner == number + 1)) for number, label in enumerate(labels))
    return Scene(_camera(rng, canvas, x, y), owner, objects)


# ------------------------------------------------------------------------------------------------------------- data set


def jpeg_bytes(image: NDArray[np.uint8]) -> bytes:
    """The file a camera would hand over."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return file.getvalue()


def write_data_set(folder: Path, calibration: int, heldout: int, spread: Spread = USUAL) -> None:
    """Write `calibration/NNNN.jpg`, `heldout/NNNN.jpg`, its truth as COCO has it (`heldout/truth.json`), and for each
    of its scenes the instance map `instances/NNNN.png`: these for the usual spread only, on which masks are learned."""
    for name in ("calibration", "heldout", *(["instances"] if spread == USUAL else [])):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(calibration):
        picture = make_scene(CALIBRATION_SEED, index, spread).image
        (folder / "calibration" / f"{index:04}.jpg").write_bytes(jpeg_bytes(picture))
    scenes = [make_scene(HELDOUT_SEED, index, spread) for index in range(heldout)]
    for index, scene in enumerate(scenes):
        (folder / "heldout" / f"{index:04}.jpg").write_bytes(jpeg_bytes(scene.image))
        if spread != USUAL:
            continue
        Image.fromarray(scene.instances).save(folder / "instances" / f"{index:04}.png", optimize=True)
    (folder / "heldout" / "truth.json").write_text(coco_truth(scenes), encoding="utf-8")


def coco_truth(scenes: Sequence[Scene]) -> str:
    """What is in the held-out scenes, as COCO has it: a box is x, y, width, height. Objects of a scene are in the order
    of its instance map."""
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for index, scene in enumerate(scenes):
        height, width = scene.instances.shape
        images.append({"id": index + 1, "file_name": f"{index:04}.jpg", "width": width, "height": height})
        for thing in scene.objects:
            x1, y1, x2, y2 = thing.box
            box = [x1, y1, x2 - x1, y2 - y1]
            annotations.append({
                "id": len(annotations) + 1, "image_id": index + 1, "category_id": thing.label + 1, "bbox": box,
                "area": box[2] * box[3], "iscrowd": 0,
            })  # fmt: skip
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)]
    sections = {"categories": categories, "images": images, "annotations": annotations}
    lists = (
        f' "{name}": [\n' + ",\n".join("  " + json.dumps(row) for row in rows) + "\n ]"
        for name, rows in sections.items()
    )
    return "{\n" + ",\n".join(lists) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the calibration and held-out scenes.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("models/scenes"))
    parser.add_argument("--calibration", type=int, default=288, help="number of calibration images")
    parser.add_argument("--heldout", type=int, default=64, help="number of held-out images")
    parser.add_argument("--wide", action="store_true", help="shapes of every size, without instance maps")
    arguments = parser.parse_args()
    spread = WIDE if arguments.wide else USUAL
    write_data_set(arguments.folder, arguments.calibration, arguments.heldout, spread)


if __name__ == "__main__":
    main()
