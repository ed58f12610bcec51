"""At which size the trainer says that the network takes its images, for exports that leave it open."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from build_rules.records.split_json import CAMERA_ADAPTORS
from build_rules.trainer.document import TrainerDocument, axis_names

__all__ = ["image_sizes"]

MAX_SIDE = 16384
MAX_TEXT = 100
Size = tuple[int, int]


def image_sizes(document: TrainerDocument) -> tuple[tuple[Size, str], ...]:
    """Return (height, width) in pixels with who says so: `input.shape` of the document, Ultralytics' `imgsz`."""
    sizes = (
        (_of_shape(document), "input.shape in the EdgeFirst metadata"),
        (_of_imgsz(document.imgsz), "imgsz in the metadata"),
    )
    return tuple((size, where) for size, where in sizes if size is not None)


def _of_shape(document: TrainerDocument) -> Size | None:
    section = document.section("input")
    shape, axes = section.get("shape"), axis_names(section.get("dshape")) or ()
    if not isinstance(shape, list) or len(shape) != 4:
        return None
    if len(axes) == len(shape) and "height" in axes and "width" in axes:
        return _size([shape[axes.index("height")], shape[axes.index("width")]])
    return _size(shape[2:] if shape[1] in CAMERA_ADAPTORS.values() else shape[1:3])


def _of_imgsz(text: str) -> Size | None:
    try:
        value = ast.literal_eval(text.strip()) if len(text) <= MAX_TEXT else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    sides = list(value) if isinstance(value, (list, tuple)) else [value]
    return _size(sides * 2 if len(sides) == 1 else sides)


def _size(sides: Sequence[Any]) -> Size | None:
    if len(sides) == 2 and all(type(side) is int and 0 < side <= MAX_SIDE for side in sides):
        return sides[0], sides[1]
    return None
