"""An output that is one of the inputs as it is: the file gets a further name, and there is no second copy of it.

A step says so by leaving a symbolic link to the input where the output was to be written. What comes of it is a hard
link, so that the build keeps what it was built from when the input is removed or replaced; a copy where the file system
or its owner does not allow one.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from build_rules.engine.freshness.fingerprint import Fingerprint, fingerprint, marks_of, renaming, still_has
from build_rules.engine.running.failure import InputChangedError

__all__ = ["find_handed_on", "hand_on", "put_into_place", "renewed"]


def find_handed_on(drafts: Mapping[str, Path], read: Mapping[Path, Fingerprint]) -> dict[Path, Path]:
    """Return the drafts that are symbolic links, each with the input that it leads to.

    Raises `ValueError` for one that leads elsewhere: nobody would notice when that file changes.
    """
    found: dict[Path, Path] = {}
    for draft in drafts.values():
        if draft.is_symlink():
            source = next((path for path in read if os.path.samefile(path, draft)), None)
            if source is None:
                raise ValueError(f"the step left a link to {os.readlink(draft)}, which is none of its inputs")
            found[draft] = source
    return found


def hand_on(draft: Path, source: Path, known: Fingerprint) -> bool:
    """Replace the symbolic link by the input itself, whose fingerprint is known; False when it had to be copied.

    Raises `InputChangedError` when the input is not what it was.
    """
    os.unlink(draft)
    real = os.path.realpath(source)
    try:
        with renaming(real):
            os.link(real, draft)
    except OSError:  # another file system, one without links, somebody else's file, too many links already
        shutil.copyfile(real, draft)  # inside the kernel, where it can
        if fingerprint(draft).sha256 != known.sha256:
            raise InputChangedError(f"{source} changed while it was copied; run doit again.") from None
        return False
    same = still_has(marks_of(os.stat(draft)), known) if known.settled else fingerprint(draft).sha256 == known.sha256
    if not same:
        raise InputChangedError(f"{source} changed while it was handed on; run doit again.")
    return True


def put_into_place(draft: Path, output: Path) -> None:
    """Rename a draft; of a file that has several names, or replaces one that has, what is known still holds."""
    several = [path for path in (draft, output) if _has_several_names(path)]
    with renaming(*several):
        os.replace(draft, output)
        if os.path.lexists(draft):  # to POSIX, two names of one file need no renaming
            os.unlink(draft)


def _has_several_names(path: Path) -> bool:
    if not os.path.lexists(path):
        return False
    found = os.lstat(path)  # a link is replaced, whatever it leads to
    return stat.S_ISREG(found.st_mode) and found.st_nlink > 1


def renewed(path: Path, known: Fingerprint) -> Fingerprint:
    """Return the fingerprint of an input, or of the output that it is, after its names have changed."""
    marks = marks_of(os.stat(path))
    return Fingerprint(*marks, known.sha256, known.settled and still_has(marks, known))
