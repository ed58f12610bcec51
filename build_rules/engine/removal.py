"""What `doit clean` could not remove, kept until it has tried everything: doit itself goes on and exits with 0."""

from __future__ import annotations

import os
from pathlib import Path

from build_rules.engine.ownership import explain_unwritable

__all__ = ["Removal", "removal"]


class Removal:
    """The removals of one process: paths that were removed are printed, the others are kept with the reason."""

    def __init__(self) -> None:
        self._failed: dict[Path, OSError] = {}
        self._refused = ""

    def refuse(self, reason: str) -> None:
        """Say why nothing can be removed at all."""
        self._refused = reason

    def failed(self, path: Path, error: OSError) -> None:
        """Keep what could not be removed."""
        self._failed[path] = error

    def remove(self, path: Path, task: str, dryrun: bool) -> None:
        """Remove a file if it is there, or only say so."""
        if self._refused or not os.path.lexists(path):
            return
        try:
            if not dryrun:
                os.unlink(path)
        except FileNotFoundError:
            return
        except OSError as error:
            self.failed(path, error)
        else:
            print(f"{task} - removing file '{path}'")

    def told(self) -> str:
        """Return one paragraph on what could not be removed; nothing when there is nothing to tell."""
        if self._refused:
            return f"nothing was removed: {self._refused}"
        if not self._failed:
            return ""
        path, error = next(iter(self._failed.items()))
        # To remove a file is to write its folder.
        why = explain_unwritable(path if path.is_dir() else path.parent, error).replace(
            "cannot be written", "cannot be changed"
        )
        others = f" (and {len(self._failed) - 1} more)" if len(self._failed) > 1 else ""
        return f"{path}{others} cannot be removed: {why}"


removal = Removal()
