"""Which further files a step begins to read, noted beside its drafts.

A step that ends well returns what it turned out to read. One that fails, or whose process dies, cannot: so it notes
each such file just before it opens it, and whoever runs the step can tell whether one of them changed meanwhile.

`.reads` in the folder of the drafts, a line of JSON per file: `["weights.bin", size, mtime_ns, ctime_ns, inode]`; null
in the place of the four when there was no such file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["Noted", "marks_now", "note_reads", "noted_reads"]

NAME = ".reads"

Noted = tuple[int, int, int, int] | None
"""Size, mtime and ctime in ns and inode of a file; None when there is none."""


def note_reads(draft: Path, files: Iterable[Path]) -> None:
    """Say that the step that writes `draft` is about to read these files, which are none of its declared inputs."""
    lines = [json.dumps([str(file), *(marks_now(file) or [None])]) + "\n" for file in files]
    with suppress(OSError), draft.with_name(NAME).open("a", encoding="ascii") as stream:
        stream.writelines(lines)


def noted_reads(folder: Path) -> Iterator[tuple[Path, Noted]]:
    """Yield what a step noted whose drafts lie in `folder`, each file as it was then."""
    with suppress(OSError, ValueError):
        for line in (folder / NAME).read_text(encoding="ascii").splitlines():
            name, *marks = json.loads(line)
            yield Path(name), None if marks == [None] else (marks[0], marks[1], marks[2], marks[3])


def marks_now(file: Path) -> Noted:
    """Return what the file system says of a file now."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
