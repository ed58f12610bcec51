"""The records that a comparison ends in; whoever shows one needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from build_rules.objects.agreement import Agreement, Precision

__all__ = ["Check", "Comparison", "Histogram", "OutputMeasure", "PresetMeasure", "SetMeasure"]


@dataclass(frozen=True)
class Histogram:
    """Counts of a tensor's real values in equal bins from `low` to `high`: of the float network, of the quantized."""

    low: float
    high: float
    exact: tuple[int, ...]
    quantized: tuple[int, ...]


@dataclass(frozen=True)
class OutputMeasure:
    """One output of one preset on one set of images, both sides in real values and behind a folded activation.

    `snr` in dB over all cells, `snr_at_objects` with each cell weighted by the float network's best score there (None
    without scores); `cosine` similarity; `saturated`: share of codes at either end of the grid where float's value lies
    beyond it by more than half a step; `range_used`: share of the grid between the smallest and the largest code
    seen. `frame_bytes` are those that one frame delivers. A compiler that tells no grid leaves `scale`, `saturated` and
    `range_used` NaN, and `zero_point` 0.
    """

    stream: str
    endpoint: str
    role: str
    shape: tuple[int, ...]
    bits: int
    scale: float
    zero_point: int
    frame_bytes: int
    snr: float
    snr_at_objects: float | None
    cosine: float
    saturated: float
    range_used: float
    histogram: Histogram


@dataclass(frozen=True)
class SetMeasure:
    """What one preset does on one set of images: those it was calibrated on, or others."""

    name: Literal["calibration", "held-out"]
    images: int
    outputs: tuple[OutputMeasure, ...]
    agreement: Agreement | None
    truth: Precision | None


@dataclass(frozen=True)
class PresetMeasure:
    """One preset. `hef_bytes` is the size of its file, estimated where it is `emulated` or not built.

    `target` is `MODEL:TARGET`, or the HAR that was named. Where it is not `built`, no target has this preset, and it
    was quantized for the comparison alone.
    """

    preset: str
    target: str
    sdk_version: str
    emulated: bool
    hef_bytes: int | None
    frame_bytes: int
    wide_layers: tuple[str, ...]
    sets: tuple[SetMeasure, ...]
    built: bool = True


@dataclass(frozen=True)
class Check:
    """One item of the accuracy checklist of Hailo's support; `advice` is empty where there is nothing to do."""

    subject: str
    state: Literal["passed", "failed", "not known"]
    text: str
    advice: str = ""


@dataclass(frozen=True)
class Comparison:
    """Float and every preset of one model and one chip, side by side.

    `float_truth` is the float network against the truth, by set name, where there is one. `take` is the preset to take,
    None when none can be told; `because` is one sentence. `notes` are sentences on what was not compared, and why.
    """

    model: str
    hw_arch: str
    float_truth: tuple[tuple[str, Precision], ...]
    presets: tuple[PresetMeasure, ...]
    checks: tuple[Check, ...]
    take: str | None
    because: str
    notes: tuple[str, ...] = ()
