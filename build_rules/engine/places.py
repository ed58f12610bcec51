"""Where the build may write and remove: below `build/`, and nothing there is followed out of it.

A workspace may come from anybody, by a clone or in an archive. Links in it could lead what is written, or removed, to
files of the person who builds. So folders below `build/` are folders, files there are regular files, and what stands in
the place of one loses its name and is never opened. That `build` itself is a link is for the settings to allow.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from build_rules.errors import InputError, printable

__all__ = [
    "BESIDE",
    "BUILD",
    "CLOCK",
    "DAMAGED",
    "FORMER",
    "HELD",
    "IMAGES",
    "INDEX",
    "LEFTOVERS",
    "LOCK",
    "RECORDS",
    "RUNNING",
    "check_build",
    "check_folder",
    "clear_place",
    "draft_folder",
    "failed_folder",
    "is_below_build",
    "is_draft_folder",
    "leads_out",
    "make_folder",
    "read_regular",
    "remove_tree",
    "write_whole",
]

BUILD = "build"
RECORDS = f"{BUILD}/.records.db"
"""What was built from what, and what is remembered of former runs."""
DAMAGED = ".damaged"
"""How the name of records ends that were set aside."""
INDEX = f"{BUILD}/.fresh"
IMAGES = f"{BUILD}/.images.db"
RUNNING = f"{BUILD}/.running"
"""Holds a file for every step that is running, with the name of its draft."""
LEFTOVERS = f"{BUILD}/.failed"
"""Holds a folder for every step that failed and left something to be looked at."""
CLOCK = f"{BUILD}/.clock"
"""Written for a moment, to ask the file system for the time where that needs a name."""
LOCK = f"{BUILD}/.lock"
HELD = f"{LOCK}.held"
DRAFT = (".", ".partial")
"""How the name of a folder begins and ends that a running step writes into, beside its outputs."""
FORMER = tuple(f"{BUILD}/{name}" for name in (".history.json", ".failures.json", ".texts.db", ".texts.db-journal"))
"""What former versions kept; a build removes it."""
SETTINGS = Path("pyproject.toml")
ALLOWED = "linked_build"
BESIDE = ("", "-wal", "-shm", "-journal")
"""What sqlite writes: the file, and beside it what it is working on."""
PathLike = str | os.PathLike[str]
MAX_STATE = 128 << 20
"""Bytes that are read of a file of ours; the snapshot of a workspace of a hundred thousand files has a tenth."""


def check_build() -> None:
    """Raise `InputError` when `build` is a link that the settings do not allow."""
    if os.path.islink(BUILD) and not _is_allowed(os.getcwd()):
        target = printable(os.readlink(BUILD))
        raise InputError(
            f"{BUILD}: is a link to {target}, and outputs would be written and removed there; remove the link, or, if "
            f"you made it yourself, write {ALLOWED} = true below [tool.build_rules] in {SETTINGS}."
        )


@cache
def _is_allowed(folder: str) -> bool:
    """Whether the settings of a workspace allow its `build` to be a link."""
    from build_rules.toml_table import read_toml

    settings = Path(folder) / SETTINGS
    tool = read_toml(settings).get("tool") if settings.is_file() else None
    rules = tool.get("build_rules") if isinstance(tool, dict) else None
    return isinstance(rules, dict) and rules.get(ALLOWED) is True


def is_below_build(path: PathLike) -> bool:
    """Whether a path says that it lies below `build/`; links are not looked for."""
    return len(_parts(path)) > 1


def draft_folder(folder: Path, rule: str) -> Path:
    """Return where a step of a rule writes whose outputs will be in `folder`."""
    return folder / rule.join(DRAFT)


def failed_folder(step: str) -> Path:
    """Return where a failed run of a step leaves what is to be looked at: a name of it that any file system takes."""
    from hashlib import sha256  # two steps may look alike in such a name, and on some file systems more of them

    named = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in step)
    return Path(LEFTOVERS, f"{named[:150].lstrip('.')}-{sha256(os.fsencode(step)).hexdigest()[:8]}")


def is_draft_folder(path: Path) -> bool:
    """Whether a path is below `build/` and has the name of a draft."""
    return is_below_build(path) and path.name.startswith(DRAFT[0]) and path.name.endswith(DRAFT[1])


def _parts(path: PathLike) -> list[str]:
    """Return the names of a path below the workspace, `build` first; none when it lies elsewhere."""
    text = os.fspath(path)
    here = os.path.join(os.getcwd(), "") if os.path.isabs(text) else ""
    parts = text[len(here) :].split(os.sep) if text.startswith(here) else []
    plain = [part for part in parts if part not in ("", ".")]
    return plain if plain[:1] == [BUILD] and ".." not in plain and "\0" not in text else []


def _first_wrong(folder: PathLike) -> str | None:
    """Return the first part of a folder below `build/` that is there and is no folder itself."""
    parts = _parts(folder)
    for count in range(2, len(parts) + 1):
        place = os.path.join(*parts[:count])
        try:
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                return place
        except FileNotFoundError:
            return None
        except OSError:
            return place
    return None


def leads_out(folder: PathLike) -> bool:
    """Whether a folder of the build may be another one than its path says."""
    try:
        check_build()
    except InputError:
        return True
    return _first_wrong(folder) is not None


def check_folder(folder: PathLike) -> None:
    """Raise `InputError` when a folder of the build is a link, or lies behind one."""
    check_build()
    if (wrong := _first_wrong(folder)) is not None:
        what = f"is a link to {printable(os.readlink(wrong))}" if os.path.islink(wrong) else "is no folder"
        raise InputError(
            f"{printable(wrong)}: {what}, where a folder of outputs belongs; remove it and run again. Nothing is "
            f"written or removed through links below {BUILD}/."
        )


def make_folder(folder: PathLike) -> None:
    """Make a folder of the build. Raises as `check_folder` does, and `OSError`."""
    check_folder(folder)
    os.makedirs(folder, exist_ok=True)


def remove_tree(folder: PathLike) -> None:
    """Remove a draft and all in it, as far as possible; a link loses its name, and what is behind one stays."""
    if leads_out(os.path.dirname(folder)):
        return
    with suppress(OSError):
        if stat.S_ISDIR(os.lstat(folder).st_mode):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            os.unlink(folder)


def clear_place(path: PathLike, beside: Iterable[str] = ("",)) -> None:
    """Take the name from whatever is no regular file where one of ours belongs, and say so.

    Raises `OSError` when it has to stay: a folder, or something in a folder that is not ours.
    """
    for name in (f"{os.fspath(path)}{suffix}" for suffix in beside):
        try:
            mode = os.lstat(name).st_mode
        except FileNotFoundError:
            continue
        if stat.S_ISREG(mode):
            continue
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder, remove it", name)
        if leads_out(os.path.dirname(name)):
            raise OSError(errno.ELOOP, "lies behind a link", name)
        os.unlink(name)
        what = "a link" if stat.S_ISLNK(mode) else "no regular file"
        sys.stderr.write(f"{name} was {what}; it is removed, what it led to is untouched\n")


def write_whole(path: PathLike, pieces: Iterable[bytes]) -> None:
    """Write a file of ours whole or not at all, over whatever is there. Raises `OSError`."""
    if leads_out(os.path.dirname(path)):
        raise OSError(errno.ELOOP, "lies behind a link", os.fspath(path))
    from build_rules.atomic_file import replacing

    # One name for all: who writes has the lock, and what a kill left is written over.
    with replacing(Path(path), Path(f"{os.fspath(path)}.new")) as stream:
        stream.writelines(pieces)


def read_regular(path: PathLike, most: int = MAX_STATE) -> bytes:
    """Return what a regular file of ours holds, at most so many bytes. Raises `OSError` for anything else."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        return stream.read(most)
