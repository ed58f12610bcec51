"""An input that changed, or went away, while a step read it: told as that, whatever else came of it.

What a step says that read a mixture of two files is true of neither of them, so the change is the first cause, and what
the step said stands below it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from build_rules.engine.freshness.fingerprint import Fingerprint, fingerprint, is_vague, marks_of
from build_rules.engine.running.failure import InputChangedError, StepDiedError
from build_rules.engine.running.note_reads import Noted, marks_now, noted_reads
from build_rules.errors import InputError

__all__ = ["Reader", "changed", "check_agreed", "check_unchanged", "find_change", "note_agreed", "unreadable"]


class Reader(NamedTuple):
    """A step by its name, and its owner (the model), whose steps have to read the same files."""

    task: str
    owner: str


# What each owner's steps have read and made in this process: of each file the digest, and the step that had it first.
# One for the process, since the steps of an owner share nothing else.
_agreed: dict[str, dict[str, tuple[str, str]]] = {}


def changed(path: Path, task: str, became: str = "changed") -> InputChangedError:
    """Return the error for an input that is not what it was when the step began."""
    again = "run doit again" if became == "changed" else "put it back if it is needed, and run doit again"
    return InputChangedError(f"{path} {became} while {task} read it; {again}.")


def unreadable(path: Path, task: str, error: OSError) -> Exception:
    """Return the error for a declared input that cannot be read when its step begins: doit had found it there."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return InputChangedError(
            f"{path} disappeared before {task} could read it; put it back if it is needed, and run doit again."
        )
    if isinstance(error, IsADirectoryError):
        return InputError(f"{path}: is a folder, where {task} reads a file; put the file back.")
    advice = "check its permissions" if isinstance(error, PermissionError) else "check the disk it lies on"
    return InputError(f"{path}: cannot be read ({error.strerror}); {advice}.")


def note_agreed(reader: Reader, read: Mapping[str, str], made: Mapping[str, str]) -> None:
    """Keep the digests of what a step has read and made for the later steps of its owner."""
    agreed = _agreed.setdefault(reader.owner, {})
    for path, digest in read.items():
        agreed.setdefault(path, (digest, f"{reader.task} read it"))
    agreed.update((path, (digest, f"{reader.task} made it")) for path, digest in made.items())


def check_agreed(reader: Reader, read: Mapping[Path, Fingerprint]) -> None:
    """Raise `InputChangedError` for a file of which an earlier step of the same owner had another content.

    What follows from both would be a mixture: the metadata of one network with the layers of another.
    """
    agreed = _agreed.get(reader.owner, {})
    for path, mark in read.items():
        digest, when = agreed.get(str(path), (mark.sha256, ""))
        if digest != mark.sha256:
            raise InputChangedError(f"{path} changed after {when}, before {reader.task} read it; run doit again.")


def check_unchanged(read: Mapping[Path, Fingerprint], task: str) -> None:
    """Raise `InputChangedError` unless all files are what they were."""
    for path, before in read.items():
        if (became := _became(path, before)) is not None:
            raise changed(path, task, became)


def find_change(
    read: Mapping[Path, Fingerprint], drafts: Path, started: int, task: str, error: BaseException
) -> InputChangedError | None:
    """Return what is to be told instead of `error` when something that the step read is not what it was, else None.

    `read` are its inputs as they were before, `drafts` the folder in which it noted what else it was about to read, and
    `started` when that folder was made, in ns since 1970 by the clock of its file system.
    """
    if isinstance(error, InputChangedError):
        return None
    change = next(((path, became) for path, before in read.items() if (became := _became(path, before))), None)
    if change is None:
        noted = noted_reads(drafts)
        later = ((path, _became_of(path)) for path, before in noted if _is_other(marks_now(path), before, started))
        change = next(later, None)
    if change is None:
        return None
    path, became = change
    return InputChangedError(str(changed(path, task, became)), _words(error))


def _is_other(now: Noted, before: Noted, started: int) -> bool:
    # Written since the step began, though before it came to that file.
    return now != before or (now is not None and now[2] >= started)


def _became(path: Path, before: Fingerprint) -> str | None:
    """Return what became of a file in words, None when it is what it was.

    A ctime that moved tells of an edit, even when the file was put back as it was. Content decides where marks cannot:
    those that were not settled, and a ctime of whole seconds, where a file system makes up inodes as well.
    """
    try:
        now = marks_of(os.stat(path))
        if now == before[:4] and before.settled:
            return None
        is_doubtful = now == before[:4] or (is_vague(before) and now[:2] == before[:2])
        if is_doubtful and fingerprint(path).sha256 == before.sha256:
            return None
    except OSError:
        pass
    return _became_of(path)


def _became_of(path: Path) -> str:
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "disappeared"
    except OSError as error:
        return f"became unreadable ({error.strerror})"
    return "became a folder" if stat.S_ISDIR(mode) else "changed" if stat.S_ISREG(mode) else "became no regular file"


def _words(error: BaseException) -> str:
    """Return what a step said, without the blame that such an error lays on somebody."""
    if isinstance(error, InputError):
        return error.facts
    return str(error) if isinstance(error, StepDiedError) else f"{type(error).__name__}: {error}"
