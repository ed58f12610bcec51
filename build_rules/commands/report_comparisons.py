"""Comparisons for the page: what has to be compared, what was compared before, and what layers cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from build_rules.commands.task_command import Steps
from build_rules.errors import InputError
from build_rules.report_page.told import LayerCost

if TYPE_CHECKING:
    from build_rules.comparison.comparison_inputs import ComparisonInputs
    from build_rules.comparison.measured import Comparison
    from build_rules.declared.model import Model

__all__ = ["compare_all", "gather_all", "kept_comparisons", "tell_layers"]

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


def kept_comparisons(model: Model, chips: Sequence[ComparisonInputs]) -> tuple[Comparison, ...]:
    """Return what was compared before of each chip and still holds."""
    from build_rules.commands.compare_inputs import compared_before

    return tuple(kept for inputs in chips if (kept := compared_before(model, inputs)) is not None)


def tell_layers(model: Model, chips: Sequence[ComparisonInputs]) -> tuple[tuple[str, tuple[LayerCost, ...]], ...]:
    """Return for each chip by which target and on how many images layers were measured, and the worst ones.

    Chips of a compiler that cannot measure that are left out.
    """
    from build_rules import workspace as ws
    from build_rules.commands.compare_layers import search_inputs
    from build_rules.mixed.advice import advise
    from build_rules.mixed.find_set import divide, measure_noise

    told = []
    for chip in chips:
        compiler = ws.compiling(model).compiler
        try:
            target, inputs = search_inputs(model, compiler, lambda _: None, hw_arch=chip.hw_arch)
            noises = measure_noise(inputs)
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
        told.append((f"{target}, on {len(divide(inputs.count)[0])} calibration images", costs))
    return tuple(told)
