"""What the command tells of each model and target: the page finds out nothing else about the build."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from build_rules.comparison.measured import Comparison

__all__ = [
    "BuiltFrom",
    "Detected",
    "DetectedImage",
    "DetectedObject",
    "LayerCost",
    "Network",
    "Side",
    "Stage",
    "ToldModel",
    "ToldTarget",
]


@dataclass(frozen=True)
class BuiltFrom:
    """One file that outputs were made from, by the step and role that read it; `sha256` in hex, empty if not known."""

    step: str
    role: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Stage:
    """The layers of a network that work at one size: `stride` pixels of the input for one place."""

    stride: int
    layers: int
    convolutions: int


@dataclass(frozen=True)
class Network:
    """A network and its removed tail: stages by rising stride, numbers of ONNX nodes, the uncut outputs with shapes.

    `parameters` counts the stored values of the cut graph. `tail_operators` are the kinds of node that the tail has and
    how many of each, most first.
    """

    stages: tuple[Stage, ...] = ()
    parameters: int = 0
    nodes: int = 0
    tail_nodes: int = 0
    tail_operators: tuple[tuple[str, int], ...] = ()
    outputs: tuple[tuple[str, tuple[int, ...]], ...] = ()


@dataclass(frozen=True)
class ToldTarget:
    """One target. `state` is that of `doit status`, `because` why it is not fresh, empty when it is.

    `folder` is where its outputs lie, `arch_folder` where what the presets of its chip share does. `compiler` is its
    name and version; `emulated`: nothing it makes runs on a device. `seconds` is what quantizing and compiling take
    here, the median of the last runs, None when no run is remembered.
    """

    name: str
    hw_arch: str
    preset: str
    compiler: str
    emulated: bool
    state: str
    because: str
    folder: Path
    arch_folder: Path
    seconds: float | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class DetectedObject:
    """An object in an image: x1 y1 x2 y2 in pixels of the input, the number of its class.

    `fate`: `both` (float and the preset have it), `lost` (the preset lacks it), `invented` (float lacks it).
    """

    box: tuple[float, float, float, float]
    score: float
    label: int
    fate: str


@dataclass(frozen=True)
class Side:
    """What one network found in an image; `by` is `float` or a preset."""

    by: str
    emulated: bool
    objects: tuple[DetectedObject, ...]


@dataclass(frozen=True)
class DetectedImage:
    """An image as the network sees it, `jpeg` of `width` x `height` pixels of the input, and what was found in it."""

    name: str
    width: int
    height: int
    jpeg: bytes
    sides: tuple[Side, ...]


@dataclass(frozen=True)
class Detected:
    """What float and the presets of one chip find in some images: `drawn_from` says which, `fault` why none."""

    hw_arch: str
    images: tuple[DetectedImage, ...] = ()
    drawn_from: str = ""
    fault: str = ""


@dataclass(frozen=True)
class LayerCost:
    """One layer and its share (0..1) of the noise that quantization makes at objects.

    `advice` says what would help, `lines` are those of the model script that say so.
    """

    layer: str
    kind: str
    nodes: tuple[str, ...]
    share: float
    low: float
    high: float
    used: float
    bits: int
    advice: str = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class ToldModel:
    """One model. `folder` is where what its targets share lies; `faults` are what is declared wrongly.

    `not_compared` says why there is no comparison. `detected` is by chip, `layers` by what they were measured of, worst
    first. `frame_bytes` are by preset what each endpoint of the split weighs. `is_old`: its page shows what lay there
    once, and has not been made again.
    """

    name: str
    folder: Path
    onnx: Path
    is_prebuilt: bool
    targets: tuple[ToldTarget, ...]
    faults: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    not_compared: str = ""
    detected: tuple[Detected, ...] = ()
    layers: tuple[tuple[str, tuple[LayerCost, ...]], ...] = ()
    network: Network | None = None
    frame_bytes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    built_from: tuple[BuiltFrom, ...] = ()
    tools: tuple[tuple[str, str], ...] = ()
    is_old: bool = False
