"""Float and every preset side by side, on the same images: one batch after the other, so that few images are held."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from math import nan, prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from build_rules.comparison.check_model import check_model
from build_rules.comparison.choose_preset import Advice, Candidate, advise
from build_rules.comparison.comparison_inputs import ComparisonInputs, ImageSet, PresetInputs
from build_rules.comparison.measured import Comparison, OutputMeasure, PresetMeasure, SetMeasure
from build_rules.comparison.output_measures import Grid, OutputMeter
from build_rules.compilers.delivered import Tensors, exact_tensors, outputs_of, quantized_tensors
from build_rules.compilers.describe_har import HarDescription, HarOutput, output_grids
from build_rules.compilers.exported_graph import ExportedGraph
from build_rules.errors import InputError
from build_rules.objects.agreement import Precision
from build_rules.objects.found import Objects
from build_rules.objects.measure_agreement import agree, precision
from build_rules.objects.read_objects import ObjectReader
from build_rules.records.split_json import Split
from build_rules.versions import is_emulated

__all__ = ["Progress", "compare_model"]

BATCH_BYTES, STARTED_BYTES = 64 << 20, 256 << 20
"""Pixels and real values that are held at one time, and those for which a compiler outside is started once."""
AT_ONCE = 4

Progress = Callable[[int, int, str], None]
"""Called with what is done, of how much, and what is done now."""


@dataclass(frozen=True)
class _Network:
    """One quantized network, ready to run."""

    inputs: PresetInputs
    har: Path
    hef: Path | None
    description: HarDescription
    outputs: dict[str, HarOutput]
    grids: dict[str, Grid]


@dataclass
class _Seen:
    """What one network has done on the images of one set so far: objects, none where nobody reads them, and outputs."""

    objects: list[Objects] = field(default_factory=list)
    meters: dict[str, OutputMeter] = field(default_factory=dict)


@dataclass(frozen=True)
class _SetResult:
    """One set, through the float network and through every preset."""

    images: ImageSet
    exact: _Seen
    quantized: tuple[_Seen, ...]


def compare_model(inputs: ComparisonInputs, scratch: Path, progress: Progress = lambda *_: None) -> Comparison:
    """Compare; what no target builds is quantized in the folder `scratch`.

    Raises `InputError` for a HAR of another network, images that cannot be read, and what a compiler refuses of a
    preset that is built; what it refuses of another one is told in `notes`.
    """
    notes = list(inputs.notes)
    try:
        reader = ObjectReader(inputs.endpoints)
    except InputError as error:
        reader = None
        notes.append(str(error))
    for images in inputs.sets:  # what is no image is told before anything is quantized
        images.images.image(0)
    networks = []
    for preset in inputs.presets:
        progress(0, 0, f"quantizing for {preset.preset}, which no target builds" if preset.har is None else "reading")
        try:
            networks.append(_open(preset, inputs.split, scratch))
        except InputError as error:
            if preset.har is not None:
                raise
            notes.append(f"{preset.preset} could not be quantized, so it is left out: {error}")
    work = _Work(inputs, reader, networks, progress)
    results = [work.run(images) for images in inputs.sets]
    presets = tuple(_preset(inputs.split, reader, net, number, results) for number, net in enumerate(networks))
    advice = _advise(networks, presets, results)
    truths = [_precision(reader, result, result.exact) for result in results]
    checked = [result.exact.objects if reader else None for result in results]
    return Comparison(
        model=inputs.model,
        hw_arch=inputs.hw_arch,
        float_truth=tuple(
            (r.images.name, truth) for r, truth in zip(results, truths, strict=True) if truth is not None
        ),
        presets=presets,
        checks=check_model(inputs, checked, next((truth for truth in reversed(truths) if truth is not None), None)),
        take=advice.take,
        because=advice.because,
        notes=tuple(notes),
    )


def _open(preset: PresetInputs, split: Split, scratch: Path) -> _Network:
    har, hef = preset.har, preset.hef
    if har is None:
        assert preset.quantize is not None
        har, hef = preset.quantize(scratch)
    description = preset.compiler.describe(har)
    if not description.is_quantized:
        raise InputError(
            f"{har}: is a {description.state}, in which nothing is quantized yet; compare the model.har of a target."
        )
    outputs = outputs_of(split, description)
    try:
        known = {stream: (scale, zero) for stream, scale, zero in output_grids(har)}
    except InputError:
        known = {}
    grids = {name: Grid(*known.get(output.stream, (nan, 0.0)), output.bits or 8) for name, output in outputs.items()}
    return _Network(preset, har, hef, description, outputs, grids)


@dataclass(frozen=True)
class _Exact:
    """One image, and what the float network makes of it; no weights of cells and no objects where nobody reads them."""

    image: NDArray[np.uint8]
    tensors: Tensors
    cells: Tensors | None
    objects: Objects | None


class _Work:
    """Runs all networks over sets of images.

    Several images are run through the float network at once, and several networks on the same batch. Each adds up its
    own numbers in the order of the images, so that they are the same whatever runs beside it.
    """

    def __init__(
        self, inputs: ComparisonInputs, reader: ObjectReader | None, networks: Sequence[_Network], progress: Progress
    ) -> None:
        self._split, self._reader, self._networks, self._progress = inputs.split, reader, networks, progress
        self._exported = ExportedGraph(inputs.exported, inputs.feed)
        self._done, self._all = 0, sum(len(each.images) for each in inputs.sets) * (1 + len(networks))
        image = inputs.split.input
        values = sum(prod(endpoint.shape) for endpoint in inputs.split.endpoints)
        # What is started outside takes the whole machine.
        self._is_started = any(network.inputs.compiler.starts_programs for network in networks)
        self._workers = max(1, min(AT_ONCE, len(os.sched_getaffinity(0))))
        at_once = 1 if self._is_started else min(self._workers, len(networks))
        held = image.height * image.width * image.channels + 4 * values * (1 + at_once)
        self._batch = max(1, (STARTED_BYTES if self._is_started else BATCH_BYTES) // held)

    def run(self, images: ImageSet) -> _SetResult:
        """Run all images of a set, in their order."""
        exact = _Seen()
        quantized = tuple(
            _Seen(meters={name: OutputMeter(grid) for name, grid in network.grids.items()})
            for network in self._networks
        )
        count = len(images.images)
        pool = ThreadPoolExecutor(max_workers=self._workers)
        try:
            for start in range(0, count, self._batch):
                numbers = range(start, min(start + self._batch, count))
                batch = list(pool.map(lambda number: self._exact(images.images.image(number)), numbers))
                self._tick(len(batch), f"float on {images.name} images")
                exact.objects += [each.objects for each in batch if each.objects is not None]
                several = map if self._is_started else pool.map
                added = several(self._add, self._networks, quantized, repeat(batch))
                for network, _ in zip(self._networks, added, strict=True):
                    self._tick(len(batch), f"{network.inputs.preset} on {images.name} images")
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return _SetResult(images, exact, quantized)

    def _exact(self, image: NDArray[np.uint8]) -> _Exact:
        tensors = exact_tensors(self._split, self._exported.run(image.transpose(2, 0, 1)))
        if self._reader is None:
            return _Exact(image, tensors, None, None)
        return _Exact(image, tensors, self._reader.cells(tensors), self._reader.read(tensors))

    def _add(self, network: _Network, seen: _Seen, batch: Sequence[_Exact]) -> None:
        """Run a batch through one network, and add it to what was seen of it."""
        real = network.inputs.compiler.simulate(network.har, np.stack([each.image for each in batch]))
        for row, each in enumerate(batch):
            delivered = quantized_tensors(self._split, network.outputs, real, row)
            for name, meter in seen.meters.items():
                exact = each.tensors[name]
                if delivered[name].shape != exact.shape:
                    raise InputError(
                        f"{network.har}: delivers {name} as {list(delivered[name].shape)}, where the exported graph "
                        f"gives {list(exact.shape)}; it is of another model, or was built from another cut."
                    )
                meter.add(exact, delivered[name], None if each.cells is None else each.cells[name])
            if self._reader is not None:
                seen.objects.append(self._reader.read(delivered))

    def _tick(self, count: int, what: str) -> None:
        self._done += count
        self._progress(self._done, self._all, what)


def _precision(reader: ObjectReader | None, result: _SetResult, seen: _Seen) -> Precision | None:
    if reader is None or result.images.truth is None:
        return None
    return precision(result.images.truth, seen.objects, reader.classes)


def _preset(
    split: Split, reader: ObjectReader | None, network: _Network, index: int, results: Sequence[_SetResult]
) -> PresetMeasure:
    return PresetMeasure(
        preset=network.inputs.preset,
        target=network.inputs.target,
        sdk_version=network.description.sdk_version,
        emulated=network.inputs.compiler.is_emulated or is_emulated(network.description.sdk_version),
        hef_bytes=network.hef.stat().st_size if network.hef is not None and network.hef.is_file() else None,
        frame_bytes=network.description.frame_bytes,
        wide_layers=tuple(layer.name for layer in network.description.wide_layers),
        sets=tuple(
            SetMeasure(
                name=result.images.name,
                images=len(result.images.images),
                outputs=_outputs(split, network, result.quantized[index]),
                agreement=agree(result.exact.objects, result.quantized[index].objects, reader.classes)
                if reader
                else None,
                truth=_precision(reader, result, result.quantized[index]),
            )
            for result in results
        ),
        built=network.inputs.har is not None,
    )


def _outputs(split: Split, network: _Network, seen: _Seen) -> tuple[OutputMeasure, ...]:
    measures = []
    for endpoint in split.endpoints:
        output, grid, got = (
            network.outputs[endpoint.name],
            network.grids[endpoint.name],
            seen.meters[endpoint.name].measured(),
        )
        measures.append(
            OutputMeasure(
                stream=output.stream,
                endpoint=endpoint.name,
                role=endpoint.role,
                shape=output.shape[1:],
                bits=grid.bits,
                scale=grid.scale,
                zero_point=round(grid.zero_point),
                frame_bytes=prod(output.shape) * grid.bits // 8,
                snr=got.snr,
                snr_at_objects=got.snr_at_objects,
                cosine=got.cosine,
                saturated=got.saturated,
                range_used=got.range_used,
                histogram=got.histogram,
            )
        )
    return tuple(measures)


def _advise(networks: Sequence[_Network], presets: Sequence[PresetMeasure], results: Sequence[_SetResult]) -> Advice:
    """Ask for advice by the images that nothing was calibrated on, where there are any."""
    index = max((i for i, result in enumerate(results) if len(result.images.images)), default=0)
    judged = results[index]
    candidates = [
        Candidate(preset.preset, preset.built, preset.sets[index].agreement, judged.quantized[number].objects)
        for number, preset in enumerate(presets)
    ]
    return advise(candidates, judged.exact.objects, judged.images.name)
