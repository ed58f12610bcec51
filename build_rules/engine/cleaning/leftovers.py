"""What steps have made that nobody declares any more: targets that were taken out, models that are gone.

The records tell: only what a step has written, and what still is as it wrote it, is removed. What cannot be told (a
model that is declared wrongly, a folder that cannot be read) counts as declared.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from build_rules.engine.freshness.current_run import current_run
from build_rules.engine.freshness.fingerprint import as_fingerprint, is_unchanged
from build_rules.engine.places import BUILD

__all__ = ["Leftover", "find_leftovers", "why_kept"]


@dataclass(frozen=True)
class Leftover:
    """A step that was recorded and is declared no more, with its outputs that are still there."""

    task: str
    outputs: Mapping[str, Any]

    def empty_folders(self) -> Iterator[str]:
        """Remove the folders of its outputs that hold nothing, the innermost first; yield what was removed."""
        folders = {str(parent) for path in self.outputs for parent in PurePath(path).parents if len(parent.parts) > 1}
        for folder in sorted(folders, key=len, reverse=True):
            with suppress(OSError):
                if not os.path.islink(folder) and _is_ours(os.path.join(folder, "x")):
                    os.rmdir(folder)
                    yield folder


def find_leftovers(tasks: Iterable[str], values: Callable[[str], Mapping[str, Any]]) -> list[Leftover]:
    """Return what the records of tasks that are declared no more tell of; `values` returns the record of one."""
    leftovers = []
    for task in sorted(filter(current_run.declares_no_more, tasks)):
        record = values(task)
        if isinstance(record.get("key"), dict):  # else it is none of our steps
            written = {path: mark for path, mark in record.get("outputs", {}).items() if not current_run.writes(path)}
            leftovers.append(Leftover(task, {path: mark for path, mark in written.items() if os.path.lexists(path)}))
    return leftovers


def why_kept(path: str, mark: Any) -> str | None:
    """Return why a file is not removed, None when it is what a step wrote, where it wrote it.

    A link to a given file goes with it: one that leads to what the step handed on, or to what is gone by now.
    """
    if not _is_ours(path):
        return f"does not lie in {BUILD}/ itself"
    mode = os.lstat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        return "is not a regular file"
    if is_unchanged(path, as_fingerprint(mark)) or not os.path.exists(path):
        return None
    return "is not what the step wrote"


def _is_ours(path: str) -> bool:
    """Whether a path lies below `build/` without any link on the way."""
    parts = PurePath(path).parts
    if len(parts) < 2 or parts[0] != BUILD or ".." in parts:
        return False
    return not any(os.path.islink(os.path.join(*parts[:number])) for number in range(1, len(parts)))
