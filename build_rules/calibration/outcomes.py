"""What became of the images of a pool."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Outcome"]


@dataclass(frozen=True)
class Outcome:
    """An image that is left out: `kind` is `broken` or `duplicate`, `reason` says it in words."""

    name: str
    kind: str
    reason: str
