"""Files that appear under their names whole or not at all, whatever ends the process meanwhile.

A file is written under another name in the same folder and renamed. That replaces what is there, and is never written
through a link: neither where the file will be, nor where it is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["PARTIAL", "replacing"]

PARTIAL = ".partial"
"""How the names of files end that are being written; a writer that is killed leaves one behind."""


@contextmanager
def replacing(path: Path, draft: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file to write and read; it takes the name `path` when the block succeeds, and vanishes when it does not.

    Its mode is what the umask says. `draft` is where it is written, for one writer at a time, who then writes over what
    was left there before; without it each writer has a name of his own, also beside those on other machines. Who needs
    the content to outlast a power failure flushes it. Raises `OSError`.
    """
    if draft is None:
        draft = path.with_name(f".{os.urandom(8).hex()}{PARTIAL}")
    else:
        draft.unlink(missing_ok=True)
    # Made, not opened: a link in that place would be an error.
    stream = draft.open("x+b")
    try:
        with stream:
            yield stream
        draft.replace(path)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
