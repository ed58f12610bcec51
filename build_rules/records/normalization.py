"""What pixels become before a network sees them, as numbers: one record for whoever says, stores or applies it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["UNIT", "Normalization", "read_normalization"]


@dataclass(frozen=True)
class Normalization:
    """`real = (pixel * scale - mean) / std`, with mean and std per channel."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def in_pixels(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return (mean, std) such that `real = (pixel - mean) / std`, as Hailo's `normalization` command takes them."""
        return tuple(value / self.scale for value in self.mean), tuple(value / self.scale for value in self.std)

    def in_order(self, channels: Sequence[int]) -> Normalization:
        """Return the same for pixels whose channels come in another order."""
        return Normalization(self.scale, *(tuple(each[k] for k in channels) for each in (self.mean, self.std)))


UNIT = Normalization(1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Three channels brought to 0..1, which holds where nobody says a word."""


def read_normalization(members: Mapping[str, Any]) -> Normalization:
    """Return what `dataclasses.asdict` made members of a JSON object. Raises `KeyError` and `TypeError`."""
    return Normalization(members["scale"], tuple(members["mean"]), tuple(members["std"]))
