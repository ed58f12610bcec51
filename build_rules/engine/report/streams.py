"""What the standard streams do with characters that their encoding has not."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Any

__all__ = ["let_go", "never_fail_to_print", "say"]

BYTES_OR_ESCAPES = "build-rules"


def never_fail_to_print() -> None:
    """Print names that are no UTF-8 as the bytes they are, and what the locale cannot write with escapes.

    Python does the first by itself in some locales, and would end in the others.
    """
    codecs.register_error(BYTES_OR_ESCAPES, _bytes_or_escapes)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors=BYTES_OR_ESCAPES)


def _bytes_or_escapes(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.backslashreplace_errors(error)


def say(stream: Any, text: str) -> None:
    """Print at once. When nobody reads any more (`doit | head`) the rest goes nowhere, and the build goes on."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        let_go(stream)


def let_go(stream: Any) -> None:
    """Let what is written from now on go nowhere: who read it may have gone hours into the run."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
