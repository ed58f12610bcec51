"""Which files a calibration is made from. Imports nothing heavy: every run of doit asks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from build_rules.errors import InputError

__all__ = ["list_images", "list_snapshots", "list_sources"]

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")


def _unwatched(folder: Path) -> None:
    """Nobody wants to know which folders are searched."""


def list_sources(calibration: Path, watch: Callable[[Path], None] = _unwatched) -> tuple[Path, ...]:
    """Return the files behind `calibration`: the snapshot itself, the snapshots of a folder, or the folder's images.

    In order of name. A folder holds snapshots when one called `calibration*.safetensors` lies directly in it. `watch`
    is told of every folder just before it is searched. Raises `InputError` as `list_images` does.
    """
    if calibration.is_dir():
        watch(calibration)
        if snapshots := list_snapshots(calibration):
            return snapshots
        return tuple(calibration / name for name in list_images(calibration, watch))
    return (calibration,)


def list_snapshots(folder: Path) -> tuple[Path, ...]:
    """Return the snapshots that lie directly in `folder`, in order of name."""
    return tuple(sorted(folder.glob("calibration*.safetensors")))


def list_images(folder: Path, watch: Callable[[Path], None] = _unwatched) -> tuple[str, ...]:
    """Return the images below `folder` as POSIX paths relative to it, in the order of these strings.

    Files without an image suffix, and hidden files and folders, are passed over. A link to a file counts as that file,
    a link to a folder is not followed. Raises `InputError` when the folder cannot be read or has no image, and for a
    link that leaves the folder: what it names is not part of the repository, and a build that depends on it cannot be
    repeated elsewhere.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: not a folder; `calibration` names a folder of images or a snapshot (.safetensors)."
        )
    root = folder.resolve()
    found: list[str] = []
    pending = [""]
    while pending:
        prefix = pending.pop()
        if prefix:
            watch(folder / prefix)
        # Plain strings and scandir's own knowledge: this runs for every image of every model in every doit.
        try:
            with os.scandir(os.path.join(folder, prefix)) as entries:  # noqa: PTH118
                for entry in entries:
                    name = entry.name
                    if name.startswith("."):
                        continue
                    if entry.is_symlink():
                        _check_inside(Path(entry.path), root)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{prefix}{name}/")
                    elif name.lower().endswith(_SUFFIXES) and not entry.is_dir():
                        found.append(prefix + name)
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be read ({error.strerror}); check its permissions.") from error
    if not found:
        raise InputError(f"{folder}: no image in this folder; put images ({', '.join(_SUFFIXES)}) there.")
    return tuple(sorted(found))


def _check_inside(path: Path, root: Path) -> None:
    try:
        inside = not path.is_symlink() or path.resolve().is_relative_to(root)
    except (OSError, RuntimeError) as error:  # a link that leads back to itself
        raise InputError(f"{path}: a symbolic link that leads nowhere; remove it.") from error
    if not inside:
        raise InputError(
            f"{path}: a symbolic link that leaves the calibration folder; put the file itself there, "
            f"or name its folder in `calibration`."
        )
