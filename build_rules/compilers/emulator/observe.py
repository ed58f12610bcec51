"""What the float network does on calibration samples, reduced to a few numbers per tensor.

The same function collects them for all presets (`collect.py`) and for one network alone, so both are the same bits.
They depend on no number of threads: each sample is computed by one thread from end to end, in sessions of one thread,
and what it gives is combined in the order of the samples; extremes do not depend on an order, and means are summed up
in float64. Only means that one sample's own kernels make are sums of float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from build_rules.compilers.emulator.finite import maskable, not_finite
from build_rules.compilers.emulator.network import Floats, Network
from build_rules.compilers.emulator.observing_graph import Reduced, observing_model, read_reduced, step_over
from build_rules.compilers.emulator.qdq import float_model
from build_rules.compilers.emulator.quantization_plan import Plan, rounding_layers, share_grids
from build_rules.compilers.emulator.script_settings import Settings
from build_rules.compilers.emulator.sessions import each_sample, open_session, run
from build_rules.compilers.samples import Samples
from build_rules.inference import Session

__all__ = ["Observation", "observe", "observe_all"]

KEPT_VALUES = 32768
"""Values kept per tensor over all samples, to choose its range by."""

MASKED = -5000.0
"""Before a softmax, values from here on down are those of a mask (-1e4, -65504, -1e9, -infinity are usual)."""

NONE = np.zeros(0, np.float32)
PLACES = 7919
"""A prime: where the values of one sample begin is moved by it, so that samples show different places of a tensor."""

FOLDED: Mapping[str, Callable[[Floats], Floats]] = {
    "sigmoid": lambda value: (0.5 + 0.5 * np.tanh(0.5 * value.astype(np.float64))).astype(np.float32),
    "relu": lambda value: np.maximum(value, np.float32(0)),
    "tanh": lambda value: np.tanh(value.astype(np.float64)).astype(np.float32),
}


@dataclass(frozen=True)
class Observation:
    """One tensor over all calibration samples: each one's exact extremes, and some values of all.

    `channel_means`, along axis 1, are there where a layer with a kernel reads it, else none. All of these are of its
    finite values; `masked` says that there were others: -infinity, as masks of attention are. Of a tensor that only
    moves what others hold, and is read by such a layer, there are the means alone.
    """

    lows: Floats
    highs: Floats
    values: Floats
    channel_means: Floats
    masked: bool = False

    @property
    def low(self) -> float:
        """Return the smallest value of all samples."""
        return float(self.lows.min())

    @property
    def high(self) -> float:
        """Return the largest value of all samples."""
        return float(self.highs.max())

    @property
    def samples(self) -> int:
        """Return how many samples were seen."""
        return len(self.lows)


def observe(
    network: Network,
    plan: Plan,
    tensors: Sequence[str],
    samples: Samples,
    indices: Sequence[int],
    kept: Mapping[str, Observation] | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Observation]:
    """Observe `tensors`, what layers with a kernel read, and every delivered output (by vstream, activation folded).

    Of `plan` only normalization and folded activations count. `kept` is what `observe_all` gave for the same network,
    normalization and samples. Raises `SampleError` for a sample on which the network fails or gives what is no number.
    """
    seen = dict(observe_all(network, plan, samples, indices, progress) if kept is None else kept)
    # A line of the script may round what usually is only moved.
    further = [tensor for tensor in tensors if tensor not in seen or not seen[tensor].samples]
    if further:
        more = _Observer(network, plan, further, (), samples, indices).observe(progress)
        seen |= {name: replace(more[name], channel_means=_means(seen.get(name), more[name])) for name in further}
    return seen | {
        output.name: _folded(seen[output.tensor], plan.folded.get(output.name)) for output in network.outputs
    }


def observe_all(
    network: Network,
    plan: Plan,
    samples: Samples,
    indices: Sequence[int],
    progress: Callable[[str], None] | None = None,
) -> dict[str, Observation]:
    """Observe, by ONNX tensor, all that the quantization of a network needs, whatever the script says of its layers.

    These are what layers make, of those that do not merely move values; what layers with a kernel read, of which the
    means alone are taken; and the end tensors, as the graph has them. Of `plan` only the normalization counts.
    """
    shared = share_grids(network, Settings())
    made = [tensor for layer in rounding_layers(network, shared) for tensor in layer.outputs]
    read = [layer.inputs[0] for layer in network.weighted]
    ends = [output.tensor for output in network.outputs]
    return _Observer(network, plan, [*made, *ends], read, samples, indices).observe(progress)


def _means(known: Observation | None, new: Observation) -> Floats:
    return new.channel_means if known is None else known.channel_means


def _folded(seen: Observation, activation: str | None) -> Observation:
    """Return what an activation, all of which rise, makes of an observation; the means stay those before it."""
    fold = FOLDED.get(activation or "")
    if fold is None:
        return seen
    return replace(seen, lows=fold(seen.lows), highs=fold(seen.highs), values=fold(seen.values))


class _Observer:
    """Runs a network sample by sample, and keeps what is to be known of some tensors.

    Usually that is reduced within the network. Where that cannot be, and where a sample gives values that are not
    finite or may be masks, all tensors are looked at one by one: it depends on network and sample alone.
    """

    def __init__(
        self,
        network: Network,
        plan: Plan,
        tensors: Sequence[str],
        read: Sequence[str],
        samples: Samples,
        indices: Sequence[int],
    ) -> None:
        self.network, self.plan, self.samples, self.indices = network, plan, samples, indices
        self.tensors, self.read = frozenset(tensors), frozenset(read)
        self.names = tuple(dict.fromkeys((*tensors, *read)))
        self.keep, self.masks = max(64, KEPT_VALUES // len(indices)), maskable(network)
        self.quick = self._open_quick()

    def _open_quick(self) -> Session | None:
        """Open the network that reduces its tensors; None when its operators are too old, or tensors are no floats."""
        try:
            return open_session(observing_model(self.network, self.plan, self.names, self.tensors, self.keep))
        except Exception:  # onnxruntime's errors share no other base class
            return None

    @cached_property
    def careful(self) -> Session:
        """Return the session that delivers whole tensors."""
        return open_session(float_model(self.network, self.plan, self.names, delivers=False))

    def observe(self, progress: Callable[[str], None] | None) -> dict[str, Observation]:
        """Return the observations of all samples."""
        parts: dict[str, list[Observation]] = {name: [] for name in self.names}
        for seen in each_sample(self._observe_sample, range(len(self.indices)), "observing", progress):
            for name, part in seen.items():
                parts[name].append(part)
        return {name: _merge(each) for name, each in parts.items()}

    def _observe_sample(self, number: int) -> dict[str, Observation]:
        index, shift = self.indices[number], number * PLACES
        image = self.samples.sample(index)
        if self.quick is not None:
            reduced = read_reduced(self.network, self.quick, self.names, image, shift)
            if all(self._is_plain(name, each) for name, each in reduced.items()):
                return {name: self._observation(name, each) for name, each in reduced.items()}
        values = run(self.careful, image)
        seen = {name: _observe(value, self.keep, name in self.masks, shift) for name, value in values.items()}
        sound = {name: each for name, each in seen.items() if each is not None}
        if len(sound) < len(seen) or any(sound[name].masked for name in self.network.graph.outputs if name in sound):
            raise not_finite(self.network, self.plan, image, index)
        return {name: self._needed(name, each) for name, each in sound.items()}

    def _is_plain(self, name: str, reduced: Reduced) -> bool:
        """Say whether a tensor holds nothing but finite values, and no mask; one that is NaN makes its mean NaN."""
        ends = [] if reduced.low is None or reduced.high is None else [reduced.low, reduced.high]
        masked = name in self.masks and bool(ends) and ends[0] <= MASKED
        return not masked and bool(np.isfinite(reduced.means).all() and np.isfinite(ends).all())

    def _observation(self, name: str, reduced: Reduced) -> Observation:
        low, high = (NONE if end is None else np.full(1, end, np.float32) for end in (reduced.low, reduced.high))
        return self._needed(name, Observation(low, high, NONE if reduced.some is None else reduced.some, reduced.means))

    def _needed(self, name: str, seen: Observation) -> Observation:
        means = seen.channel_means if name in self.read else NONE
        return replace(seen, channel_means=means) if name in self.tensors else Observation(NONE, NONE, NONE, means)


def _some(value: Floats, keep: int, shift: int) -> Floats:
    """Return about `keep` values of a tensor; which ones, changes from sample to sample."""
    step = step_over(value.size, keep)
    kept: Floats = value.reshape(-1)[shift % step :: step].copy()
    return kept


def _observe(value: Floats, keep: int, is_maskable: bool, shift: int = 0) -> Observation | None:
    """Return the observation of one sample; None when it is neither finite nor a mask over finite values."""
    if is_maskable and value.min() <= MASKED:
        value = np.where(value <= MASKED, np.float32(-np.inf), value)
    lows, highs = value.min(keepdims=True).reshape(1), value.max(keepdims=True).reshape(1)
    axes = tuple(axis for axis in range(value.ndim) if axis != 1)
    kept = _some(value, keep, shift)
    if np.isfinite(lows[0]) and np.isfinite(highs[0]):
        with np.errstate(over="ignore"):
            means = value.mean(axis=axes)
        if not np.isfinite(means).all():  # large values, whose sum no float holds
            means = value.mean(axis=axes, dtype=np.float64)
        return Observation(lows, highs, kept, np.asarray(means, dtype=np.float32))
    is_finite = np.isfinite(value)
    if highs[0] == np.inf or np.isnan(highs[0]) or not is_finite.any():
        return None
    counts = np.maximum(is_finite.sum(axis=axes), 1)
    means = np.where(is_finite, value, 0).sum(axis=axes, dtype=np.float64) / counts
    lowest = value[is_finite].min(keepdims=True)
    return Observation(lowest, highs, kept[np.isfinite(kept)], np.asarray(means, np.float32), masked=True)


def _merge(parts: Sequence[Observation]) -> Observation:
    return Observation(
        lows=np.concatenate([part.lows for part in parts]),
        highs=np.concatenate([part.highs for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        channel_means=np.stack([part.channel_means for part in parts])
        .mean(axis=0, dtype=np.float64)
        .astype(np.float32),
        masked=any(part.masked for part in parts),
    )
