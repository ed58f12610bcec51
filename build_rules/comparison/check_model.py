"""The checklist of a model that is compared: gathers what is known, and has it answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from build_rules.calibration.chosen import load_chosen
from build_rules.comparison.check_facts import (
    compare_first_layer,
    look_at_kernels,
    look_at_samples,
    name_ranges,
    read_ranges,
)
from build_rules.comparison.checklist import CheckFacts, run_checklist
from build_rules.comparison.comparison_inputs import ComparisonInputs
from build_rules.comparison.measured import Check
from build_rules.errors import InputError
from build_rules.objects.agreement import Precision
from build_rules.objects.found import Objects

__all__ = ["check_model"]


def check_model(
    inputs: ComparisonInputs, found: Sequence[Sequence[Objects] | None], float_truth: Precision | None
) -> tuple[Check, ...]:
    """Return the answers; `found` is what float finds in each set of `inputs`, None where nobody can tell."""
    scores = {
        images.name: tuple(float(each.scores.max(initial=0.0)) for each in objects)
        for images, objects in zip(inputs.sets, found, strict=True)
        if objects is not None
    }
    facts = CheckFacts(
        proof=inputs.split.proof,
        pixels_proven=any(preset.har is not None for preset in inputs.presets),
        kernels=look_at_kernels(inputs.exported),
        calibration_scores=scores.get("calibration", ()),
        held_out_scores=scores.get("held-out", ()),
        float_truth=float_truth,
    )
    return run_checklist(_with_files(facts, inputs))


def _with_files(facts: CheckFacts, inputs: ComparisonInputs) -> CheckFacts:
    """Add what the calibration and its statistics tell, where they are here."""
    files = inputs.files
    if files is None:
        return facts
    if (ranges := read_ranges(files.statistics)) is not None:
        facts = replace(facts, ranges=name_ranges(ranges, inputs.exported))
    try:
        samples = look_at_samples(files.snapshot, inputs.split.input.name)
        first = compare_first_layer(files.snapshot, inputs.split, load_chosen(files.chosen), files.calibration)
    except (InputError, OSError):
        return replace(facts, count=files.count)
    return replace(facts, count=files.count, samples=samples, first_layer=first)
