"""Images as a network takes them, wherever they come from: of a snapshot, or of files that were fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from build_rules.compilers.samples import Samples

__all__ = ["Images", "SampleRows", "spread"]


class Images(Protocol):
    """Images as the network takes them, one at a time."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def image(self, number: int) -> NDArray[np.uint8]:
        """Return one, uint8 [H, W, C]; called from several threads."""
        ...

    def name(self, number: int) -> str:
        """Return what people call it."""
        ...


@dataclass(frozen=True)
class SampleRows:
    """Some rows of a snapshot."""

    samples: Samples
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def image(self, number: int) -> NDArray[np.uint8]:
        """Return one, uint8 [H, W, C]."""
        pixels: NDArray[np.uint8] = self.samples.sample(self.rows[number])[0]
        return pixels

    def name(self, number: int) -> str:
        """Return the row's number, which is all that a snapshot tells."""
        return f"calibration sample {self.rows[number]}"


def spread(rows: Sequence[int], most: int) -> tuple[int, ...]:
    """Return at most so many of some rows, evenly spread over them: neighbours are often of one scene."""
    count = min(most, len(rows))
    return tuple(rows[(2 * number + 1) * len(rows) // (2 * count)] for number in range(count))
