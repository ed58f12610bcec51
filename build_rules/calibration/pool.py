"""Every image of a pool, looked at once: its content and its statistics, or why it is left out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from build_rules.calibration.images import BrokenImageError, measure
from build_rules.calibration.ordered import Progress, Workers
from build_rules.calibration.outcomes import Outcome
from build_rules.calibration.select import ImageStatistics, describe
from build_rules.calibration.store import Looks, Store, settled_marks
from build_rules.errors import InputError

__all__ = ["Member", "Pool", "look_at_pool"]

CHUNK = 1 << 20


@dataclass(frozen=True)
class Member:
    """An image that can be selected: its name in the pool, the SHA-256 of its file, its size, its statistics."""

    name: str
    path: Path
    sha256: str
    height: int
    width: int
    statistics: ImageStatistics


@dataclass(frozen=True)
class Pool:
    """The images that can be selected, in order of name, and what became of the others."""

    members: tuple[Member, ...]
    left_out: tuple[Outcome, ...]


def look_at_pool(
    folder: Path,
    names: Sequence[str],
    store: Store,
    workers: Workers,
    *,
    skip_broken: bool,
    tell: Callable[[str], None],
) -> Pool:
    """Look at the images `names` (relative to `folder`, in the order of the pool).

    Of several files with the same content the first counts. Raises `InputError` naming the first image that cannot be
    decoded, unless `skip_broken`; one that may not be read; and when none is left.
    """
    members: list[Member] = []
    left_out: list[Outcome] = []
    known: dict[str, str] = {}

    def look(name: str) -> Member | Outcome:
        try:
            return _member(name, folder / name, store)
        except BrokenImageError as error:
            if not skip_broken:
                raise
            return Outcome(name, "broken", error.reason)

    remembered = {name: member for name in names if (member := _remembered(name, folder / name, store)) is not None}
    others = [name for name in names if name not in remembered]
    progress = Progress(len(others), "images", tell)
    found = workers.in_order(look, others)
    for name in names:
        looked: Member | Outcome
        if name in remembered:
            looked = remembered[name]
        else:
            looked = next(found)
            progress.step()
        if isinstance(looked, Outcome):
            left_out.append(looked)
        elif looked.sha256 in known:
            left_out.append(Outcome(looked.name, "duplicate", f"the same file as {known[looked.sha256]}"))
        else:
            known[looked.sha256] = looked.name
            members.append(looked)
    if not members:
        first = f"{left_out[0].name}: {left_out[0].reason}"
        raise InputError(f"{folder}: none of its {len(names)} images can be decoded; the first: {first}.")
    return Pool(tuple(members), tuple(left_out))


def _remembered(name: str, path: Path, store: Store) -> Member | None:
    """Return an image whose file has not been touched since it was looked at."""
    known = store.file(path)
    return None if known is None else Member(name, path, known[0], known[1].height, known[1].width, known[1].statistics)


def _member(name: str, path: Path, store: Store) -> Member:
    marks = settled_marks(path)
    sha256 = _digest(path)
    store.keep_file(path, marks, sha256)
    looks = store.looks(sha256)
    if looks is None:
        levels, (height, width) = measure(path)
        looks = Looks(height, width, describe(levels))
        store.keep_looks(sha256, looks)
    return Member(name, path, sha256, looks.height, looks.width, looks.statistics)


def _digest(path: Path) -> str:
    sha = hashlib.sha256()
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: not a regular file; remove it from the images.")
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                sha.update(chunk)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions.") from error
    return sha.hexdigest()
