"""Where in an output the objects are, as the float network sees it: the weights by which errors are counted.

A detector's outputs are background nearly everywhere. Their mean error says how well the background is kept; whoever
reads the outputs keeps the few cells with high scores and throws the rest away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from build_rules.compilers.emulator.network import Floats, Network

__all__ = ["Errors", "Target", "Targets", "cell_weights", "on_grid", "score_outputs", "weighted_errors"]

RARE = 4.0
"""Without scores: so many standard deviations from the mean cell (per channel, in the mean) count fully."""


@dataclass(frozen=True, eq=False)
class Target:
    """What the float network delivers for one sample, and the weight of each cell; both by vstream."""

    delivered: Mapping[str, Floats]
    weights: Mapping[str, npt.NDArray[np.float64]]


Targets = Mapping[int, Target]
"""By sample."""

Errors = dict[str, float]


def score_outputs(network: Network, folded: Mapping[str, str]) -> tuple[str, ...]:
    """Return the vstreams that deliver probabilities: a sigmoid is the last thing that is done to them."""
    activations = {layer.name: layer.activation for layer in network.layers}
    return tuple(
        output.name
        for output in network.outputs
        if folded.get(output.name, activations.get(output.name)) in ("sigmoid", "hardsigmoid")
    )


def cell_weights(delivered: Mapping[str, Floats], scores: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
    """Return the weight, 0 to 1, of every cell ([H, W]) of every output of one sample ([1, H, W, C], real values).

    It is the best score at that place: of the score outputs of the same grid, or else of all of them, brought to that
    grid. Without any (raw anchor grids hold scores among other things, and nothing here tells which channels these
    are) a cell weighs what it deviates from the mean cell of its output: objects are rare, background is not.
    """
    if not scores:
        return {name: _rarity(value[0].astype(np.float64)) for name, value in delivered.items()}
    best = [delivered[name][0].max(axis=-1).astype(np.float64) for name in scores]
    weights = {}
    for name, value in delivered.items():
        grid = (value.shape[1], value.shape[2])
        same = [scale for scale in best if scale.shape == grid]
        parts = same or [on_grid(scale, grid) for scale in best]
        weights[name] = np.clip(np.max(parts, axis=0), 0.0, 1.0)
    return weights


def _rarity(value: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean square of a cell's deviations, each in standard deviations of its channel, capped at `RARE`."""
    cells = value.reshape(-1, value.shape[-1])
    deviations = (cells - cells.mean(axis=0)) / np.maximum(cells.std(axis=0), 1e-12)
    return np.asarray(np.minimum((deviations**2).mean(axis=1) / RARE**2, 1.0).reshape(value.shape[:2]))


def _squares(value: Floats, wanted: Floats) -> npt.NDArray[np.float64]:
    return np.asarray(((value[0] - wanted[0]).astype(np.float64) ** 2).mean(axis=-1))


def on_grid(scale: npt.NDArray[np.float64], grid: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return a map on another grid: each cell the largest value of those that it covers, or the one it lies in."""
    for axis, size in enumerate(grid):
        begins = np.arange(size) * scale.shape[axis] // size
        if scale.shape[axis] > size:
            scale = np.maximum.reduceat(scale, begins, axis=axis)
        else:
            scale = np.take(scale, begins, axis=axis)
    return scale


def weighted_errors(found: Mapping[str, Floats], target: Target) -> Errors:
    """Return the sum over cells of weight times mean squared error, for the outputs that there are in `found`."""
    return {
        name: float((_squares(value, target.delivered[name]) * target.weights[name]).sum())
        for name, value in found.items()
    }
