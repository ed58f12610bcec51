"""Errors that one calibration sample has brought to light, with the image that it was made from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from build_rules.compilers.protocol import SampleError
from build_rules.errors import InputError

__all__ = ["naming_images"]


@contextmanager
def naming_images(chosen: str | None) -> Iterator[None]:
    """Name the image of a sample that is at fault; `chosen` is the path of the record of calibration images."""
    try:
        yield
    except SampleError as error:
        image = _image(chosen, error.sample)
        raise InputError(f"{error} Sample {error.sample} is {image}." if image else str(error)) from error


def _image(chosen: str | None, sample: int) -> str | None:
    """Return the name of the image that a sample was made from; None where nobody has written it down."""
    try:
        images = json.loads(Path(chosen or "").read_text(encoding="utf-8"))["images"]
        names = [str(image["name"]) for image in images for _ in range(image["samples"])]
        return names[sample]
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
