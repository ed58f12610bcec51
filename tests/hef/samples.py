"""Small HEFs for the tests of this room, and where the real ones lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from build_rules.hef import HefSpec, Quantization, Stream
from build_rules.hef.container import Container, open_hef, scan_container
from build_rules.hef.writer import build_proto
from tests.hef import hailort
from tests.shared import SHARED

REAL = tuple(
    SHARED / "hefs" / name
    for name in (
        "v0_hand_landmark_lite.hef",
        "v0_xfeat_b.hef",
        "v1_arcface_mobilefacenet.hef",
        "v1_yolov5n_seg_h8_rpicam.hef",
        "v3_scrfd_2.5g.hef",
    )
)

EMBEDDINGS: tuple[Literal["append", "sealed"], ...] = ("append", "sealed")


def container_of(path: Path) -> Container:
    """Return where the sections of a sound HEF lie."""
    with open_hef(path) as stream:
        return scan_container(stream, str(path))


IMAGE = Stream(
    "net/input_layer1", "input", (64, 96, 3), (64, 96, 3), "NHWC", 1, Quantization(1.0, 0.0, 0.0, 255.0), ("images",)
)
BOXES = Stream(
    "net/conv41",
    "output",
    (8, 12, 63),
    (8, 12, 64),
    "FCR",
    2,
    Quantization(0.25, 12.0, -3.0, 8.5, tuple(0.25 for _ in range(63)), tuple(float(i) for i in range(63))),
    ("/model.22/cv2.0/cv2.0.2/Conv",),
)
SCORES = Stream(
    "net/conv42",
    "output",
    (8, 12, 3),
    (8, 12, 8),
    "NHWC",
    1,
    Quantization(0.00390625, -0.0, 0.0, 0.9375),
    ("/model.22/cv3.0/cv3.0.2/Conv", "/model.22/Sigmoid"),
)
CLASSES = Stream("net/fc1", "output", (1, 1, 63), (1, 1, 64), "NC", 1, Quantization(0.5, 3.0, -1.5, 126.0))


def message(hw_arch: str = "hailo8", change: Callable[[Any], object] | None = None) -> bytes:
    """The message of `spec`, changed by `change`, which gets it as an object of the judge's class."""
    hef = hailort.Hef()
    hef.ParseFromString(build_proto(spec(hw_arch), 5))
    if change is not None:
        change(hef)
    return bytes(hef.SerializeToString())


def spec(hw_arch: str = "hailo8") -> HefSpec:
    """A network group with one input and three outputs."""
    return HefSpec(hw_arch, "emulator 0.1", 1_700_000_000_000, "net", (IMAGE,), (SCORES, BOXES, CLASSES))
