"""Pictures that a page holds itself."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from build_rules.errors import InputError
from build_rules.report_page.views import Picture

__all__ = ["as_uri", "encode", "sheet_picture"]

QUALITY = 80
SHEET_QUALITY = 70
SHEET_SIDE = 1600
"""A sheet of 256 samples is as large as that; larger ones are reduced to it."""
MAX_SHEET_PIXELS = 1 << 26
"""A sheet of as many samples as there can be has no more."""


def encode(image: Any, quality: int = QUALITY) -> bytes:
    """Return a PIL image as JPEG: equal pixels give equal bytes with one version of the library."""
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=quality, subsampling="4:2:0", optimize=False, progressive=False)
    return stream.getvalue()


def as_uri(jpeg: bytes) -> str:
    """Return a JPEG as what stands in place of an address."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def sheet_picture(path: Path, text: str) -> Picture | None:
    """Return a contact sheet as a smaller picture of at most `SHEET_SIDE` pixels a side, None when there is none.

    Raises `InputError` when the file is no picture, or larger than any sheet.
    """
    from PIL import Image

    if not path.is_file():
        return None
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_SHEET_PIXELS:
                raise InputError(f"{path}: has more pixels than any contact sheet; delete it and run doit again.")
            image.thumbnail((SHEET_SIDE, SHEET_SIDE), Image.Resampling.BILINEAR)
            return Picture(as_uri(encode(image, SHEET_QUALITY)), image.width, image.height, text)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: is not a picture ({error}); delete it and run doit again.") from error
