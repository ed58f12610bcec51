"""The noise that each layer makes alone: the float network with one layer quantized, and what that does to the outputs.

Noises of different layers hardly hang together, so what all make together is about the sum. Only what comes behind a
layer has to be computed again: the float network is run once for a few samples, every tensor that something behind a
layer reads is held, and each layer gets a network of its own, from its inputs to the outputs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from build_rules.compilers.emulator.collect import read_collected
from build_rules.compilers.emulator.equalize import equalize
from build_rules.compilers.emulator.fuse import Layer, original_names
from build_rules.compilers.emulator.network import Floats, Network, load_network
from build_rules.compilers.emulator.object_cells import ObjectCells
from build_rules.compilers.emulator.optimize import make_plan
from build_rules.compilers.emulator.qdq import float_model
from build_rules.compilers.emulator.quantization_plan import Plan
from build_rules.compilers.emulator.script_settings import read_settings
from build_rules.compilers.emulator.sessions import map_samples, open_session, run, sum_samples
from build_rules.compilers.emulator.suffix_model import alone, read_behind, suffix_model
from build_rules.compilers.har_file import read_har
from build_rules.compilers.layer_noise import LayerNoise
from build_rules.compilers.protocol import NoiseJob, OptimizeJob
from build_rules.compilers.samples import Samples

__all__ = ["layer_noise"]

HELD_BYTES = 256 << 20
"""Of float tensors at one time; YOLOv8n at 640x640 has some 80 MB of them for each sample."""
LOUDEST = 16
"""Layers of which is also measured how much of their noise their weights make."""
KEPT_VALUES = 8192
"""Of each tensor and sample, to tell how much of its range is used."""
TAILS = (0.1, 99.9)

Weights = Mapping[str, npt.NDArray[np.float64]]
Powers = dict[str, npt.NDArray[Any]]


class _Part(NamedTuple):
    """What is quantized: a whole layer, or its weights alone."""

    layer: Layer
    weights_alone: bool = False

    def key(self, stream: str) -> str:
        return f"{self.layer.name} {stream}"


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the float network makes of one sample; `weights` are those of the cells of each stream."""

    tensors: Mapping[str, Floats]
    weights: Weights

    def power(self, stream: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.asarray((self.weights[stream] * values.astype(np.float64) ** 2).sum())


def layer_noise(job: NoiseJob) -> tuple[LayerNoise, ...]:
    """Return the noise of every layer that quantizes something, loudest first.

    Per stream it is the power of the error over that of the signal, both with each cell weighted by the best score of
    the float network there. The signal is the variance of all outputs of one role together: a scale at which there are
    no objects shall not count as much as one that holds them all. A layer's noise is the sum over the streams. Raises
    `InputError` as `optimize` does.
    """
    har = read_har(job.har)
    network = load_network(har)
    settings = read_settings(job.script.read_text(encoding="utf-8"), str(job.script), har.hn)
    samples = Samples(job.calibration, network.image, network.input_shape)
    job.around.progress("ranges of all tensors")
    indices = range(min(settings.calibset_size or 64, samples.count))
    quantizing = OptimizeJob(job.har, job.script, job.calibration, job.har, job.around, job.statistics)
    equalized = equalize(network, settings, samples, indices)
    network = equalized.network
    kept = read_collected(quantizing, settings, len(indices), equalized.pairs)
    plan = make_plan(network, settings, samples, indices, kept)
    measurement = _Measurement(network, plan, ObjectCells(network, job.endpoints), samples, job)
    return measurement.measure()


class _Measurement:
    """One network, its plan, and some samples to measure on."""

    def __init__(self, network: Network, plan: Plan, cells: ObjectCells, samples: Samples, job: NoiseJob) -> None:
        self.network, self.plan, self.cells, self.samples = network, plan, cells, samples
        self.indices, self.progress = job.samples, job.around.progress
        self.layers = [layer for layer in network.layers if _is_quantized(plan, layer)]
        self.streams = tuple(output.name for output in network.outputs)

    def measure(self) -> tuple[LayerNoise, ...]:
        signals = self._signals()
        noises = self._noises([_Part(layer) for layer in self.layers], signals)
        loudest = sorted(self.layers, key=lambda layer: -sum(noises[layer.name]))[:LOUDEST]
        by_weights = self._noises(
            [_Part(layer, weights_alone=True) for layer in loudest if layer.name in self.plan.kernels], signals
        )
        total = sum(map(sum, noises.values())) or 1.0
        told = [self._told(layer, noises[layer.name], by_weights.get(layer.name), total) for layer in self.layers]
        return tuple(sorted(told, key=lambda noise: -noise.share))

    def _told(self, layer: Layer, noise: list[float], by_weights: list[float] | None, total: float) -> LayerNoise:
        low, high, used = self.ranges[layer.name]
        grid = self.plan.tensors.get(layer.outputs[0]) or self.plan.outputs.get(layer.name)
        own = sum(noise) or 1.0
        return LayerNoise(
            layer=layer.name,
            kind=layer.kind,
            nodes=original_names(self.network.graph, layer),
            share=sum(noise) / total,
            outputs=tuple((stream, value / total) for stream, value in zip(self.streams, noise, strict=True)),
            low=low,
            high=high,
            used=used,
            bits=8 if grid is None else grid.bits,
            weights=None if by_weights is None else min(1.0, sum(by_weights) / own),
        )

    def _signals(self) -> dict[str, float]:
        """Return the power of the signal of every output over all samples, and note the ranges of the layers."""
        made = {layer.name: layer.name if layer.name in self.streams else layer.outputs[0] for layer in self.layers}
        inner = [name for name in dict.fromkeys(made.values()) if name not in self.streams]
        session = open_session(float_model(self.network, self.plan, inner))

        def look(index: int) -> tuple[Powers, dict[str, Floats]]:
            values = run(session, self.samples.sample(index))
            seen = _Seen(values, self.cells.of({stream: values[stream] for stream in self.streams}))
            return _moments(seen, self.streams), {layer: _some(values[name]) for layer, name in made.items()}

        looked = map_samples(look, self.indices)
        self.ranges = {layer: _range([some[layer] for _, some in looked]) for layer in made}
        sums: Powers = {}
        for moments, _ in looked:
            for stream, role in self.cells.roles.items():
                sums[role] = sums.get(role, np.zeros(3)) + moments[stream]
        return {stream: _variance(sums[role]) for stream, role in self.cells.roles.items()}

    def _noises(self, parts: Sequence[_Part], signals: Mapping[str, float]) -> dict[str, list[float]]:
        """Return the noise of each part, by layer: the share of the signal that its error has, per stream."""
        total: Powers = {}
        for key, power in self._powers(parts):
            total[key] = total.get(key, np.float64(0.0)) + power
        return {
            part.layer.name: [
                float(total.get(part.key(stream), 0.0)) / signals[stream] if signals[stream] > 0 else 0.0
                for stream in self.streams
            ]
            for part in parts
        }

    def _powers(self, parts: Sequence[_Part]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Give the power of the error of each part in each stream, for one group of samples after the other."""
        read = dict.fromkeys(name for part in parts for name in read_behind(self.network, part.layer))
        size = 4 * sum(int(np.prod(self.network.graph.shapes[name])) for name in read)
        count = max(1, HELD_BYTES // max(size, 1))
        groups = [self.indices[start : start + count] for start in range(0, len(self.indices), count)]
        session = open_session(float_model(self.network, self.plan, list(read)))
        clock = _Clock(len(groups) * len(parts), self.progress)

        def look(index: int) -> _Seen:
            values = run(session, self.samples.sample(index))
            return _Seen(values, self.cells.of({stream: values[stream] for stream in self.streams}))

        for group in groups:
            seen = map_samples(look, group)
            for part in parts:
                clock.tick(part.layer.name)
                yield from self._errors(part, seen).items()

    def _errors(self, part: _Part, seen: Sequence[_Seen]) -> Powers:
        suffix = suffix_model(
            self.network,
            alone(self.plan, part.layer, part.weights_alone),
            part.layer,
            delivers_codes=not part.weights_alone,
        )
        session = open_session(suffix.model)
        names = [value.name for value in session.get_inputs()]
        ends = list(suffix.ends.values())

        def error(number: int) -> Powers:
            one = seen[number]
            values = session.run(ends, {name: one.tensors[name] for name in names})
            return {
                part.key(stream): one.power(stream, self._real(stream, value) - one.tensors[stream])
                for stream, value in zip(suffix.ends, values, strict=True)
            }

        return sum_samples(error, range(len(seen)))

    def _real(self, stream: str, value: npt.NDArray[Any]) -> Floats:
        if value.dtype == np.float32:
            return value
        grid = self.plan.outputs[stream]
        return np.asarray(np.float32(grid.scale) * (value.astype(np.float32) - np.float32(grid.zero_point)))


def _is_quantized(plan: Plan, layer: Layer) -> bool:
    return (
        layer.name in plan.kernels or layer.name in plan.outputs or any(name in plan.tensors for name in layer.outputs)
    )


def _moments(seen: _Seen, streams: Sequence[str]) -> Powers:
    """Return per stream the sums of weights, of weighted values and of their squares."""
    moments = {}
    for stream in streams:
        values, weights = seen.tensors[stream].astype(np.float64), seen.weights[stream]
        weight = weights.sum() * values.shape[-1]
        moments[stream] = np.array([weight, (weights * values).sum(), (weights * values**2).sum()])
    return moments


def _variance(moments: npt.NDArray[Any]) -> float:
    weight, first, second = map(float, moments)
    return max(0.0, second - first**2 / weight) if weight > 0 else 0.0


def _some(value: Floats) -> Floats:
    """Return the extremes of a tensor and some of its values; an odd step walks through all channels and columns."""
    flat = value.reshape(-1)
    step = max(1, flat.size // KEPT_VALUES) | 1
    return np.concatenate([[flat.min(), flat.max()], flat[::step]])


def _range(parts: Sequence[Floats]) -> tuple[float, float, float]:
    """Return the range seen, and the share of it that lies between the tails."""
    values = np.concatenate(parts)
    values = values[np.isfinite(values)]
    if not values.size or values.min() == values.max():
        return 0.0, 0.0, 0.0
    low, high = float(values.min()), float(values.max())
    below, above = np.percentile(values, TAILS)
    return low, high, float((above - below) / (high - low))


class _Clock:
    """Tells how far it is, and about how long the rest takes."""

    def __init__(self, count: int, progress: Callable[[str], None]) -> None:
        self.count, self.done, self.progress, self.began = count, 0, progress, time.monotonic()

    def tick(self, what: str) -> None:
        took = time.monotonic() - self.began
        left = f", about {took / self.done * (self.count - self.done):.0f} s left" if self.done > 2 else ""
        self.progress(f"noise of {what}, {self.done + 1} of {self.count}{left}")
        self.done += 1
