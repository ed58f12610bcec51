"""The photographs of a folder: which files they are, and their pixels as 8-bit RGB. Files may be hostile or broken."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from build_rules.errors import InputError

__all__ = ["MAX_PIXELS", "count_levels", "decode", "list_images"]

MAX_PIXELS = 89_478_485
"""Largest picture that is decoded: 256 MiB of RGB, Pillow's own bound. A few bytes of file can claim far more."""

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
# Contents decide among these, not the suffix. Pillow reads more, some of it (EPS) with the help of other programs.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def list_images(folder: Path) -> tuple[str, ...]:
    """Return the images below `folder` as POSIX paths relative to it, in the order of these strings.

    Files without an image suffix, and hidden files and folders, are passed over. A link to a file counts as that file,
    a link to a folder is not followed. Raises `InputError` when the folder cannot be read or has no image, and for a
    link that leaves the folder: what it names is not part of the repository, and a build that depends on it cannot be
    repeated elsewhere.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: not a folder; `calibration` names a folder of images or a snapshot (.safetensors)."
        )
    root = folder.resolve()
    found: list[str] = []
    for current, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = Path(current)
        for name in folders:
            _check_inside(here / name, root)
        for name in files:
            path = here / name
            if path.suffix.lower() in _SUFFIXES and not name.startswith("."):
                _check_inside(path, root)
                found.append(path.relative_to(folder).as_posix())
    if not found:
        raise InputError(f"{folder}: no image in this folder; put images ({', '.join(_SUFFIXES)}) there.")
    return tuple(sorted(found))


def _check_inside(path: Path, root: Path) -> None:
    try:
        inside = not path.is_symlink() or path.resolve().is_relative_to(root)
    except (OSError, RuntimeError) as error:  # a link that leads back to itself
        raise InputError(f"{path}: a symbolic link that leads nowhere; remove it.") from error
    if not inside:
        raise InputError(
            f"{path}: a symbolic link that leaves the calibration folder; put the file itself there, "
            f"or name its folder in `calibration`."
        )


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be read ({error.strerror}); check its permissions.") from error


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


def _load(path: Path) -> Image.Image:
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not a regular file")
        with path.open("rb") as file, Image.open(file, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels are more than {MAX_PIXELS}")
            return _to_rgb(ImageOps.exif_transpose(image))
    except (
        Exception
    ) as error:  # decoders raise nearly anything on hostile bytes: SyntaxError, struct.error, KeyError, ...
        what = (
            "the file is empty" if path.is_file() and path.stat().st_size == 0 else str(error) or type(error).__name__
        )
        raise InputError(f"{path}: cannot be decoded as an image ({what}); replace or remove the file.") from error


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
