"""The pixels of photographs as 8-bit RGB. Files may be hostile or broken."""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from build_rules.errors import InputError
from build_rules.regular_file import open_regular

__all__ = ["MAX_PIXELS", "BrokenImageError", "broken", "decode", "decoded", "measure"]

MAX_PIXELS = 89_478_485
"""Largest picture that is decoded: 256 MiB of RGB, Pillow's own bound. A few bytes of file can claim far more."""

MAX_FILE_BYTES = 1 << 30
"""Largest file that is read; without compression the largest picture takes less."""

MAX_SCANS = 200
"""Most scans of a progressive JPEG. Encoders write about ten; each costs a pass over all pixels, and ten bytes."""

SCANNED_BYTES = 1 << 20

MAX_HEAD_BYTES = 32 << 20
"""Most that a JPEG holds before its first scan; a colour profile takes 16 MiB at most. Pillow joins it bit by bit."""

MAX_PADDING = 1 << 16
"""Most bytes 0xFF that stand between the segments of a JPEG, where any number may; Pillow reads them one by one."""

# Contents decide among these, not the suffix. Pillow reads more, some of it (EPS) with the help of other programs.
_FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

_NOT_ITS_FAULT = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.EINTR)
"""Errors of the machine. Those of Pillow, which are of the same type, have no number."""

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


class BrokenImageError(InputError):
    """A file that cannot be decoded as a whole image; `reason` says why, without the file's name."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


def broken(path: Path, reason: str) -> BrokenImageError:
    """Return the error for an image that cannot be decoded."""
    return BrokenImageError(f"{path}: cannot be decoded as an image ({reason}); replace or remove the file.", reason)


@contextmanager
def decoded(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Give what `decode` returns to a block; the next large picture is decoded when it is left."""
    with ExitStack() as held:
        yield np.asarray(_load(path, held))


def decode(path: Path) -> NDArray[np.uint8]:
    """Return the pixels (H, W, 3), uint8 RGB, upright.

    The EXIF orientation is applied, one that cannot be read is none; transparency is dropped, as OpenCV drops it; of 16
    bits the upper 8 are kept; of several frames or pages the first is taken; colour profiles are ignored.

    Raises `BrokenImageError` naming the file when it cannot be decoded whole, `InputError` when it is not there or may
    not be read.
    """
    with decoded(path) as image:
        return image


def measure(path: Path) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """Return how many pixels have each level, per channel, (3, 256), and the height and width in pixels, upright.

    Errors as for `decode`.
    """
    with ExitStack() as held:
        image = _load(path, held)
        return np.array(image.histogram(), np.int64).reshape(3, 256), (image.height, image.width)


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


def _load(path: Path, held: ExitStack) -> Image.Image:
    try:
        _check_file(path)
        with os.fdopen(open_regular(path), "rb") as file:
            _check_head(file)
            image = Image.open(file, formats=_formats())
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels are more than {MAX_PIXELS}")
            held.enter_context(_budget.take(image.width * image.height))
            if "progressive" in image.info:
                _check_scans(file)
            image.load()
            return _turn_upright(_to_rgb(image), image)
    except InputError:  # a stand-in for the image, which nobody wants to be left out
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file.") from error
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions.") from error
    except Exception as error:  # decoders raise nearly anything on hostile bytes: SyntaxError, struct.error, KeyError
        if isinstance(error, MemoryError) or getattr(error, "errno", None) in _NOT_ITS_FAULT:
            raise InputError(f"{path}: cannot be read now ({error or 'out of memory'}); run doit again.") from error
        raise broken(path, _reason(error)) from error


@cache
def _formats() -> tuple[str, ...]:
    """Return those of the formats that can be decoded here; importing `pillow_heif` is what adds HEIF to Pillow."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _check_file(path: Path) -> None:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # to open a pipe would wait for somebody to write into it
        raise ValueError("not a regular file")
    if found.st_size == 0:
        raise ValueError("the file is empty")
    if found.st_size > MAX_FILE_BYTES:
        raise ValueError(f"a file of {found.st_size} bytes, more than {MAX_FILE_BYTES}")


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


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # whose text tells how Python writes an open file, and no more
        return "not an image that can be decoded"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS} pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).rstrip(".") or type(error).__name__


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
