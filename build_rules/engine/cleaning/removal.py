"""How `doit clean` removes, with `--stale` and without, and what it could not remove.

That is kept until everything has been tried: doit itself goes on and exits with 0.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

from doit.exceptions import InvalidCommand

from build_rules.engine.lock import LOCK, REFUSED, lock_workspace
from build_rules.engine.ownership import explain_unwritable
from build_rules.engine.places import failed_folder, leads_out, remove_tree
from build_rules.engine.standard_streams import say

__all__ = ["Removal", "removal"]


class Removal:
    """The removals of one process: paths that were removed are printed, the others are kept with the reason."""

    def __init__(self) -> None:
        self._failed: dict[Path, OSError] = {}
        self._refused = ""
        self._passed_over = ""
        self._workspace_is_ours = False

    def take_workspace(self) -> bool:
        """Wait for a build that is going on here; return whether anything can be removed at all."""
        if not (self._workspace_is_ours or self._refused):
            try:
                lock_workspace(LOCK)
            except InvalidCommand as error:
                self.refuse(str(error).removeprefix(REFUSED))
            else:
                self._workspace_is_ours = True
        return not self._refused

    def refuse(self, reason: str) -> None:
        """Say why nothing can be removed at all."""
        self._refused = reason

    def pass_over(self, reason: str) -> None:
        """Say why what one step has made is not looked for; what others have made is removed."""
        self._passed_over = self._passed_over or reason

    def failed(self, path: Path, error: OSError) -> None:
        """Keep what could not be removed."""
        self._failed[path] = error

    def remove(self, path: Path, task: str, dryrun: bool) -> bool:
        """Remove a file if it is there, or only say so; return whether nothing stands in the way."""
        if self._refused or not os.path.lexists(path):
            return not self._refused
        try:
            if not dryrun:
                os.unlink(path)
        except FileNotFoundError:
            return True
        except OSError as error:
            self.failed(path, error)
            return False
        say(sys.stdout, f"{task} - removing file '{path}'\n")
        return True

    def remove_kept(self, task: str, dryrun: bool) -> None:
        """Remove what a failed run of a step has left to be looked at, or only say so."""
        place = failed_folder(task)
        if self._refused or not os.path.lexists(place) or leads_out(place.parent):
            return
        if not dryrun:
            remove_tree(place)
            if os.path.lexists(place):
                self.failed(place, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
                return
            with suppress(OSError):
                os.rmdir(place.parent)
        say(sys.stdout, f"{task} - removing dir '{place}'\n")

    def explain_failures(self) -> str:
        """Return one paragraph on what could not be removed; nothing when there is nothing to tell."""
        if self._refused:
            return f"nothing was removed: {self._refused}"
        if not self._failed:
            return self._passed_over
        path, error = next(iter(self._failed.items()))
        # To remove a file is to write its folder.
        why = explain_unwritable(path if path.is_dir() else path.parent, error).replace(
            "cannot be written", "cannot be changed"
        )
        others = f" (and {len(self._failed) - 1} more)" if len(self._failed) > 1 else ""
        return f"{path}{others} cannot be removed: {why}"


removal = Removal()
"""One for the process: doit calls the action of each task by itself, and the command tells at the end what failed."""
