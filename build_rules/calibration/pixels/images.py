"""The pixels of photographs as 8-bit RGB. Files may be hostile or broken."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from build_rules.calibration.pixels.image_file import ImageFile, blamed, open_image

__all__ = ["MAX_PIXELS", "decode", "decoded", "measure"]

MAX_PIXELS = 89_478_485
"""Largest picture that is decoded: 256 MiB of RGB, Pillow's own bound. A few bytes of file can claim far more."""

MAX_SCANS = 200
"""Most scans of a progressive JPEG. Encoders write about ten; each costs a pass over all pixels, and ten bytes."""

SCANNED_BYTES = 1 << 20

MAX_HEAD_BYTES = 32 << 20
"""Most that a JPEG holds before its first scan; a colour profile takes 16 MiB at most. Pillow joins it bit by bit."""

MAX_PADDING = 1 << 16
"""Most bytes 0xFF that stand between the segments of a JPEG, where any number may; Pillow reads them one by one."""

# Contents decide among these, not the suffix. Pillow reads more, some of it (EPS) with the help of other programs.
_FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture upright, by EXIF orientation. Source: Exif 2.32, section 4.6.4.A, tag Orientation."""

# Pillow grumbles at damaged metadata that change no pixel, and at sizes that are refused here in words of our own.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


@contextmanager
def decoded(file: ImageFile) -> Iterator[Image.Image]:
    """Give the picture in a file to a block, 8-bit RGB and upright; the next large one is decoded when it is left.

    The EXIF orientation is applied, one that cannot be read is none; transparency is dropped, as OpenCV drops it; of 16
    bits the upper 8 are kept; of several frames or pages the first is taken; colour profiles are ignored.

    Raises `BrokenImageError` naming the file when it cannot be decoded whole, `InputError` when it cannot be read now,
    or is no longer what it was when it was opened.
    """
    with ExitStack() as held:
        try:
            picture = _load(file, held)
        finally:
            file.check_unchanged()
        yield picture


def decode(path: Path) -> NDArray[np.uint8]:
    """Return the pixels (H, W, 3), uint8 RGB, of the image at `path`; errors as for `decoded` and `open_image`."""
    with open_image(path) as file, decoded(file) as picture:
        return np.asarray(picture)


def measure(picture: Image.Image) -> NDArray[np.int64]:
    """Return how many pixels of an RGB picture have each level, per channel, (3, 256)."""
    return np.array(picture.histogram(), np.int64).reshape(3, 256)


class _Budget:
    """Pixels that may be in memory at once, in all threads; a picture that is larger than what is left waits."""

    def __init__(self, pixels: int) -> None:
        self._left = self._all = pixels
        self._changed = threading.Condition()

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        taken = min(pixels, self._all)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= taken)
            self._left -= taken
        try:
            yield
        finally:
            with self._changed:
                self._left += taken
                self._changed.notify_all()


# Many cores would otherwise decode many of the largest pictures at the same time.
_budget = _Budget(MAX_PIXELS)


def _load(file: ImageFile, held: ExitStack) -> Image.Image:
    with blamed(file.path):
        _check_head(file.stream)
        try:
            image = Image.open(file.stream, formats=_formats())
        except Image.DecompressionBombError as error:
            raise ValueError(f"more than {MAX_PIXELS} pixels") from error
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}x{image.height} pixels are more than {MAX_PIXELS}")
        held.enter_context(_budget.take(image.width * image.height))
        if "progressive" in image.info:
            _check_scans(file.stream)
        image.load()
        return _turn_upright(_to_rgb(image), image)


@cache
def _formats() -> tuple[str, ...]:
    """Return those of the formats that can be decoded here; importing `pillow_heif` is what adds HEIF to Pillow."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _check_head(file: IO[bytes]) -> None:
    """Refuse a JPEG that would take long to open. Source of its layout: ITU-T T.81, section B.1.1."""
    position, padding, is_head = 2, 0, file.read(2) == b"\xff\xd8"
    while is_head:
        file.seek(position)
        marker, length = file.read(2), file.read(2)
        is_head = marker[:1] == b"\xff" and marker[1:] not in (b"\xda", b"")
        is_padded = marker == b"\xff\xff"
        padding += is_padded
        position += 1 if is_padded else 2 + max(2, int.from_bytes(length, "big"))
        if is_head and (position > MAX_HEAD_BYTES or padding > MAX_PADDING):
            raise ValueError(f"a JPEG with more than {MAX_HEAD_BYTES >> 20} MiB of metadata, or padded without end")
    file.seek(0)


def _check_scans(file: IO[bytes]) -> None:
    # Within a scan's data a byte 0xFF is followed by 0x00, so these two begin a scan wherever they are found. Read, not
    # mapped: a file that is cut short meanwhile would end the process.
    file.seek(0)
    scans, last = 0, b""
    while block := file.read(SCANNED_BYTES):
        scans += (last + block).count(b"\xff\xda")
        if scans > MAX_SCANS:
            raise ValueError(f"a progressive JPEG of more than {MAX_SCANS} scans")
        last = b"\xff" if block[-1:] == b"\xff" else b""


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        levels: NDArray[Any] = np.asarray(image)
        if levels.min() < 0 or levels.max() > 0xFFFF:
            raise ValueError("32-bit grey levels")
        image = Image.fromarray((levels >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels")
    elif image.mode in ("PA", "La", "RGBa") or (image.mode == "P" and "transparency" in image.info):
        # Straight to RGB, Pillow would leave premultiplied colours dark and warn about a palette's transparency.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _turn_upright(picture: Image.Image, source: Image.Image) -> Image.Image:
    """Turn a picture as the metadata of its source say, which do not decide whether it can be used."""
    try:
        orientation = source.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        return picture
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return picture if turn is None else picture.transpose(turn)
