"""From a parsed network to the smallest set of layers that 16 bits are worth, with its proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from build_rules.compilers.delivered import Tensors, exact_tensors
from build_rules.compilers.describe_har import HarDescription
from build_rules.compilers.exported_graph import ExportedGraph
from build_rules.compilers.layer_noise import LayerNoise
from build_rules.compilers.network_images import Images, SampleRows, spread
from build_rules.compilers.protocol import QUIET, Compiler, NoiseJob, OptimizeJob, Surroundings
from build_rules.compilers.samples import Samples
from build_rules.errors import InputError
from build_rules.mixed.candidates import Candidate, barred_modes, candidates, mode_of, reason
from build_rules.mixed.quantize_set import SetTrials
from build_rules.mixed.search import MAX_LAYERS, Found, Trial, find_smallest
from build_rules.objects.read_objects import ObjectReader
from build_rules.records.calibration_json import load_feed
from build_rules.records.mixed_json import Mixed, MixedImages, MixedLayer, MixedResult
from build_rules.records.split_json import Split, load_split

__all__ = ["SetInputs", "divide", "find_set", "measure_noise"]

CHOOSING, PROVING = 8, 40
"""Images that layers are chosen by, and calibration images that a set is proven on. Two samples tell the loudest layers
of a YOLOv8n as four do, and eight cost less than quantizing it on a thousand."""
LEAST = 4
"""Calibration images; with fewer, nothing that is chosen by one and proven on another means anything."""
TOLD = 16
"""Layers that are written down beside those of the set."""


@dataclass(frozen=True)
class SetInputs:
    """What a search reads. `script` is without any set, `endpoints` the `endpoints.json`, `count` counts the samples.

    `exported` is `split.onnx`, the float network that sets are judged by; `feed`, the `feed.json`, says how it is fed.

    `held_out` are images that are no calibration images; None proves on calibration images that nothing is chosen by.
    `statistics` is what the compiler has collected, without which every set that is tried is observed anew.
    """

    compiler: Compiler
    har: Path
    script: Path
    calibration: Path
    endpoints: Path
    exported: Path
    feed: Path
    count: int
    held_out: Images | None = None
    around: Surroundings = QUIET
    statistics: Path | None = None


class _Others:
    """Images without those that layers were chosen by, whatever their files are called."""

    def __init__(self, images: Images, chosen: SampleRows) -> None:
        seen = {chosen.image(number).tobytes() for number in range(len(chosen))}
        self._images = images
        self._numbers = [number for number in range(len(images)) if images.image(number).tobytes() not in seen]

    def __len__(self) -> int:
        return len(self._numbers)

    def image(self, number: int) -> NDArray[np.uint8]:
        return self._images.image(self._numbers[number])

    def name(self, number: int) -> str:
        return self._images.name(self._numbers[number])


def divide(count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the rows of a snapshot that layers are chosen by, and those that a set is proven on: no row is in both.

    Both are spread over all rows, since those that lie beside each other are often of one scene.
    """
    chosen = spread(range(count), max(1, min(CHOOSING, count // 3)))
    return chosen, spread([row for row in range(count) if row not in chosen], PROVING)


def measure_noise(inputs: SetInputs) -> tuple[LayerNoise, ...]:
    """Return what each layer costs, loudest first. Raises `InputError` where the compiler cannot tell."""
    rows = divide(inputs.count)[0]
    return inputs.compiler.layer_noise(
        NoiseJob(
            inputs.har, inputs.script, inputs.calibration, rows, inputs.endpoints, inputs.around, inputs.statistics
        )
    )


def find_set(inputs: SetInputs, scratch: Path) -> Mixed:
    """Return the smallest set of layers whose 16 bits bring the objects of the quantized network to those of float.

    Sets are tried in the folder `scratch`.

    With too few images, and when nobody decodes the outputs, nothing is chosen, and the record says why.
    """
    split = load_split(inputs.endpoints)
    if (obstacle := _obstacle(inputs, split)) is not None:
        return Mixed("not judged", obstacle, inputs.compiler.version(), MixedImages(0, 0, "calibration"), (), ())
    parsed = inputs.compiler.describe(inputs.har)
    if parsed.input_shape is None:
        raise InputError(f"{inputs.har}: has no input, or several, so it takes no images.")
    chosen, proven = divide(inputs.count)
    samples = Samples(inputs.calibration, split.input.name, parsed.input_shape)
    held_out = None if inputs.held_out is None else _Others(inputs.held_out, SampleRows(samples, chosen))
    images = held_out or SampleRows(samples, proven)
    job = OptimizeJob(
        inputs.har,
        inputs.script,
        inputs.calibration,
        inputs.har,
        inputs.around,
        inputs.statistics,
        inputs.endpoints if inputs.compiler.judges_by_objects else None,
    )

    exported = ExportedGraph(inputs.exported, load_feed(inputs.feed))

    def exact(image: NDArray[np.uint8]) -> Tensors:
        return exact_tensors(split, exported.run(image.transpose(2, 0, 1)))

    noises = measure_noise(inputs)
    trials = SetTrials(inputs.compiler, job, split, images, exact, scratch)
    found = find_smallest(candidates(noises, parsed.layers), trials.try_set, trials.helps)
    told = MixedImages(len(chosen), len(images), "held-out" if held_out else "calibration")
    return _mixed(found, noises, parsed, told, inputs.compiler.version())


def _obstacle(inputs: SetInputs, split: Split) -> str | None:
    """Return why nothing can be judged, None when it can."""
    if inputs.count < LEAST:
        return (
            f"{inputs.count} calibration images are too few to choose layers by some and to prove them on others; add "
            f"images, {LEAST} at least"
        )
    try:
        ObjectReader(split)
    except InputError as error:
        return str(error)
    return None


def _mixed(
    found: Found, noises: Sequence[LayerNoise], parsed: HarDescription, images: MixedImages, version: str
) -> Mixed:
    barred = barred_modes(parsed.layers)
    taken = () if found.taken is None else found.taken.candidates
    return Mixed(
        outcome=found.outcome,
        because=_because(found, noises),
        measured_by=version,
        images=images,
        layers=tuple(_layer(each) for each in taken),
        loudest=tuple(
            MixedLayer(
                noise.nodes[0] if noise.nodes else "",
                noise.layer,
                noise.kind,
                mode_of(noise, barred.get(noise.layer, {})) or "",
                round(noise.share, 6),
                reason(noise),
            )
            for noise in noises[:TOLD]
        ),
        before=_result(found.before),
        after=None if found.taken is None else _result(found.taken),
        all=None if found.all is None else _result(found.all),
    )


def _layer(each: Candidate) -> MixedLayer:
    return MixedLayer(each.node, each.layer, each.kind, each.mode, round(each.share, 6), each.because)


def _result(trial: Trial) -> MixedResult:
    of = trial.agreement
    return MixedResult(
        map50=_rounded(of.map50),
        map50_95=_rounded(of.map50_95),
        mean_iou=_rounded(of.mean_iou),
        score_shift=_rounded(of.score_shift),
        objects=of.objects,
        lost=of.lost,
        invented=of.invented,
        snr=round(trial.snr, 3),
        frame_bytes=trial.frame_bytes,
        wide_layers=len(trial.wide),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _because(found: Found, noises: Sequence[LayerNoise]) -> str:
    before, everything = found.before.value, found.before.value if found.all is None else found.all.value
    if found.outcome == "no objects":
        return (
            "the float network finds nothing on these images, so nothing can be compared; name images that show objects"
        )
    if found.taken is not None:
        count = len(found.taken.candidates)
        return (
            f"{count} of {len(noises)} layers in 16 bits bring the agreement of objects with float from {before:.3f} "
            f"to {found.taken.value:.3f}; all that may have them would bring {everything:.3f}"
        )
    if found.outcome == "not needed":
        return f"as it is, the objects agree with float's as well as 16 bits could make them ({before:.3f} AP50-95)"
    loudest = noises[0].share if noises else 0.0
    return (
        f"no set of up to {MAX_LAYERS} layers helps beyond chance (agreement {before:.3f}, with all in 16 bits "
        f"{everything:.3f}): the noise is spread, the loudest layer makes {loudest:.0%} of it; take balanced or "
        "accurate"
    )
