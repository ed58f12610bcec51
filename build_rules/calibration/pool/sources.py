"""Which files a calibration is made from. Imports nothing heavy: every run of doit asks."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from build_rules.calibration.pool.folders import find_images, in_order, split_pattern
from build_rules.calibration.pool.suffixes import PassedOver, image_suffixes
from build_rules.errors import InputError
from build_rules.regular_file import find_fault as find_file_fault
from build_rules.regular_file import unwatched

__all__ = ["Sources", "find_fault", "list_images", "list_snapshots", "list_sources", "sources_of"]

SNAPSHOT = ".safetensors"
LIST = ".txt"
# As a suffix may be in capitals, and not what stands before it.
_SNAPSHOTS = "calibration*" + "".join(f"[{c}{c.upper()}]" for c in SNAPSHOT)
_EXPECTED = (
    f"a folder of images, a list of images ({LIST}), a pattern such as photos/**/*.jpg, or a snapshot ({SNAPSHOT})"
)


@dataclass(frozen=True)
class Sources:
    """What a calibration is made from: snapshots, of which one is used, or images.

    `names` tell the files apart in messages: POSIX paths relative to `folder` (the folder itself, that of the list, or
    the one before the first wildcard); absolute where a list says so. They come in pool order, the order of their
    bytes, which neither disk nor locale nor the order of lines in a list can change, and `files` with them.
    """

    kind: Literal["snapshots", "images"]
    folder: Path
    names: tuple[str, ...]
    files: tuple[Path, ...]


def find_fault(calibration: Path) -> str | None:
    """Return what is wrong with what somebody wrote as `calibration`, None when nothing is; nothing is searched yet."""
    if calibration.is_dir() or (calibration.suffix.lower() in (SNAPSHOT, LIST) and calibration.is_file()):
        return None
    if os.path.lexists(calibration):
        fault = find_file_fault(calibration)
        return f"{_EXPECTED}; {calibration} is none of these" + (f" but {fault.removeprefix('is ')}" if fault else "")
    try:
        pattern = split_pattern(calibration)
    except InputError as error:
        return f"{_EXPECTED}; {str(error).rstrip('.')}"
    if pattern is None:
        return f"{_EXPECTED}; {calibration} does not exist"
    return None if pattern[0].is_dir() else f"{_EXPECTED}; there is no folder {pattern[0]}"


def list_sources(
    calibration: Path, watch: Callable[[Path], None] = unwatched, passed_over: PassedOver | None = None
) -> tuple[Path, ...]:
    """Return the files behind `calibration`, in pool order; `sources_of` tells what they are.

    That is the snapshot itself; the snapshots of a folder, which holds some when one called `calibration*.safetensors`
    lies directly in it; the images of a folder; those that match a pattern; or a list and then the files it names.
    `watch` is told of every folder and list just before it is read, `passed_over` of images that nothing here decodes.

    Raises `InputError` when there is no image, and as `find_images` and `read_list` do.
    """
    if calibration.is_dir():
        watch(calibration)
        if snapshots := list_snapshots(calibration):
            return snapshots
        return _paths(calibration, list_images(calibration, watch, passed_over))
    if calibration.suffix.lower() == LIST and calibration.is_file():
        from build_rules.calibration.pool.list_file import read_list

        watch(calibration)
        named = {_name(file, str(calibration.parent)): file for file in read_list(calibration)}
        return (calibration, *(Path(named[name]) for name in in_order(named)))
    if not os.path.lexists(calibration) and (pattern := split_pattern(calibration)) is not None:
        folder, rest = pattern
        watch(folder)
        seen = PassedOver() if passed_over is None else passed_over
        names = find_images(folder, rest, watch, seen)
        if not names:
            raise InputError(f"{calibration}: no image matches; images end in {_suffixes(seen)}.")
        return _paths(folder, names)
    return (calibration,)


def sources_of(calibration: Path, files: Sequence[Path]) -> Sources:
    """Return what the files are that `list_sources` found behind `calibration`."""
    if files[0].suffix.lower() == SNAPSHOT:
        folder = calibration if calibration.is_dir() else calibration.parent
        return Sources("snapshots", folder, tuple(file.name for file in files), tuple(files))
    pattern = split_pattern(calibration)
    if files[0] == calibration:
        folder, files = calibration.parent, files[1:]
    elif pattern is not None and not os.path.lexists(calibration):
        folder = pattern[0]
    else:
        folder = calibration
    start = str(folder)
    return Sources("images", folder, tuple(_name(str(file), start) for file in files), tuple(files))


def _paths(folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    start = str(folder)
    return tuple(map(Path, names)) if start == "." else tuple([Path(f"{start}/{name}") for name in names])


def _name(file: str, folder: str) -> str:
    """Return a file's path relative to a folder; absolute when only the file's is."""
    if folder == "." and not os.path.isabs(file):  # noqa: PTH117
        return file
    start = folder.rstrip("/") + "/"
    if file.startswith(start):
        return file[len(start) :]
    return file if os.path.isabs(file) and not os.path.isabs(folder) else os.path.relpath(file, folder)  # noqa: PTH117


def list_snapshots(folder: Path) -> tuple[Path, ...]:
    """Return the snapshots that lie directly in `folder`, in order of name.

    Raises `InputError` for a pipe, a device or a folder of such a name: nobody could ever read it to its end.
    """
    snapshots = tuple(sorted(folder.glob(_SNAPSHOTS)))
    for path in snapshots:
        if (fault := find_file_fault(path)) is not None:
            raise InputError(f"{path} {fault}; put the snapshot there, or remove it.")
    return snapshots


def list_images(
    folder: Path, watch: Callable[[Path], None] = unwatched, passed_over: PassedOver | None = None
) -> tuple[str, ...]:
    """Return all images below `folder`; hidden files and folders are passed over. The rest as `find_images`.

    Raises `InputError` when there is none.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: not a folder; `calibration` names a folder of images or a snapshot (.safetensors)."
        )
    seen = PassedOver() if passed_over is None else passed_over
    names = find_images(folder, watch=watch, passed_over=seen)
    if not names:
        raise InputError(f"{folder}: no image in this folder; put images there, which end in {_suffixes(seen)}.")
    return names


def _suffixes(passed_over: PassedOver) -> str:
    there = f"; passed over: {passed_over}" if passed_over.counts else ""
    return f"{', '.join(image_suffixes())}{there}"
