"""How often files are opened: Python tells of every `open` and `os.open` by path, on all threads.

What libraries of C open by themselves (onnxruntime, sqlite) is not told of.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["opens"]

_counts: list[Counter[Path]] = []
_hooked = False


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _counts and isinstance(arguments[0], str | bytes | os.PathLike):
        _counts[0][Path(os.fsdecode(arguments[0]))] += 1


@contextmanager
def opens() -> Iterator[Counter[Path]]:
    """Count how often each path is opened within the block."""
    global _hooked
    if not _hooked:  # a hook stays for as long as the process
        sys.addaudithook(_hook)
        _hooked = True
    counts: Counter[Path] = Counter()
    _counts.append(counts)
    try:
        yield counts
    finally:
        _counts.remove(counts)
