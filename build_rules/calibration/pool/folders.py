"""The images below a folder, all of them or those that a pattern names. Every run of doit asks, so nothing heavy here.

A pattern is a POSIX path in which `*` stands for any characters, `?` for one, `[abc]` for one of these (`[!abc]` for
another), within one name; `**` alone between slashes stands for any number of folders, none included. As in a shell,
capitals count, and what is hidden (`.name`) is matched only by a part that begins with a dot itself.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable
from fnmatch import translate
from pathlib import Path

from build_rules.calibration.pool.suffixes import PassedOver, image_suffixes
from build_rules.errors import InputError
from build_rules.regular_file import unwatched

__all__ = ["find_images", "in_order", "split_pattern"]

EVERYTHING = "**/*"
_MAGIC = re.compile(r"[*?[]")

_Part = re.Pattern[str] | None
"""What one part of a pattern matches; None for any number of folders."""


def split_pattern(path: Path) -> tuple[Path, str] | None:
    """Return the folder before the first part with a wildcard, and the pattern from there on; None without a wildcard.

    Raises `InputError` for a pattern that cannot be meant: `..` behind a wildcard, `**` beside other characters.
    """
    magic = next((index for index, part in enumerate(path.parts) if _MAGIC.search(part)), None)
    if magic is None:
        return None
    rest = path.parts[magic:]
    if ".." in rest:
        raise InputError(f"{path}: .. behind a wildcard leads nowhere in particular; write the path without it.")
    for part in rest:
        if "**" in part and part != "**":
            raise InputError(f"{path}: ** stands for folders and is alone between slashes; write **/{_single(part)}.")
    return Path(*path.parts[:magic]), "/".join((*rest, "*") if rest[-1] == "**" else rest)


def _single(part: str) -> str:
    return re.sub(r"\*+", "*", part)


def find_images(
    folder: Path,
    pattern: str = EVERYTHING,
    watch: Callable[[Path], None] = unwatched,
    passed_over: PassedOver | None = None,
) -> tuple[str, ...]:
    """Return the images below `folder` that match, as POSIX paths relative to it, in the order of their bytes.

    Files without an image suffix are passed over; `passed_over` counts those that may be images all the same. A link to
    a file counts as that file; a link to a folder is not followed. `watch` is told of every folder below `folder` just
    before it is searched.

    Raises `InputError` when a folder cannot be read; for a link that leads nowhere; for a pipe, socket or device that
    is named like an image; and for a link that leaves the folder: what it names is not part of the repository, and a
    build that depends on it cannot be repeated elsewhere.
    """
    parts, suffixes = _compiled(pattern), image_suffixes()
    names: list[str] = []
    pending = [("", _reached({0}, parts))]
    while pending:
        prefix, places = pending.pop()
        # Plain strings and scandir's own knowledge: this runs for every image of every model in every doit.
        here = os.path.join(folder, prefix)  # noqa: PTH118
        if prefix:
            watch(Path(here))
        last = [part for place in places if place == len(parts) - 1 and (part := parts[place]) is not None]
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    name = entry.name
                    is_image = name.lower().endswith(suffixes)
                    is_named = is_image and any(part.match(name) for part in last)
                    if entry.is_dir(follow_symlinks=False):
                        if inner := _below(name, places, parts):
                            pending.append((f"{prefix}{name}/", inner))
                    elif entry.is_symlink():
                        if _link_is_image(entry, folder, is_named, bool(_below(name, places, parts))):
                            names.append(prefix + name)
                    elif is_named:
                        if not entry.is_file():
                            raise _special(entry.path)
                        names.append(prefix + name)
                    elif passed_over is not None and not is_image and any(part.match(name) for part in last):
                        passed_over.add(name)
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be read ({error.strerror}); check its permissions.") from error
    return in_order(names)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Sort names by their bytes on disk, which are the same in every locale; for UTF-8 that is the order of strings."""
    return tuple(sorted(names, key=os.fsencode))


def _compiled(pattern: str) -> tuple[_Part, ...]:
    # A wildcard at the beginning of a name does not match the dot of a hidden one.
    return tuple(
        None if part == "**" else re.compile(translate(part) if part.startswith(".") else r"(?!\.)" + translate(part))
        for part in pattern.split("/")
    )


def _reached(places: Iterable[int], parts: tuple[_Part, ...]) -> frozenset[int]:
    """Return the places in a pattern and those behind `**`, which may stand for nothing."""
    reached = set()
    for start in places:
        place = start
        reached.add(place)
        while place < len(parts) - 1 and parts[place] is None:
            place += 1
            reached.add(place)
    return frozenset(reached)


def _below(name: str, places: Iterable[int], parts: tuple[_Part, ...]) -> frozenset[int]:
    """Return with which parts the entries of the folder `name` are compared; with none, nothing in it can match."""
    further = set()
    for place in places:
        part = parts[place]
        if part is None:
            if not name.startswith("."):
                further.add(place)
        elif place < len(parts) - 1 and part.match(name):
            further.add(place + 1)
    return _reached(further, parts)


def _link_is_image(entry: os.DirEntry[str], folder: Path, is_named: bool, is_searched: bool) -> bool:
    """Whether a link stands for an image of the pool; `is_searched`: a folder of this name would be."""
    if not (is_named or is_searched):
        return False
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        raise InputError(f"{entry.path}: a symbolic link that leads nowhere; remove it.") from None
    is_folder = stat.S_ISDIR(mode)
    if not (is_searched if is_folder else is_named):
        return False
    if not Path(entry.path).resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"{entry.path}: a symbolic link that leaves the calibration folder; put the file itself there, "
            f"or name its folder in `calibration`."
        )
    if not is_folder and not stat.S_ISREG(mode):
        raise _special(entry.path)
    return not is_folder


def _special(path: str) -> InputError:
    return InputError(f"{path}: not a regular file but a pipe, socket or device, which holds no image; remove it.")
