"""Small text files as steps read them, by digest, so that it can be told which line of one has changed since.

The table `texts` of `build/.records.db`: the SHA-256 of a text, and the text as zlib compresses it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress

from build_rules.engine.memory.table import Table

__all__ = ["first_difference", "keep_texts", "read_text_of"]

TEXTS = Table("texts (sha256 text primary key, content blob not null)")
SUFFIXES = (".alls", ".json", ".toml", ".txt")
MAX_BYTES = 64 << 10
MAX_KEPT = 20_000
MAX_SHOWN = 60


def keep_texts(files: Mapping[str, str]) -> None:
    """Keep the files that are small texts; `files` maps paths to the digests with which they were read."""
    rows = [
        (digest, zlib.compress(content))
        for path, digest in files.items()
        if (content := _small_text(path)) and hashlib.sha256(content).hexdigest() == digest
    ]
    if rows:
        TEXTS.change(
            ("insert or ignore into texts values (?, ?)", rows),
            ("delete from texts where rowid <= (select max(rowid) from texts) - ?", [(MAX_KEPT,)]),
        )


def read_text_of(digest: str) -> str | None:
    """Return the text that once had a digest, None when it was not kept."""
    for (content,) in TEXTS.select("select content from texts where sha256 = ?", (digest,)):
        with suppress(zlib.error, TypeError, UnicodeDecodeError):
            return zlib.decompress(content).decode()
    return None


def _small_text(path: str) -> bytes | None:
    if not path.endswith(SUFFIXES):
        return None
    with suppress(OSError), open(path, "rb") as stream:
        content = stream.read(MAX_BYTES + 1)
        return content if len(content) <= MAX_BYTES else None
    return None


def first_difference(old: str, new: Iterable[str]) -> str:
    """Say in which line a text differs first, and how; `new` are the lines of today."""
    before = old.splitlines()
    after = list(new)
    for number, (was, now) in enumerate(zip(before, after, strict=False), start=1):
        if was != now:
            start = _common(was, now)
            return f"line {number}: {_short(was, start)} -> {_short(now, start)}"
    if len(before) < len(after):
        return f"line {len(before) + 1}: new: {_short(after[len(before)])}"
    return f"line {len(after) + 1}: gone: {_short(before[len(after)])}" if len(after) < len(before) else ""


def _common(was: str, now: str) -> int:
    """Return how many characters two lines begin with that are the same."""
    return next((n for n, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now)))


def _short(line: str, difference: int = 0) -> str:
    """Return a line without its margins; of a long one what lies around the difference."""
    if len(line.strip()) <= MAX_SHOWN:
        return repr(line.strip())
    start = max(0, difference - MAX_SHOWN // 3)
    text = line[start : start + MAX_SHOWN]
    return repr(f"{'...' if start else ''}{text.strip()}{'...' if start + MAX_SHOWN < len(line) else ''}")
