"""What the templates show, decided: texts, numbers and places in pictures. Templates only lay it out."""

from __future__ import annotations

from dataclasses import dataclass

from build_rules.comparison.measured import Check
from build_rules.report_page.told import BuiltFrom, LayerCost

__all__ = [
    "AgreementRow",
    "Bar",
    "CalibrationView",
    "CellBox",
    "ClassRow",
    "ComparisonView",
    "CutView",
    "DetectedView",
    "EndpointRow",
    "Fact",
    "FindingsView",
    "FoundView",
    "HefView",
    "HistogramView",
    "ImageRow",
    "IndexRow",
    "IndexView",
    "ModelView",
    "OutputRow",
    "Picture",
    "SideView",
    "StreamRow",
    "TargetRow",
    "Verdict",
]


@dataclass(frozen=True)
class Fact:
    """A name and what it is. `emulated`: a number that comes from the emulator."""

    name: str
    text: str
    emulated: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture that the page holds itself."""

    uri: str
    width: int
    height: int
    text: str


@dataclass(frozen=True)
class TargetRow:
    """A target in a table. `agreement` is mAP50-95 of its objects against float's; `take`: the preset to take.

    `frame_bytes` is what one frame delivers; compiling takes less than `most_seconds`. None: not known.
    """

    name: str
    hw_arch: str
    preset: str
    compiler: str
    emulated: bool
    state: str
    because: str
    hef_bytes: int | None
    agreement: float | None
    agreement_on: str
    take: bool
    frame_bytes: int | None
    most_seconds: int | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class IndexRow:
    """A target of a model in the table of all; `page` is the link to the model's page, empty when there is none.

    `is_old`: that page shows what lay there once.
    """

    model: str
    page: str
    is_old: bool
    target: TargetRow


@dataclass(frozen=True)
class IndexView:
    """The table of all models; `states` counts targets by state, `emulated` tells whether any is."""

    models: int
    states: tuple[tuple[str, int], ...]
    rows: tuple[IndexRow, ...]
    without_targets: tuple[tuple[str, str, str], ...]
    emulated: bool


@dataclass(frozen=True)
class CellBox:
    """A box with lines of text in a picture, in its units; `kind` is its style."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class CutView:
    """The cut, drawn: boxes, arrows (x1 y1 x2 y2), the height of the line where it is cut, a text for who sees none."""

    width: float
    height: float
    boxes: tuple[CellBox, ...]
    arrows: tuple[tuple[float, float, float, float], ...]
    cut_y: float
    text: str


@dataclass(frozen=True)
class EndpointRow:
    """One endpoint; `frame_bytes` by preset, in the order of the table's head."""

    name: str
    role: str
    stride: str
    shape: str
    encoding: str
    activation: str
    frame_bytes: tuple[int, ...]
    node: str


@dataclass(frozen=True)
class ImageRow:
    """A calibration image, and why it is there."""

    name: str
    why: str


@dataclass(frozen=True)
class CalibrationView:
    """What the model is calibrated on; `more` images are not listed, `left_out` counts those left out, by kind."""

    facts: tuple[Fact, ...]
    sheet: Picture | None
    images: tuple[ImageRow, ...]
    more: int
    left_out: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Bar:
    """One bar of a chart: its name, its length as a part of the whole (0..1), and the number as text."""

    name: str
    part: float
    text: str
    chosen: bool
    emulated: bool


@dataclass(frozen=True)
class AgreementRow:
    """How far one network's objects are float's (or the truth), on one set of images."""

    by: str
    on: str
    images: int
    objects: int
    map50: float | None
    map50_95: float | None
    mean_iou: float | None
    score_shift: float | None
    lost: int | None
    invented: int | None
    truth50: float | None
    truth50_95: float | None
    emulated: bool
    take: bool


@dataclass(frozen=True)
class ClassRow:
    """One class of one preset on one set of images."""

    by: str
    on: str
    label: str
    objects: int
    map50: float | None
    map50_95: float | None
    lost: int
    invented: int
    emulated: bool


@dataclass(frozen=True)
class HistogramView:
    """Values of an output, in a picture of `WIDTH` x `HEIGHT`: an area for float, a line for quantized; log counts."""

    exact: str
    quantized: str
    low: str
    high: str


@dataclass(frozen=True)
class OutputRow:
    """One output of one preset on one set of images."""

    by: str
    on: str
    stream: str
    endpoint: str
    bits: int
    frame_bytes: int
    scale: float
    zero_point: int
    snr: float
    snr_at_objects: float | None
    cosine: float
    saturated: float
    range_used: float
    histogram: HistogramView | None
    emulated: bool


@dataclass(frozen=True)
class Verdict:
    """Which preset to take and why; `take` is empty when that cannot be told."""

    hw_arch: str
    take: str
    because: str
    emulated: bool


@dataclass(frozen=True)
class ComparisonView:
    """One comparison of as many presets on one chip."""

    verdict: Verdict
    presets: int
    bars: tuple[Bar, ...]
    bars_from: float
    bars_on: str
    agreements: tuple[AgreementRow, ...]
    classes: tuple[ClassRow, ...]
    outputs: tuple[OutputRow, ...]
    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    wide: tuple[tuple[str, tuple[str, ...]], ...]
    emulated: bool


@dataclass(frozen=True)
class FoundView:
    """An object, in pixels of the input; `fate` is `both`, `lost` or `invented`."""

    x: float
    y: float
    width: float
    height: float
    name: str
    score: float
    fate: str


@dataclass(frozen=True)
class SideView:
    """What one network found in an image."""

    by: str
    emulated: bool
    objects: tuple[FoundView, ...]


@dataclass(frozen=True)
class DetectedView:
    """An image with what each network found in it; `place` is that of its picture among the pictures of the page."""

    name: str
    place: int
    picture: Picture
    sides: tuple[SideView, ...]
    lost: int
    invented: int
    emulated: bool


@dataclass(frozen=True)
class FindingsView:
    """What is found by the presets of one chip; `fault` says why nothing is drawn."""

    hw_arch: str
    images: tuple[DetectedView, ...]
    drawn_from: str
    fault: str


@dataclass(frozen=True)
class StreamRow:
    """One stream of a HEF."""

    name: str
    direction: str
    order: str
    shape: str
    dtype: str
    frame_bytes: int
    scale: str
    zero_point: str
    nodes: str


@dataclass(frozen=True)
class HefView:
    """One executable. `fault` says why nothing is known of it; the rest is then empty."""

    target: str
    emulated: bool
    facts: tuple[Fact, ...] = ()
    streams: tuple[StreamRow, ...] = ()
    described: tuple[tuple[str, str, str, str], ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    document: str = ""
    fault: str = ""


@dataclass(frozen=True)
class ModelView:
    """The page of one model."""

    name: str
    home: str
    description: str
    facts: tuple[Fact, ...]
    labels: tuple[str, ...]
    faults: tuple[str, ...]
    targets: tuple[TargetRow, ...]
    comparisons: tuple[ComparisonView, ...]
    not_compared: str
    findings: tuple[FindingsView, ...]
    pictures: tuple[Picture, ...]
    cut: CutView | None
    not_cut: str
    presets: tuple[str, ...]
    endpoints: tuple[EndpointRow, ...]
    calibration: CalibrationView | None
    layers: tuple[tuple[str, tuple[LayerCost, ...]], ...]
    hefs: tuple[HefView, ...]
    built_from: tuple[BuiltFrom, ...]
    tools: tuple[tuple[str, str], ...]
    emulated: bool
