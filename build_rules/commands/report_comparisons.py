"""Comparisons for the page: what has to be compared, what was compared before, and what layers cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from build_rules.commands.task_command import Steps
from build_rules.errors import InputError
from build_rules.report_page.told import LayerCost, ToldModel

if TYPE_CHECKING:
    from build_rules.comparison.comparison_inputs import ComparisonInputs
    from build_rules.comparison.measured import Comparison
    from build_rules.declared.model import Model

__all__ = ["compare_all", "gather_all", "known_comparisons", "tell_layers"]

NOISE_IMAGES = 4
"""Calibration images that layers are measured on, for the worst ones to be told; `doit compare --layers` takes more."""
WORST = 12
"""Layers that are shown."""

Tell = Callable[[int, int, str], None]


def gather_all(model: Model, steps: Steps) -> tuple[tuple[ComparisonInputs, ...], str]:
    """Return what is compared of a model, chip by chip, or why nothing is."""
    from build_rules.commands.compare_inputs import Asked, gather

    try:
        return tuple(gather(model, steps, Asked())), ""
    except (InputError, OSError) as error:
        return (), str(error)


def compare_all(model: Model, chips: Sequence[ComparisonInputs], tell: Tell) -> tuple[tuple[Comparison, ...], str]:
    """Return the comparison of each chip, made now or before, and why one could not be made."""
    from build_rules.commands.compare_inputs import compare, kept_at

    compared, faults = [], []
    for inputs in chips:
        try:
            compared.append(compare(inputs, kept_at(model, inputs), tell))
        except InputError as error:
            faults.append(str(error))
    return tuple(compared), " ".join(faults)


def known_comparisons(told: ToldModel) -> tuple[Comparison, ...]:
    """Return what was compared before, where nothing that was quantized is newer; no images are read for that."""
    from build_rules.commands.compare_inputs import KEPT
    from build_rules.comparison.kept_comparison import MAX_KEPT_BYTES, recall
    from build_rules.regular_file import read_small

    found = []
    for folder in dict.fromkeys(target.arch_folder for target in told.targets):
        kept = folder / KEPT
        hars = [target.folder / "model.har" for target in told.targets if target.arch_folder == folder]
        try:
            if max((har.stat().st_mtime_ns for har in hars if har.exists()), default=0) <= kept.stat().st_mtime_ns:
                key = json.loads(read_small(kept, MAX_KEPT_BYTES, "a comparison"))["key"]
                found.append(recall(kept, key))
        except (InputError, OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return tuple(comparison for comparison in found if comparison is not None)


def tell_layers(model: Model, chips: Sequence[ComparisonInputs]) -> tuple[tuple[str, tuple[LayerCost, ...]], ...]:
    """Return for each chip by which target and on how many images layers were measured, and the worst ones.

    Chips of a compiler that cannot measure that are left out.
    """
    from build_rules import workspace as ws
    from build_rules.commands.compare_layers import search_inputs
    from build_rules.compilers.protocol import NoiseJob
    from build_rules.mixed.advice import advise
    from build_rules.mixed.find_set import divide

    told = []
    for chip in chips:
        compiler = ws.compiling(model).compiler
        try:
            target, inputs = search_inputs(model, compiler, lambda _: None, hw_arch=chip.hw_arch)
            rows = divide(inputs.count)[0][:NOISE_IMAGES]
            job = NoiseJob(inputs.har, inputs.script, inputs.calibration, rows, inputs.endpoints, inputs.around)
            noises = compiler.layer_noise(job)
            advice = advise(noises, compiler.describe(Path(inputs.har)).layers)
        except InputError:
            continue
        costs = tuple(
            LayerCost(
                noise.layer,
                noise.kind,
                noise.nodes,
                noise.share,
                noise.low,
                noise.high,
                noise.used,
                noise.bits,
                each.text,
                each.lines,
            )
            for noise, each in list(zip(noises, advice, strict=True))[:WORST]
        )
        told.append((f"{target}, on {len(rows)} calibration images", costs))
    return tuple(told)
