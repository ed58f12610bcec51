"""What the float network does on calibration data, reduced to a few numbers per tensor; and ranges chosen from that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from build_rules.compilers.emulator.finite import maskable, not_finite
from build_rules.compilers.emulator.network import Floats, Network
from build_rules.compilers.emulator.qdq import float_model
from build_rules.compilers.emulator.quantization_plan import Plan
from build_rules.compilers.emulator.sessions import map_samples, open_session, run
from build_rules.compilers.samples import Samples

__all__ = ["Observation", "inner_range", "observe", "outer_range"]

KEPT_VALUES = 32768
"""Values kept per tensor over all samples, to choose its range by."""

BINS = 2048
WIDE_STEPS = 1 << 13
"""Steps that 16-bit tensors hold beyond either end of the range seen: an eighth of all they have."""

MASKED = -5000.0
"""Before a softmax, values from here on down are those of a mask (-1e4, -65504, -1e9, -infinity are usual)."""

SHRINKS = np.linspace(1.0, 0.2, 41)


@dataclass(frozen=True)
class Observation:
    """One tensor over all calibration samples: exact extremes, some values, the mean per channel (axis 1).

    All of these are of its finite values; `masked` says that there were others: -infinity, as masks of attention are.
    """

    low: float
    high: float
    values: Floats
    channel_means: Floats
    masked: bool = False


def observe(
    network: Network, plan: Plan, tensors: Sequence[str], samples: Samples, indices: Sequence[int]
) -> dict[str, Observation]:
    """Run the float network on the samples `indices` and observe `tensors` and every delivered output (by vstream).

    Raises `SampleError` for a sample on which the network fails or gives what is no number.
    """
    session = open_session(float_model(network, plan, tensors))
    keep, masks = max(64, KEPT_VALUES // len(indices)), maskable(network)

    def observe_sample(index: int) -> dict[str, Observation]:
        values = run(session, samples.sample(index))
        observed = {name: _observe(value, keep, name in masks) for name, value in values.items()}
        sound = {name: each for name, each in observed.items() if each is not None}
        if len(sound) < len(observed) or any(sound[output.name].masked for output in network.outputs):
            raise not_finite(network, plan, samples.sample(index), index)
        return sound

    return _merge(map_samples(observe_sample, indices))


def _observe(value: Floats, keep: int, is_maskable: bool) -> Observation | None:
    """Return the observation of one sample; None when it is neither finite nor a mask over finite values."""
    if is_maskable and value.min() <= MASKED:
        value = np.where(value <= MASKED, np.float32(-np.inf), value)
    flat = value.reshape(-1)
    low, high = float(flat.min()), float(flat.max())
    axes = tuple(axis for axis in range(value.ndim) if axis != 1)
    # An odd step walks through all channels and columns instead of hitting the same ones again and again.
    step = max(1, flat.size // keep) | 1
    if np.isfinite(low) and np.isfinite(high):
        with np.errstate(over="ignore"):
            means = value.mean(axis=axes)
        if not np.isfinite(means).all():  # large values, whose sum no float holds
            means = value.mean(axis=axes, dtype=np.float64)
        return Observation(low, high, flat[::step].copy(), np.asarray(means, dtype=np.float32))
    is_finite = np.isfinite(value)
    if high == np.inf or np.isnan(high) or not is_finite.any():
        return None
    finite, kept = value[is_finite], flat[::step]
    counts = np.maximum(is_finite.sum(axis=axes), 1)
    means = np.where(is_finite, value, 0).sum(axis=axes, dtype=np.float64) / counts
    return Observation(float(finite.min()), high, kept[np.isfinite(kept)], np.asarray(means, np.float32), masked=True)


def _merge(observed: Sequence[Mapping[str, Observation]]) -> dict[str, Observation]:
    merged = {}
    for name in observed[0]:
        parts = [each[name] for each in observed]
        merged[name] = Observation(
            low=min(part.low for part in parts),
            high=max(part.high for part in parts),
            values=np.concatenate([part.values for part in parts]),
            channel_means=np.stack([part.channel_means for part in parts]).mean(axis=0, dtype=np.float64).astype("f4"),
            masked=any(part.masked for part in parts),
        )
    return merged


def inner_range(observation: Observation, bits: int) -> tuple[float, float]:
    """Return the range for a tensor inside the network.

    8 bits: halfway (geometrically) between the range of least error on the observed values and the exact one. The
    first alone clips what unseen images reach, the second alone wastes steps on rare peaks. Measured on unseen images:
    with few calibration samples within a tenth of min-max, with many better; percentiles are two to five times worse.
    """
    if bits > 8:
        return outer_range(observation, bits)
    best = _best_range(observation, bits)
    low, high = min(observation.low, 0.0), max(observation.high, 0.0)
    return -math.sqrt(best[0] * low), math.sqrt(best[1] * high)


def outer_range(observation: Observation, bits: int) -> tuple[float, float]:
    """Return the exact range seen; for 16 bits with a margin, because resolution is plentiful then, clipping is not.

    The margin is a whole number of steps, so that the ends of the range seen stay on the grid, as they are with 8 bits.
    """
    low, high = min(observation.low, 0.0), max(observation.high, 0.0)
    if bits <= 8:
        return low, high
    # A range that ends at 0 does so because of an activation; nothing leaves it on that side.
    below, above = int(WIDE_STEPS * (low < 0)), int(WIDE_STEPS * (high > 0))
    step = (high - low) / ((1 << bits) - 1 - below - above)
    return low - below * step, high + above * step


def _best_range(observation: Observation, bits: int) -> tuple[float, float]:
    """Return the range whose grid of `bits` bits has the least mean squared error on the observed values.

    Error of a candidate = what it clips away + scale^2 / 12 for what it keeps (rounding errors are uniform). Candidates
    shrink the upper end, then the lower, of the exact range.
    """
    low, high = min(observation.low, 0.0), max(observation.high, 0.0)
    if high - low <= 0.0:
        return low, high
    counts, edges = np.histogram(observation.values, bins=BINS, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    top = (1 << bits) - 1

    def error(candidate_low: float, candidate_high: float) -> float:
        clipped = centres - np.clip(centres, candidate_low, candidate_high)
        inside = counts[clipped == 0].sum()
        scale = (candidate_high - candidate_low) / top
        return float((counts * clipped**2).sum() + inside * scale**2 / 12)

    high = min((error(low, high * shrink), -shrink, high * shrink) for shrink in SHRINKS)[2]
    low = min((error(low * shrink, high), -shrink, low * shrink) for shrink in SHRINKS)[2]
    return low, high
