"""A split hint: which channels of which output are quantized apart, whoever says so.

Trainers write hints into their document, people into `model.toml`, and the graph tells them where nobody does. In
`split.json`::

    {"target": "output0", "boundaries": [{"name": "boxes", "channels": [0, 4], "activation": null}],
     "strides": [8, 16, 32], "anchors_per_cell": 1}
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["SplitBoundary", "SplitHint", "hint_members", "load_hint"]


@dataclass(frozen=True)
class SplitBoundary:
    """Channels [start, stop) of an output that are quantized apart; `activation` is what has to follow the cut."""

    name: str
    channels: tuple[int, int]
    activation: str | None = None

    @property
    def start(self) -> int:
        """The first channel."""
        return self.channels[0]

    @property
    def stop(self) -> int:
        """The channel behind the last one."""
        return self.channels[1]


@dataclass(frozen=True)
class SplitHint:
    """One graph output and its boundaries.

    `strides` is empty when nobody gives any. `axis` is the output's axis of channels, known once the hint was held
    against the graph; no file has it.
    """

    target: str
    boundaries: tuple[SplitBoundary, ...]
    strides: tuple[int, ...] = ()
    anchors_per_cell: int = 1
    axis: int = field(default=1, compare=False)


def hint_members(hint: SplitHint) -> dict[str, Any]:
    """Return the JSON members of a hint."""
    return {key: value for key, value in asdict(hint).items() if key != "axis"}


def load_hint(members: dict[str, Any]) -> SplitHint:
    """Return the hint of these members. Raises `KeyError` or `TypeError` for others."""
    boundaries = (SplitBoundary(b["name"], tuple(b["channels"]), b["activation"]) for b in members["boundaries"])
    return SplitHint(members["target"], tuple(boundaries), tuple(members["strides"]), members["anchors_per_cell"])
