"""A comparison as tables, bars and histograms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from build_rules.comparison.measured import Comparison, PresetMeasure, SetMeasure
from build_rules.objects.agreement import Precision
from build_rules.report_page.plots import axis_start, draw_histogram, part_of_axis
from build_rules.report_page.views import AgreementRow, Bar, ClassRow, ComparisonView, OutputRow, Verdict

__all__ = ["agreement_of", "view_comparison"]

HELD_OUT = "held-out"


def view_comparison(comparison: Comparison, labels: Sequence[str]) -> ComparisonView:
    """Return a comparison as it is shown; `labels` name the classes."""
    emulated = any(preset.emulated for preset in comparison.presets)
    verdict = Verdict(comparison.hw_arch, comparison.take or "", comparison.because, emulated)
    agreements = [(preset, *agreement_of(preset)) for preset in comparison.presets]
    known = [(preset, value, on) for preset, value, on in agreements if value is not None]
    start = axis_start([value for _, value, _ in known])
    bars = tuple(
        Bar(
            preset.preset,
            part_of_axis(value, start),
            f"{value:.4f}",
            preset.preset == comparison.take,
            preset.emulated,
        )
        for preset, value, _ in known
    )
    return ComparisonView(
        verdict=verdict,
        presets=len(comparison.presets),
        bars=bars,
        bars_from=start,
        bars_on=known[0][2] if known else "",
        agreements=tuple(_agreements(comparison)),
        classes=tuple(_classes(comparison, labels)),
        outputs=tuple(_outputs(comparison)),
        checks=comparison.checks,
        notes=comparison.notes,
        wide=tuple((preset.preset, preset.wide_layers) for preset in comparison.presets if preset.wide_layers),
        emulated=emulated,
    )


def agreement_of(preset: PresetMeasure) -> tuple[float | None, str]:
    """Return how far a preset finds what float finds (mAP50-95), and on which images: held-out ones if there are."""
    by_name = {measured.name: measured for measured in preset.sets}
    for measured in (by_name.get("held-out"), by_name.get("calibration")):
        if measured is not None and measured.agreement is not None and measured.agreement.map50_95 is not None:
            return measured.agreement.map50_95, f"{measured.agreement.images} {measured.name} images"
    return None, ""


def _agreements(comparison: Comparison) -> Iterator[AgreementRow]:
    """Return a row for float against the truth, where there is one, then one for each preset; held-out images first."""
    truths = dict(comparison.float_truth)
    found = {
        measured.name: measured.agreement.objects
        for preset in comparison.presets
        for measured in preset.sets
        if measured.agreement is not None
    }
    names = dict.fromkeys(measured.name for preset in comparison.presets for measured in preset.sets)
    for name in sorted(names, key=lambda name: name != HELD_OUT):
        if name in truths:
            yield _float_row(name, truths[name], found.get(name, 0))
        for preset in comparison.presets:
            yield from (
                _preset_row(preset, measured, preset.preset == comparison.take)
                for measured in preset.sets
                if measured.name == name
            )


def _float_row(name: str, truth: Precision, objects: int) -> AgreementRow:
    unknown = (None,) * 6
    return AgreementRow(
        "float",
        f"{name} ({truth.objects} true)",
        truth.images,
        objects,
        *unknown,
        truth.map50,
        truth.map50_95,
        emulated=False,
        take=False,
    )


def _preset_row(preset: PresetMeasure, measured: SetMeasure, take: bool) -> AgreementRow:
    agreement, truth = measured.agreement, measured.truth
    return AgreementRow(
        by=preset.preset,
        on=measured.name,
        images=measured.images,
        objects=0 if agreement is None else agreement.objects,
        map50=None if agreement is None else agreement.map50,
        map50_95=None if agreement is None else agreement.map50_95,
        mean_iou=None if agreement is None else agreement.mean_iou,
        score_shift=None if agreement is None else agreement.score_shift,
        lost=None if agreement is None else agreement.lost,
        invented=None if agreement is None else agreement.invented,
        truth50=None if truth is None else truth.map50,
        truth50_95=None if truth is None else truth.map50_95,
        emulated=preset.emulated,
        take=take,
    )


def _classes(comparison: Comparison, labels: Sequence[str]) -> Iterator[ClassRow]:
    """Return a row for each class that float finds or a preset invents: class by class, presets side by side."""
    rows = [
        (one.label, preset, measured, one)
        for preset in comparison.presets
        for measured in preset.sets
        if measured.agreement is not None
        for one in measured.agreement.per_class
        if one.objects or one.invented
    ]
    for label, preset, measured, one in sorted(rows, key=lambda row: (row[2].name != HELD_OUT, row[0])):
        name = labels[label] if label < len(labels) else str(label)
        numbers = (one.objects, one.map50, one.map50_95, one.lost, one.invented)
        yield ClassRow(preset.preset, measured.name, name, *numbers, emulated=preset.emulated)


def _outputs(comparison: Comparison) -> Iterator[OutputRow]:
    """Return a row for each output: output by output, presets side by side; held-out images where there are any."""
    rows = []
    for place, preset in enumerate(comparison.presets):
        for measured in sorted(preset.sets, key=lambda one: one.name != HELD_OUT)[:1]:
            rows += [(number, place, preset, measured, output) for number, output in enumerate(measured.outputs)]
    for _, _, preset, measured, output in sorted(rows, key=lambda row: row[:2]):
        yield OutputRow(
            by=preset.preset,
            on=measured.name,
            stream=output.stream,
            endpoint=output.endpoint,
            bits=output.bits,
            frame_bytes=output.frame_bytes,
            scale=output.scale,
            zero_point=output.zero_point,
            snr=output.snr,
            snr_at_objects=output.snr_at_objects,
            cosine=output.cosine,
            saturated=output.saturated,
            range_used=output.range_used,
            histogram=draw_histogram(output.histogram),
            emulated=preset.emulated,
        )
