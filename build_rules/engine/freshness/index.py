"""Which models were fresh at the end of the last run, and by which files one can tell that they still are.

A run in which nothing has to be done needs no tasks: it is enough to see that no file of a model has changed. This file
holds, for every model, the marks of all files that its steps read or wrote and of the folders that were searched for
them. A model is skipped only when all of them are as they were; anything else, and anything doubtful, is left to the
records and the content of the files. Losing this file costs time, never correctness.

Format 2, in `build/.fresh`: a line of JSON, the paths separated by NUL, the marks as little-endian signed 64-bit
integers, four for each path: size in bytes, mtime and ctime in ns, inode. A size of -1 says that there was no such
file, -2 that the marks are not to be trusted::

    {"format": 2, "crc32": 305419896, "context": {...}, "tasks": {"yolov8n": 20},
     "ends": {"yolov8n": ["meta:yolov8n:hailo8l-fast"]},
     "groups": [[["yolov8n"], 37], [["yolov8n", "yolov8s"], 288]], "paths": 23000, "path_bytes": 812345}
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from build_rules.engine.places import read_regular, write_whole

__all__ = ["ABSENT", "UNTRUSTED", "Marks", "Snapshot", "find_changed", "read_snapshot", "write_snapshot"]

FORMAT = 2


class Marks(NamedTuple):
    """What the file system says of a file: size in bytes, mtime and ctime in ns, inode."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


ABSENT = Marks(-1, 0, 0, 0)
UNTRUSTED = Marks(-2, 0, 0, 0)


class Snapshot(NamedTuple):
    """`context` is what must be equal for any of it to hold; `tasks` says how many steps each owner has, or -1
    of those that are not fresh.

    `files` maps the owners of files to them: a file with several owners makes all of them doubtful. `ends` are the
    names of each owner's last steps.
    """

    context: Mapping[str, Any]
    tasks: Mapping[str, int]
    files: Mapping[tuple[str, ...], Mapping[str, Marks]]
    ends: Mapping[str, Sequence[str]]


def find_changed(snapshot: Snapshot, is_wanted: Callable[[str], bool] = lambda owner: True) -> set[str]:
    """Return the owners of which a file is not what it was, of those that are wanted."""
    changed: set[str] = set()
    for owners, files in snapshot.files.items():
        wanted = any(map(is_wanted, owners)) and not changed.issuperset(owners)
        if wanted and any(_differs(path, marks) for path, marks in files.items()):
            changed.update(owners)
    return changed


def _differs(path: str, marks: Marks) -> bool:
    # Called for every file of a repository: nothing is built that is not needed.
    try:
        now = os.stat(path)
    except OSError:
        return marks[0] != -1
    return (
        now.st_mtime_ns != marks[1] or now.st_size != marks[0] or now.st_ctime_ns != marks[2] or now.st_ino != marks[3]
    )


def write_snapshot(path: str, snapshot: Snapshot) -> None:
    """Write the file whole or not at all. Raises `OSError`."""
    paths = [name for files in snapshot.files.values() for name in files]
    numbers = array("q")
    for files in snapshot.files.values():
        for marks in files.values():
            numbers.extend(marks)
    if sys.byteorder == "big":
        numbers.byteswap()
    names = "\0".join(paths).encode("utf-8", "surrogateescape")
    body = names + numbers.tobytes()
    head = {
        "format": FORMAT,
        "crc32": zlib.crc32(body),
        "context": snapshot.context,
        "tasks": snapshot.tasks,
        "ends": snapshot.ends,
        "groups": [[list(owners), len(files)] for owners, files in snapshot.files.items()],
        "paths": len(paths),
        "path_bytes": len(names),
    }
    write_whole(path, [json.dumps(head).encode() + b"\n" + body])


def read_snapshot(path: str) -> Snapshot | None:
    """Return what was written; None when there is nothing that can be read, whatever the reason."""
    try:
        first, _, body = read_regular(path).partition(b"\n")
        if not first.startswith(b"{"):  # it could be of any length
            return None
        head = json.loads(first)
        if head["format"] != FORMAT or head["crc32"] != zlib.crc32(body):
            return None
        names = body[: head["path_bytes"]].decode("utf-8", "surrogateescape").split("\0") if head["paths"] else []
        numbers = array("q", body[head["path_bytes"] :])
        if sys.byteorder == "big":
            numbers.byteswap()
        return Snapshot(head["context"], head["tasks"], _grouped(head["groups"], names, numbers), head["ends"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _grouped(
    groups: Iterable[tuple[list[str], int]], names: list[str], numbers: Iterable[int]
) -> dict[tuple[str, ...], Mapping[str, Marks]]:
    each = iter(numbers)
    marks = list(zip(each, each, each, each, strict=True))
    if len(marks) != len(names):
        raise ValueError("paths and marks differ in number")
    files: dict[tuple[str, ...], Mapping[str, Marks]] = {}
    start = 0
    for owners, count in groups:
        # Plain tuples where `Marks` are promised: making thousands of the latter would take longer than the file.
        files[tuple(owners)] = dict(zip(names[start : start + count], marks[start : start + count]))  # type: ignore[arg-type]  # noqa: B905
        start += count
    return files
