"""An image's file, opened once: its digest is that of the very bytes that are decoded.

What is remembered of an image is remembered by its content, whoever else writes to the file meanwhile. So a file of
usual size is read into memory, hashed and decoded there. A larger one is hashed where it lies, decoded from the same
open file, and hashed again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO

from PIL import UnidentifiedImageError

from build_rules.errors import InputError
from build_rules.regular_file import open_regular

__all__ = ["BrokenImageError", "ImageFile", "blamed", "broken", "changed", "open_image"]

MAX_FILE_BYTES = 1 << 30
"""Largest file that is read; without compression the largest picture takes less."""
IN_MEMORY = 8 << 20
"""Largest file that is read into memory, of which each thread holds one; a photograph has less."""
CHUNK = 1 << 20

_NOT_ITS_FAULT = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.EINTR)
"""Errors of the machine. Those of Pillow, which are of the same type, have no number."""


class BrokenImageError(InputError):
    """A file that cannot be decoded as a whole image; `reason` says why, without the file's name."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


def broken(path: Path, reason: str) -> BrokenImageError:
    """Return the error for an image that cannot be decoded."""
    return BrokenImageError(f"{path}: cannot be decoded as an image ({reason}); replace or remove the file.", reason)


def changed(path: Path) -> InputError:
    """Return the error for an image that is not what it was when it was looked at."""
    return InputError(f"{path}: changed while it was read; leave the images alone, and run doit again.")


class ImageFile:
    """A file of at most `MAX_FILE_BYTES`, at its beginning: its SHA-256 and its bytes. Left as a context, it is closed.

    Raises `BrokenImageError` for one that is empty or too large.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        size = os.fstat(file.fileno()).st_size
        if size > MAX_FILE_BYTES:
            raise ValueError(f"a file of {size} bytes, more than {MAX_FILE_BYTES}")
        content = file.read(IN_MEMORY + 1)
        if not content:
            raise ValueError("the file is empty")
        self._in_memory = len(content) <= IN_MEMORY
        self.stream = BytesIO(content) if self._in_memory else file
        self.sha256 = hashlib.sha256(content).hexdigest() if self._in_memory else self._digest()

    def __enter__(self) -> ImageFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stream.close()

    def _digest(self) -> str:
        digest = hashlib.sha256()
        self.stream.seek(0)
        while chunk := self.stream.read(CHUNK):
            digest.update(chunk)
        self.stream.seek(0)
        return digest.hexdigest()

    def check_unchanged(self) -> None:
        """Raise `InputError` unless the bytes are still those of the digest."""
        if self._in_memory:
            return
        with blamed(self.path):
            if self._digest() != self.sha256:
                raise changed(self.path)


def open_image(path: Path) -> ImageFile:
    """Open an image. Raises `InputError` when it is no regular file, may not be read or is none that is decoded."""
    try:
        is_regular = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise _lost(path, error) from error
    if not is_regular:
        raise InputError(f"{path}: not a regular file; remove it from the images.")
    with blamed(path):
        file = os.fdopen(open_regular(path), "rb")
        try:
            opened = ImageFile(path, file)
        except BaseException:
            file.close()
            raise
        if opened.stream is not file:
            file.close()
        return opened


@contextmanager
def blamed(path: Path) -> Iterator[None]:
    """Raise `InputError` for whatever is raised in the block: a `BrokenImageError` where it is the fault of the file.

    Decoders raise nearly anything on hostile bytes: `SyntaxError`, `struct.error`, `KeyError`.
    """
    try:
        yield
    except InputError:  # a stand-in for the image, which nobody wants to be left out
        raise
    except FileNotFoundError as error:
        raise _lost(path, error) from error
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions.") from error
    except Exception as error:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) in _NOT_ITS_FAULT:
            raise InputError(f"{path}: cannot be read now ({error or 'out of memory'}); run doit again.") from error
        raise broken(path, _reason(error)) from error


def _lost(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be found ({error.strerror}); run doit again.")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # whose text tells how Python writes an open file, and no more
        return "not an image that can be decoded"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).rstrip(".") or type(error).__name__
