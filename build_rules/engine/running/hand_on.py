"""An output that is one of the inputs as it is: a link to that, and there is no second copy of it.

A step says so by leaving a symbolic link to the input where the output was to be written. That it leads to an input is
what makes it safe: whatever becomes of the file behind it, the step is no longer up to date.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from build_rules.engine.freshness.fingerprint import Fingerprint
from build_rules.errors import InputError, printable

__all__ = ["find_handed_on", "relink"]


def find_handed_on(drafts: Mapping[str, Path], read: Mapping[Path, Fingerprint]) -> dict[str, Path]:
    """Return the outputs of which the drafts are symbolic links, each with the input that it leads to.

    Raises `ValueError` for one that leads elsewhere: nobody would notice when that file changes.
    """
    handed_on: dict[str, Path] = {}
    for key, draft in drafts.items():
        if draft.is_symlink():
            source = next((path for path in read if os.path.samefile(path, draft)), None)
            if source is None:
                raise ValueError(f"the step left a link to {os.readlink(draft)}, which is none of its inputs")
            handed_on[key] = source
    return handed_on


def relink(draft: Path, source: Path, output: Path) -> None:
    """Let a draft lead to an input from where the output will be, by the name that the input was given.

    A workspace that is moved stays whole: what lies in it is led to by a relative path. Raises `InputError` for an
    input that is the output itself, which would be lost.
    """
    folder, workspace = os.path.realpath(output.parent), os.path.realpath(".")
    if os.path.realpath(source) == os.path.join(folder, output.name):
        raise InputError(f"{printable(str(source))}: leads to {output}, which is made of it; put the file there.")
    target = os.path.join(os.path.realpath(source.parent), source.name)
    inside = all(path.startswith(os.path.join(workspace, "")) for path in (folder, target))
    os.unlink(draft)
    os.symlink(os.path.relpath(target, folder) if inside else target, draft)
