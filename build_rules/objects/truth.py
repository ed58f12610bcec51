"""What is in images, as people label it: YOLO's text files or one COCO JSON, in the pixels of the network's input.

Sources: https://docs.ultralytics.com/datasets/detect/ and /segment/ (a line is `class x y width height`, or `class` and
the corners of a polygon, in fractions of the picture), https://cocodataset.org/#format-data (`bbox` is x, y, width,
height in pixels of the picture).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from build_rules.errors import InputError
from build_rules.objects.coco_truth import read_coco
from build_rules.objects.found import Objects
from build_rules.objects.yolo_truth import read_yolo

__all__ = ["ImagePlace", "read_truth"]


@dataclass(frozen=True)
class ImagePlace:
    """Where a picture of `width` x `height` pixels lies in the network's input.

    Its point (x, y) is at (x * scale_x + left, y * scale_y + top) there.
    """

    width: int
    height: int
    scale_x: float
    scale_y: float
    left: float
    top: float


def read_truth(
    source: Path, images: Sequence[Path], places: Sequence[ImagePlace], labels: Sequence[str], classes: int
) -> tuple[Objects, ...]:
    """Return what is in each image, in pixels of the input, with scores of 1.

    `source` is a COCO JSON, or a folder with a text file for each image (in it or in `labels/` below it) as YOLO has
    them; an image without one holds nothing. `places` are those of the images, `labels` the names of the network's
    `classes`, if they have any. Raises `InputError`, with the file and the line, for what is neither, for classes that
    are not the network's, and when nothing is known of an image.
    """
    try:
        sizes = [(place.width, place.height) for place in places]
        if source.is_dir():
            found = read_yolo(source, images, sizes, labels, classes)
        else:
            found = read_coco(source, images, sizes, labels, classes)
    except OSError as error:
        raise InputError(f"{source}: the truth cannot be read ({error.strerror or error}).") from error
    return tuple(_placed(*one, place) for one, place in zip(found, places, strict=True))


def _placed(boxes: NDArray[np.float64], classes: NDArray[np.int64], place: ImagePlace) -> Objects:
    scale = np.array([place.scale_x, place.scale_y] * 2)
    return Objects(boxes * scale + [place.left, place.top] * 2, np.ones(len(classes)), classes)
