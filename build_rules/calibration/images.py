"""The pixels of photographs as 8-bit RGB. Files may be hostile or broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from build_rules.errors import InputError

__all__ = ["MAX_PIXELS", "count_levels", "decode", "measure"]

MAX_PIXELS = 89_478_485
"""Largest picture that is decoded: 256 MiB of RGB, Pillow's own bound. A few bytes of file can claim far more."""

# Contents decide among these, not the suffix. Pillow reads more, some of it (EPS) with the help of other programs.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def decode(path: Path) -> NDArray[np.uint8]:
    """Return the pixels (H, W, 3), uint8 RGB, upright.

    The EXIF orientation is applied; transparency is dropped, as OpenCV drops it; 16-bit grey keeps its upper byte; of
    several frames the first is taken; colour profiles are ignored. Raises `InputError` naming the file when it cannot
    be decoded whole.
    """
    return np.asarray(_load(path))


def count_levels(path: Path) -> NDArray[np.int64]:
    """Return how many pixels have each level, per channel: (3, 256). Errors as for `decode`."""
    return np.array(_load(path).histogram(), np.int64).reshape(3, 256)


def measure(path: Path) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """Return what `count_levels` returns, and the height and width in pixels, upright."""
    image = _load(path)
    return np.array(image.histogram(), np.int64).reshape(3, 256), (image.height, image.width)


def _load(path: Path) -> Image.Image:
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not a regular file")
        with path.open("rb") as file, Image.open(file, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels are more than {MAX_PIXELS}")
            return _to_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file.") from error
    except (
        Exception
    ) as error:  # decoders raise nearly anything on hostile bytes: SyntaxError, struct.error, KeyError, ...
        raise InputError(
            f"{path}: cannot be decoded as an image ({_reason(path, error)}); replace or remove the file."
        ) from error


def _reason(path: Path, error: Exception) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):  # whose text tells how Python writes an open file, and no more
        return "not an image that can be decoded"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        levels: NDArray[Any] = np.asarray(image)
        if levels.min() < 0 or levels.max() > 0xFFFF:
            raise ValueError("32-bit grey levels")
        image = Image.fromarray((levels >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels")
    elif image.mode in ("P", "PA", "La", "RGBa"):
        # Straight to RGB, Pillow would leave premultiplied colours dark and warn about a palette's transparency.
        image = image.convert("RGBA")
    return image.convert("RGB")
