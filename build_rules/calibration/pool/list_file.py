"""A list of images: a text file that names one on each line.

UTF-8; names that are none are taken as the bytes they are, so that `find photos -name '*.jpg' > photos.txt` lists
whatever there is. Paths are relative to the list's folder and may be absolute or lead out of it, since somebody wrote
them there on purpose. White space around a path is dropped, blank lines and lines that begin with `#` are passed over.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from build_rules.errors import InputError
from build_rules.regular_file import LIST_BYTES, kind_fault, read_small

__all__ = ["read_list"]


def read_list(path: Path) -> tuple[str, ...]:
    """Return the files that the list `path` names, each once, relative to the working directory as `path` is.

    Raises `InputError` with the number of the line for what is not there or no regular file, and for a list that cannot
    be read, is no text, or names nothing.
    """
    folder = os.path.dirname(path)  # noqa: PTH120
    files: dict[str, None] = {}
    for number, line in _lines(path):
        # Plain strings: this runs for every image of every model in every doit.
        file = os.path.join(folder, line)  # noqa: PTH118
        file = _shortened(file) if "./" in file or "//" in file else file
        if file not in files:
            _check(file, f"{path}, line {number}")
            files[file] = None
    if not files:
        raise InputError(f"{path}: names no image; write the path of one on each line, relative to the list's folder.")
    return tuple(files)


def _shortened(file: str) -> str:
    """Return a path without `..`, unless these lead elsewhere than the text says: behind a link to a folder they do."""
    folded = os.path.normpath(file)
    try:
        return folded if os.path.samefile(folded, file) else str(Path(file))  # noqa: PTH121
    except OSError:  # told by whoever looks for it
        return folded


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        content = read_small(path, LIST_BYTES, "a list of images")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions.") from error
    if b"\0" in content:
        raise InputError(f"{path}: not a list of images, since it holds a zero byte; save it as UTF-8 text.")
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        line = raw.strip()
        if line and not line.startswith(b"#"):
            yield number, os.fsdecode(line)


def _check(file: str, where: str) -> None:
    try:
        status = os.stat(file)  # noqa: PTH116
    except OSError as error:
        raise InputError(f"{where}: {file} cannot be found ({error.strerror}); correct or remove the line.") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{where}: {file} is a folder; name its images, or write the folder as `calibration`.")
    if (fault := kind_fault(status)) is not None:
        raise InputError(f"{where}: {file} {fault}; remove the line.")
