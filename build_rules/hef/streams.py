"""What a HEF says about the network inside: its inputs and outputs as the host sees them, with their quantization.

Shapes are (height, width, features) in elements; a real value is `scale * (stored - zero_point)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from build_rules.hef.container import Container
from build_rules.hef.schema import DATA_TYPES
from build_rules.records.hardware import from_code
from build_rules.versions import is_emulated

__all__ = ["Direction", "Hef", "HostOp", "NetworkGroup", "Nms", "Quantization", "Shape", "Stream"]

LATEST_MS = 253402300799999  # the end of the year 9999
Direction = Literal["input", "output"]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Quantization:
    """How stored integers map to real values, and the range the compiler saw.

    `scales` and `zero_points` hold one value per feature when the compiler wrote them, and are empty otherwise. They
    count only when `per_feature` is true, and `scale` and `zero_point` only when it is not.
    """

    scale: float
    zero_point: float
    limits_min: float
    limits_max: float
    scales: tuple[float, ...] = ()
    zero_points: tuple[float, ...] = ()
    per_feature: bool = False


@dataclass(frozen=True)
class Stream:
    """One input or output tensor. `order` is the host's; `padded_shape` is what travels over the bus.

    `original_names` are the ONNX nodes that were fused into the layer the tensor comes from.
    """

    name: str
    direction: Direction
    shape: Shape
    padded_shape: Shape
    order: str
    data_bytes: int
    quantization: Quantization
    original_names: tuple[str, ...] = ()

    @property
    def dtype(self) -> str:
        """The stored type: `uint8`, `uint16` or `float32`; `unknown(n)` for another number of bytes."""
        return DATA_TYPES.get(self.data_bytes, f"unknown({self.data_bytes})")

    @property
    def real_range(self) -> tuple[float, float]:
        """Smallest and largest real value: those that the compiler wrote down, else those that can be expressed."""
        numbers = self.quantization
        if (numbers.limits_min, numbers.limits_max) != (0.0, 0.0):
            return numbers.limits_min, numbers.limits_max
        several = numbers.per_feature and numbers.scales and numbers.zero_points
        scales, zeros = (numbers.scales, numbers.zero_points) if several else ((numbers.scale,), (numbers.zero_point,))
        top = 256**self.data_bytes - 1
        pairs = list(zip(scales, zeros, strict=False))
        return min(-scale * zero for scale, zero in pairs), max(scale * (top - zero) for scale, zero in pairs)


@dataclass(frozen=True)
class Nms:
    """What a non-maximum suppression on the host was told; `boxes_only`: it decodes boxes and suppresses none."""

    classes: int
    max_proposals_per_class: int
    score_threshold: float
    iou_threshold: float
    boxes_only: bool = False


@dataclass(frozen=True)
class HostOp:
    """Work the runtime does on the host after the chip.

    `kind` is `nms-yolov5`, `nms-yolox`, `nms-ssd`, `nms-iou`, `nms-yolov5-seg`, `nms-yolov8`, `argmax` or `softmax`;
    `name` is the output the host sees instead of the streams named in `inputs`.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    nms: Nms | None = None


@dataclass(frozen=True)
class NetworkGroup:
    """One loadable network. `outputs` are in the order of the file; what only feeds a host operation comes last."""

    name: str
    inputs: tuple[Stream, ...]
    outputs: tuple[Stream, ...]
    contexts: int
    host_ops: tuple[HostOp, ...] = ()


@dataclass(frozen=True)
class Hef:
    """A HEF file, read. `timestamp_ms` counts milliseconds since 1970; `extensions` are the vendor's numbers.

    `unknown` says in a few words each what this reader does not understand, `refusals` what makes the vendor's runtime
    refuse the message in every release; everything else is as it stands. `arch_code` is the number that `hw_arch`
    stands for, `format_version` that of the message, which is 0 when it is older than the list of extensions.
    """

    container: Container
    hw_arch: str
    sdk_version: str
    timestamp_ms: int
    extensions: tuple[int, ...]
    network_groups: tuple[NetworkGroup, ...]
    unknown: tuple[str, ...] = ()
    arch_code: int = 0
    format_version: int = 0
    refusals: tuple[str, ...] = ()

    @property
    def created(self) -> datetime | None:
        """When the compiler says it made the file, to the second; None when it says nothing, or no possible time."""
        if not 0 < self.timestamp_ms <= LATEST_MS:
            return None
        return datetime.fromtimestamp(self.timestamp_ms // 1000, timezone.utc)

    @property
    def is_emulated(self) -> bool:
        """Whether its compiler only emulates, so that it runs on no device."""
        return is_emulated(self.sdk_version)

    @property
    def chips(self) -> tuple[str, ...]:
        """The architectures that it may be said to be compiled for: one number has two names."""
        return tuple(chip.name for chip in from_code(self.arch_code)) or (self.hw_arch,)

    @property
    def version(self) -> int:
        """The header version."""
        return self.container.header.version
