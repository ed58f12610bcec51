"""A comparison as people read it: presets, outputs, classes where they differ, the checklist, one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from textwrap import wrap

from build_rules.commands.render import render_table
from build_rules.comparison.measured import Check, Comparison, PresetMeasure, SetMeasure
from build_rules.errors import printable

__all__ = ["comparison_text"]

CLASSES = 12
"""Classes that are shown, those that lose most first; JSON has all of them."""
GOOD = 0.99
"""Agreement of a class of which nothing needs to be told."""
WIDTH, INDENT = 120, 14 * " "
Row = dict[str, str]


def comparison_text(comparison: Comparison, names: Sequence[str]) -> str:
    """Return the text; `names` are those of the classes, if they have any."""
    parts = [_head(comparison)]
    for index, each in enumerate(comparison.presets[0].sets if comparison.presets else ()):
        parts.append(f"{_set_head(each)}\n{render_table([*_preset_rows(comparison, index)])}")
    if comparison.presets:
        parts += _details(comparison, len(comparison.presets[0].sets) - 1, names)
    parts.append("checklist\n" + "".join(f"{line}\n" for line in _checks(comparison.checks)))
    parts += ["".join(f"note: {note}\n" for note in comparison.notes)] if comparison.notes else []
    parts.append(f"{comparison.because}\n")
    return "".join(f"{printable(line)}\n" for line in "\n".join(parts).splitlines())


def _head(comparison: Comparison) -> str:
    presets = comparison.presets
    makers = ", ".join(dict.fromkeys(preset.sdk_version for preset in presets))
    told = f"{comparison.model} on {comparison.hw_arch}: the float network, and what was quantized by {makers}\n"
    if any(preset.emulated for preset in presets):
        told += "EMULATED: numbers of this project's emulator, not of the chip, whose losses and files differ\n"
    return told


def _set_head(measure: SetMeasure) -> str:
    agreement = measure.agreement
    objects = "" if agreement is None else f", {agreement.objects} objects that float scores 0.25 and more"
    return f"{measure.name}: {measure.images} images{objects}"


def _preset_rows(comparison: Comparison, index: int) -> Iterator[Row]:
    """Return float, where there is truth, and every preset on one set of images."""
    name = comparison.presets[0].sets[index].name
    float_truth = next((truth for set_name, truth in comparison.float_truth if set_name == name), None)
    if float_truth is not None:
        yield _row("float", None, float_truth.map50, float_truth.map50_95)
    for preset in comparison.presets:
        of = preset.sets[index]
        told = preset.preset + ("" if preset.built else " (not built)")
        truth = of.truth
        row = _row(told, of, None if truth is None else truth.map50, None if truth is None else truth.map50_95)
        estimated = "~" if preset.emulated or not preset.built else ""
        row["bytes a frame"] = f"{preset.frame_bytes:,}"
        row["file"] = "" if preset.hef_bytes is None else f"{estimated}{preset.hef_bytes / 1e6:.2f} MB"
        yield row if truth is not None else {key: cell for key, cell in row.items() if not key.startswith("true")}


def _row(name: str, of: SetMeasure | None, true50: float | None, true: float | None) -> Row:
    row = {"preset": name}
    if of is None or of.agreement is not None:
        with_float = of.agreement if of is not None else None
        shift = None if with_float is None else with_float.score_shift
        row |= {
            "AP50-95": "" if with_float is None else _number(with_float.map50_95),
            "AP50": "" if with_float is None else _number(with_float.map50),
            "IoU": "" if with_float is None else _number(with_float.mean_iou),
            "score": "" if shift is None else f"{shift:+.3f}",
            "lost": "" if with_float is None else str(with_float.lost),
            "invented": "" if with_float is None else str(with_float.invented),
        }
    return row | {
        "true AP50-95": _number(true),
        "true AP50": _number(true50),
    }


def _details(comparison: Comparison, index: int, names: Sequence[str]) -> Iterator[str]:
    """Tell of outputs and of classes on the last set of images, which are those that nothing was calibrated on."""
    where = comparison.presets[0].sets[index].name
    yield f"outputs on {where} images\n{render_table([*_output_rows(comparison.presets, index)])}"
    if rows := _class_rows(comparison.presets, index, names):
        more = f", {len(rows) - CLASSES} more in --json" if len(rows) > CLASSES else ""
        told = f"AP50-95 with float by class, below {GOOD} somewhere, on {where} images{more}"
        yield f"{told}\n{render_table(rows[:CLASSES])}"


def _output_rows(presets: Sequence[PresetMeasure], index: int) -> Iterator[Row]:
    for number, output in enumerate(presets[0].sets[index].outputs):
        for preset in presets:
            got = preset.sets[index].outputs[number]
            yield {
                "output": output.endpoint,
                "shape": "x".join(map(str, output.shape)),
                "preset": preset.preset,
                "bits": str(got.bits),
                "SNR": f"{got.snr:.1f} dB",
                "at objects": "" if got.snr_at_objects is None else f"{got.snr_at_objects:.1f} dB",
                "cosine": f"{got.cosine:.5f}",
                "saturated": _share(got.saturated),
                "range used": _share(got.range_used),
            }


def _class_rows(presets: Sequence[PresetMeasure], index: int, names: Sequence[str]) -> list[Row]:
    """Return the classes of which some preset loses something, the worst first; nothing where there is one class."""
    agreements = [preset.sets[index].agreement for preset in presets]
    known = [agreement.per_class for agreement in agreements if agreement is not None]
    if len(known) < len(presets) or not known or len(known[0]) < 2:
        return []
    rows = []
    for classes in zip(*known, strict=True):
        values = [each.map50_95 for each in classes if each.map50_95 is not None]
        label, objects = classes[0].label, classes[0].objects
        if objects and values and min(values) < GOOD:
            cells = {preset.preset: _number(one.map50_95) for preset, one in zip(presets, classes, strict=True)}
            called = names[label] if label < len(names) else str(label)
            rows.append((min(values), {"class": called, "objects": str(objects), **cells}))
    return [row for _, row in sorted(rows, key=lambda each: each[0])]


def _checks(checks: Sequence[Check]) -> Iterator[str]:
    for check in checks:
        yield f"   {check.state:9}  {check.subject}"
        if check.state != "passed":
            told = check.text + (f"; {check.advice}" if check.advice else "")
            yield from wrap(told, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT, break_on_hyphens=False)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(value: float) -> str:
    return "" if not isfinite(value) else f"{value:.2%}" if 0 < value < 0.1 else f"{value:.0%}"
