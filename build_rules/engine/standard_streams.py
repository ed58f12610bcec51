"""The standard streams as a build can rely on them: open, and nothing that happens to them ends it.

A reader that goes away (`doit | head`), a full disk behind `>`, a stream that was closed (`>&-`): what is printed goes
nowhere, and the build, which may have hours behind it, goes on to its own end and exit code.
"""

from __future__ import annotations

import atexit
import codecs
import io
import os
import sys
from contextlib import suppress
from typing import Any

__all__ = ["never_fail_to_print", "say"]

BYTES_OR_ESCAPES = "build-rules"


class _Patient(io.FileIO):
    """A descriptor that takes everything, whatever becomes of it."""

    def write(self, data: Any) -> Any:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def never_fail_to_print() -> None:
    """From now on print to whatever is there, in whatever encoding.

    Names that are no UTF-8 are printed as the bytes they are, and what the locale cannot write with escapes: Python
    does the first by itself in some locales, and would end in the others.
    """
    if isinstance(getattr(getattr(sys.stderr, "buffer", None), "raw", None), _Patient):
        return
    _open_what_is_closed()
    codecs.register_error(BYTES_OR_ESCAPES, _bytes_or_escapes)
    # doit has taken hold of the stream that was there at the start, and its own commands print to that one.
    sys.stdout, sys.stderr = _patient(sys.stdout, 1), _patient(sys.stderr, 2)
    atexit.register(_let_go_of_the_rest)


def _open_what_is_closed() -> None:
    """Let no file of ours get the number of a closed stream: what is printed there would be written into the file."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
            os.set_inheritable(descriptor, True)


def _patient(stream: Any, descriptor: int) -> Any:
    """Return a stream to a descriptor in the place of Python's; one that somebody else put there stays."""
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(io.FileIO(os.open(os.devnull, os.O_WRONLY), "w")), encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper) or stream is not (sys.__stdout__, sys.__stderr__)[descriptor - 1]:
        return stream
    with suppress(OSError):
        stream.flush()
    errors = BYTES_OR_ESCAPES if stream.errors in ("strict", "surrogateescape") else stream.errors
    stream.reconfigure(errors=errors)
    return io.TextIOWrapper(
        io.BufferedWriter(_Patient(descriptor, "w", closefd=False)),
        encoding=stream.encoding,
        errors=errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _let_go_of_the_rest() -> None:
    """Let what doit itself still has to print not decide over the exit code (Python would say 120)."""
    for stream, descriptor in ((sys.__stdout__, 1), (sys.__stderr__, 2)):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


def _bytes_or_escapes(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.backslashreplace_errors(error)


def say(stream: Any, text: str) -> None:
    """Print at once; where that is not possible (any more) the text goes nowhere, and the build goes on."""
    with suppress(OSError, ValueError):
        if stream is not None:  # as Python's own are that were closed
            stream.write(text)
            stream.flush()
