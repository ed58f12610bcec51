"""What a failed run of a step leaves to be looked at: a folder below `build/.failed/`, which is no output.

A step that wants one is told its place. There is nothing there while it runs, what it puts there stays when it fails
and until it runs again, and goes when it succeeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from build_rules.engine import places

__all__ = ["keeping", "kept_by"]


@contextmanager
def keeping(step: str) -> Iterator[Path]:
    """Give a step the place of what it leaves when the block fails. Raises `InputError` where a link is in the way."""
    place = places.failed_folder(step)
    places.make_folder(places.LEFTOVERS)
    places.remove_tree(place)
    yield place
    places.remove_tree(place)


def kept_by(step: str) -> Path | None:
    """Return where a failed run of a step has left something; None when it has not."""
    place = places.failed_folder(step)
    return place if place.is_dir() and not places.leads_out(place) else None
