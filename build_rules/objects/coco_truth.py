"""Labels as COCO has them: one JSON for all images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import inf, isfinite
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from build_rules.errors import InputError
from build_rules.regular_file import read_small

__all__ = ["MAX_COCO_BYTES", "read_coco"]

MAX_COCO_BYTES = 64 << 20
"""COCO's own file of 5,000 images has 20 million; parsed, it takes ten times as much."""

Found = tuple[NDArray[np.float64], NDArray[np.int64]]
Document = Mapping[str, Any]


def read_coco(
    file: Path, images: Sequence[Path], sizes: Sequence[tuple[int, int]], labels: Sequence[str], count: int
) -> list[Found]:
    """Return boxes [K, 4] x1 y1 x2 y2 in pixels and classes [K] of each image of `sizes` (width, height).

    Images are found by `file_name`, categories by their names: those of the network and those of the file, the ones
    must hold the others. Without `labels` of the network, categories count in the order of their numbers, and there
    must be `count`. Crowds are left out, as COCO's own evaluation leaves them. Raises `InputError` for what is no such
    file, and for an image that is not in it or that is in it with another size.
    """
    document = _load(file)
    try:
        entries = _by_name(document["images"])
        numbers = [_find(file, entries, image, size) for image, size in zip(images, sizes, strict=True)]
        classes = _classes(file, document, labels, count)
        boxes: dict[int, list[tuple[float, ...]]] = {number: [] for number in numbers}
        for place, annotation in enumerate(document["annotations"]):
            number, crowd = annotation["image_id"], annotation.get("iscrowd")
            if number in boxes and not crowd and annotation["category_id"] in classes:
                label = classes[annotation["category_id"]]
                boxes[number].append((*_box(f"{file}: annotations[{place}]", annotation["bbox"]), label))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise InputError(
            f"{file}: is no COCO JSON of boxes ({error!r:.200}); see https://cocodataset.org/#format-data."
        ) from error
    arrays = [np.array(boxes[number], np.float64).reshape(-1, 5) for number in numbers]
    return [(array[:, :4], array[:, 4].astype(np.int64)) for array in arrays]


def _load(file: Path) -> Document:
    text = read_small(file, MAX_COCO_BYTES, "the labels of images")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{file}: is neither a folder with labels as YOLO has them nor a COCO JSON ({error})."
        ) from error
    lists = ("images", "annotations", "categories")
    if not isinstance(document, dict) or not all(isinstance(document.get(key), list) for key in lists):
        raise InputError(f'{file}: is no COCO JSON: it needs the lists "images", "annotations" and "categories".')
    return document


def _by_name(entries: Sequence[Document]) -> dict[str, list[Document]]:
    """Return the entries of the images by the last part of their names."""
    found: dict[str, list[Document]] = {}
    for entry in entries:
        found.setdefault(PurePosixPath(entry["file_name"]).name, []).append(entry)
    return found


def _find(file: Path, entries: Mapping[str, Sequence[Document]], image: Path, size: tuple[int, int]) -> int:
    """Return the number by which annotations name an image."""
    called = entries.get(image.name, ())
    if len(called) > 1:
        parts = image.absolute().parts
        called = [e for e in called if parts[-len(p := PurePosixPath(e["file_name"]).parts) :] == p] or called
    if len(called) != 1:
        what = (
            "is not among its images" if not called else f"is {len(called)} of its images, which cannot be told apart"
        )
        raise InputError(f"{file}: {image} {what}; what is in it is not known.")
    said = (called[0].get("width", size[0]), called[0].get("height", size[1]))
    if said != size:
        raise InputError(
            f"{file}: says that {image.name} has {said[0]} x {said[1]} pixels, and it has {size[0]} x {size[1]}: the "
            "labels are those of another picture, or of this one before it was resized or turned."
        )
    number = called[0]["id"]
    if not isinstance(number, int):
        raise TypeError(f"the id {number!r} of {image.name}")
    return number


def _classes(file: Path, document: Document, labels: Sequence[str], count: int) -> dict[int, int]:
    """Return which class of the network each category is; those that it does not know are left out."""
    names = {int(category["id"]): str(category.get("name", "")).strip() for category in document["categories"]}
    if not labels:
        if len(names) != count:
            raise InputError(
                f"{file}: has {len(names)} categories, and the network, whose classes have no names, {count} classes: "
                "which one is which cannot be told."
            )
        return {number: index for index, number in enumerate(sorted(names))}
    known = {label.strip(): index for index, label in enumerate(labels)}
    used = {annotation["category_id"] for annotation in document["annotations"]}
    strange = sorted(names.get(number, str(number)) for number in used if names.get(number) not in known)
    missing = sorted(known.keys() - {*names.values()})
    if strange and missing:
        raise InputError(
            f"{file}: its categories are not the network's classes: {_some(strange)} of the file are none of them, and "
            f"{_some(missing)} of the network are not in the file. Their names must be the same."
        )
    return {number: known[name] for number, name in names.items() if name in known}


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _box(where: str, values: Sequence[float]) -> tuple[float, ...]:
    x, y, width, height = map(float, values)
    if not (all(map(isfinite, (x, y))) and 0 <= width < inf and 0 <= height < inf):
        raise InputError(f"{where}: the bbox {values!r:.80} is no x, y, width, height in pixels.")
    return x, y, x + width, y + height
