"""Labels as YOLO has them: a text file for each image, a line for each object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from build_rules.errors import InputError
from build_rules.regular_file import read_small

__all__ = ["MAX_LABEL_BYTES", "read_yolo"]

MAX_LABEL_BYTES = 4 << 20
"""Of one image: a thousand polygons of a hundred corners have two million."""
SLACK = 0.01
"""How far outside of the picture a label may lie, as a part of it; Ultralytics takes as much."""
NAMES = "classes.txt"
"""The names of the classes, one a line, as labelling programs write them beside the labels."""
BOX_NUMBERS, POLYGON_NUMBERS = 4, 6

Found = tuple[NDArray[np.float64], NDArray[np.int64]]


def read_yolo(
    folder: Path, images: Sequence[Path], sizes: Sequence[tuple[int, int]], labels: Sequence[str], count: int
) -> list[Found]:
    """Return boxes [K, 4] x1 y1 x2 y2 in pixels and classes [K] of each image of `sizes` (width, height).

    Classes are the network's `count`, in its order, unless `classes.txt` lies beside the labels and names them in
    another. Raises `InputError` for lines that are none, for classes that the network does not have, for two images of
    one name and when there is a file for no image at all.
    """
    below = folder / "labels"
    folder = below if below.is_dir() else folder
    stems = [image.stem for image in images]
    if len({*stems}) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise InputError(f"{folder}: two of the images are called {twice!r}, and one file of labels cannot be of both.")
    files = [folder / f"{stem}.txt" for stem in stems]
    if files and not any(file.exists() for file in files):
        raise InputError(
            f"{folder}: no labels of the images are here; a text file called like the image was expected for each, "
            f"such as {files[0].name}. A COCO JSON is named itself, not its folder."
        )
    order = _order(folder / NAMES, labels) if labels else [*range(count)]
    return [_read(file, size, order, count) for file, size in zip(files, sizes, strict=True)]


def _order(file: Path, labels: Sequence[str]) -> list[int]:
    """Return for each class of the files which one of the network it is, -1 for none."""
    if not file.exists():
        return [*range(len(labels))]
    lines = [name.strip() for _, name in _lines(file)]
    while lines and not lines[-1]:
        lines.pop()
    known = {name.strip(): index for index, name in enumerate(labels)}
    if not known.keys() & {*lines}:
        raise InputError(
            f"{file}: none of its classes ({', '.join(repr(n[:40]) for n in lines[:3])}, ...) is one of the network's "
            f"({', '.join(map(repr, labels[:3]))}, ...)."
        )
    return [known.get(name, -1) for name in lines]


def _read(file: Path, size: tuple[int, int], order: Sequence[int], count: int) -> Found:
    boxes, classes = [], []
    if file.exists():
        for number, line in _lines(file):
            if line.strip():
                label, box = _object(f"{file}:{number}", line, order, count)
                boxes.append(box)
                classes.append(label)
    scale = np.array([*size, *size], np.float64)
    return np.array(boxes, np.float64).reshape(-1, 4) * scale, np.array(classes, np.int64)


def _object(where: str, line: str, order: Sequence[int], count: int) -> tuple[int, tuple[float, float, float, float]]:
    """Return the class and x1 y1 x2 y2 in fractions of the picture."""
    try:
        first, *rest = map(float, line.split())
    except ValueError:
        raise InputError(f"{where}: {line[:60]!r} holds something else than numbers.") from None
    if not first.is_integer() or not 0 <= first < len(order) or order[int(first)] < 0:
        raise InputError(
            f"{where}: the class {line.split()[0][:20]} is none of the network's, which has {count}, counted from 0."
        )
    if not all(-SLACK <= value <= 1 + SLACK for value in rest):
        raise InputError(f"{where}: labels are fractions of the picture, and not all of these numbers lie in 0..1.")
    if len(rest) == BOX_NUMBERS:
        x, y, width, height = rest
        return order[int(first)], (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    if len(rest) >= POLYGON_NUMBERS and len(rest) % 2 == 0:
        across, down = rest[0::2], rest[1::2]
        return order[int(first)], (min(across), min(down), max(across), max(down))
    raise InputError(
        f"{where}: {1 + len(rest)} numbers are neither a box (class x y width height) nor a polygon (class and the x y "
        "of three corners or more)."
    )


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    text = read_small(file, MAX_LABEL_BYTES, "the labels of an image")
    try:
        yield from enumerate(text.decode("utf-8-sig").splitlines(), 1)
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: is no text (UTF-8): {error.reason} at byte {error.start}.") from error
