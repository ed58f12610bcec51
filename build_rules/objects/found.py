"""What was found in one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Objects"]


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects by falling score: `boxes` [K, 4] x1 y1 x2 y2 in pixels of the network's input, unclipped.

    `scores` [K] in 0..1, `labels` [K] class indices.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
