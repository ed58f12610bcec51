"""Whose a file is that cannot be written or removed, in words; and files that whoever shares the folder can write.

Permissions are those of the file system: nothing is changed in them. Files are made with mode 0666 and folders with
0777, of which the umask takes away what the person does not want to share; a group shares a workspace with folders that
hand on their group (setgid) and umask 002.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

__all__ = ["FORBIDDEN", "NEW_FILE", "create_shared", "explain_unreadable", "explain_unwritable", "is_writable"]

FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors that say nothing but that this user may not write there."""
NEW_FILE = 0o666


def create_shared(path: str | os.PathLike[str]) -> None:
    """Make an empty file unless there is one, as the umask says: sqlite's own would be 0644 whatever that is.

    What cannot be made is left to whoever opens it.
    """
    with suppress(OSError):
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, NEW_FILE))


def is_writable(path: Path) -> bool:
    """Whether this user can write a file, which need not be there; a file system mounted read-only says no."""
    return os.access(_decisive(path), os.W_OK)


def explain_unwritable(path: Path, error: OSError | None = None) -> str:
    """Return one sentence or two: which file cannot be written, why, whose the place is, and what to do."""
    place = _decisive(path)
    error = error or _expected_error(place)
    reason = error.strerror or type(error).__name__
    if error.errno not in FORBIDDEN:
        return f"{path} cannot be written ({reason})."
    refusal = f"{path} cannot be written ({reason}): {place} belongs to {_owner(place)}"
    if error.errno == errno.EROFS:
        return f"{refusal}, and the file system is mounted read-only; mount it for writing, or build in a copy."
    return (
        f"{refusal}, and this is {_user(os.geteuid())}; build as that user, or have it made writable for you: a group "
        "shares a workspace with setgid folders and umask 002."
    )


def explain_unreadable(path: Path) -> str | None:
    """Return one sentence on why this user cannot read a file, and whose it is; None when it can, or none is there."""
    for place in (*reversed(path.parents), path):
        if os.path.lexists(place) and not os.access(place, os.R_OK | (os.X_OK if os.path.isdir(place) else 0)):
            return f"{path} cannot be read: {place} belongs to {_owner(place)}, and this is {_user(os.geteuid())}."
    return None


def _expected_error(place: Path) -> OSError:
    """Return the error with which the system would refuse to write there."""
    number = errno.EACCES
    with suppress(OSError):
        if os.statvfs(place).f_flag & os.ST_RDONLY:
            number = errno.EROFS
    return OSError(number, os.strerror(number))


def _decisive(path: Path) -> Path:
    """Return what decides whether a file can be written: itself, or the folder in which it would be made."""
    with suppress(OSError):
        if path.exists() and not os.access(path, os.W_OK):
            return path
    for folder in path.parents:
        if os.path.lexists(folder):
            return folder
    return path


def _owner(path: Path) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return "somebody unknown"
    return f"{_user(status.st_uid)} (mode {status.st_mode & 0o7777:04o}, group {_group(status.st_gid)})"


def _user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except (KeyError, OSError):
        return f"user {number}"


def _group(number: int) -> str:
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except (KeyError, OSError):
        return str(number)
