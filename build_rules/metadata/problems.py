"""What a check finds, and the two questions that every check asks of a shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from build_rules.trainer.vocabulary import DIMENSIONS

__all__ = ["Problem", "axis", "error", "mapping", "pair_of_axes", "warning"]


MAX_TEXT = 1000
MAX_AXES = 16


@dataclass(frozen=True)
class Problem:
    """One violation: the `item` of the checklist, the `path` in the document, and a `text` that continues the path.

    `severity` is `error` (a reader fails or is wrong) or `warning` (it depends on the reader).
    """

    item: int
    path: str
    text: str
    severity: str

    def __str__(self) -> str:
        """Return the line that a user reads."""
        return f"{self.severity}: {self.path} {self.text} (check {self.item})"


def error(item: int, path: str, text: str) -> Problem:
    """Return a problem that makes a reader fail or decode wrongly."""
    return Problem(item, path, text[:MAX_TEXT], "error")


def warning(item: int, path: str, text: str) -> Problem:
    """Return a problem that some readers survive."""
    return Problem(item, path, text[:MAX_TEXT], "warning")


def mapping(value: Any) -> list[dict[str, Any]]:
    """Return the mappings in a list; nothing for anything else."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def axis(section: dict[str, Any], name: str) -> int | None:
    """Return the size of a named axis according to `dshape`, None when it does not name it."""
    named = section.get("dshape")
    for entry in mapping(named[:MAX_AXES]) if isinstance(named, list) else ():
        size = entry.get(name)
        if type(size) is int:
            return size
    return None


def pair_of_axes(item: int, path: str, section: dict[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with `shape` and `dshape`: positive sizes, and a one-key object of the same size for each."""
    shape, dshape = section.get("shape"), section.get("dshape")
    if not isinstance(shape, list) or not shape or not all(type(size) is int and size > 0 for size in shape):
        yield error(item, f"{path}.shape", f"is {shape!r}, not a list of positive integers")
        return
    if not isinstance(dshape, list) or not all(isinstance(entry, dict) and len(entry) == 1 for entry in dshape):
        yield error(item, f"{path}.dshape", "is not a list of one-key objects, one for each axis of shape")
        return
    names = [name for entry in dshape for name in entry]
    sizes = [size for entry in dshape for size in entry.values()]
    if sizes != shape or not all(type(size) is int for size in sizes):
        yield error(item, f"{path}.dshape", f"does not have the order and sizes of shape {shape!r}")
    unknown = sorted(set(names) - set(DIMENSIONS))
    if unknown:
        yield error(item, f"{path}.dshape", f"has unknown axis names {', '.join(unknown)}")
