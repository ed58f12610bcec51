"""Models that were never built, with comparisons made up by hand: every state that a page has to show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from build_rules.calibration.chosen import Chosen, ChosenImage, dump_chosen
from build_rules.comparison.measured import Check, Comparison, Histogram, OutputMeasure, PresetMeasure, SetMeasure
from build_rules.objects.agreement import Agreement, ClassAgreement, Precision
from build_rules.records.calibration_json import Calibrated, Geometry, dump_calibrated
from build_rules.records.normalization import UNIT
from build_rules.records.split_json import Endpoint, ModelInput, Proof, Split, dump_split
from build_rules.report_page.jpeg import encode
from build_rules.report_page.told import (
    BuiltFrom,
    Detected,
    DetectedImage,
    DetectedObject,
    LayerCost,
    Network,
    Side,
    Stage,
    ToldModel,
    ToldTarget,
)

HOSTILE = """x"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}&lt;b&gt;\udc80"""
PRESETS = {"fast": 0.9531, "balanced": 0.9712, "accurate": 0.9904}


def split(name: str = "net") -> Split:
    endpoints = tuple(
        Endpoint(f"{role}_{i}", role, i, 8 << i, f"/{role}{i}/out", f"/{role}{i}", (1, c, 32 >> i, 32 >> i), e, a)
        for role, c, e, a in (("boxes", 64, "dfl", None), ("scores", 5, None, "sigmoid"))
        for i in range(3)
    )
    return Split(name, ModelInput("images", (1, 3, 256, 256)), endpoints, (), Proof(0.0, 2))


def comparison(emulated: bool = True, labels: int = 2, chip: str = "hailo8l") -> Comparison:
    presets = tuple(_preset(name, value, emulated, labels, chip) for name, value in PRESETS.items())
    checks = (
        Check("the cut equals the original", "passed", "largest difference 0"),
        Check("calibration is diverse", "failed", "8 images", "Use at least 64."),
        Check("float is good", "not known", "there is no truth"),
    )
    why = "accurate agrees best, and the others lose 4 of 120 objects"
    return Comparison("net", chip, (("held-out", Precision(16, 120, 0.92, 0.71)),), presets, checks, "accurate", why)


def _preset(name: str, value: float, emulated: bool, labels: int, chip: str) -> PresetMeasure:
    classes = tuple(ClassAgreement(i, 60, value, value, 1, 0) for i in range(labels))
    sets = tuple(
        SetMeasure(
            of,
            16,
            tuple(_output(endpoint, 8 if name == "fast" else 16) for endpoint in split().endpoints),
            Agreement(16, 120, value, value, 0.97, -0.003, 3, 1, classes),
            Precision(16, 120, 0.9, 0.7) if of == "held-out" else None,
        )
        for of in ("calibration", "held-out")
    )
    sdk = "0.1.0-emulated" if emulated else "3.33.0"
    return PresetMeasure(name, f"{chip}-{name}", sdk, emulated, 416303, 90000, ("net/conv1", "net/conv2"), sets)


def _output(endpoint: Endpoint, bits: int) -> OutputMeasure:
    bins = [1 << (i % 13) for i in range(64)]
    histogram = Histogram(-4.0, 9.5, tuple(bins), tuple(bins[1:] + bins[:1]))
    numbers = (37.2, None if endpoint.role == "boxes" else 31.0, 0.99987, 0.0001, 0.97)
    size = 65536 * bits // 8
    return OutputMeasure(
        f"net/{endpoint.name}",
        endpoint.name,
        endpoint.role,
        (1, *endpoint.shape[2:], endpoint.shape[1]),
        bits,
        0.0123,
        17,
        size,
        *numbers,
        histogram,
    )


def target(folder: Path, preset: str, state: str = "fresh", *, emulated: bool = True, because: str = "") -> ToldTarget:
    compiler = "emulator 0.1.0" if emulated else "dfc 3.33.0"
    name = f"hailo8l-{preset}"
    return ToldTarget(
        name, "hailo8l", preset, compiler, emulated, state, because, folder / name, folder / "hailo8l", 12.5
    )


def detected(name: str, emulated: bool = True) -> DetectedImage:
    pixels = np.linspace(len(name), 255, 128 * 96 * 3).astype(np.uint8).reshape(96, 128, 3)
    both = DetectedObject((10.0, 12.0, 60.0, 70.0), 0.91, 0, "both")
    lost = DetectedObject((70.5, 20.0, 120.0, 80.0), 0.31, 0, "lost")
    made = DetectedObject((5.0, 60.0, 30.0, 90.0), 0.27, 1, "invented")
    sides = (Side("float", False, (both, lost)), *(Side(by, emulated, (both, made)) for by in PRESETS))
    return DetectedImage(name, 128, 96, encode(Image.fromarray(pixels)), sides)


def model(folder: Path, name: str = "net", label: str = "circle", *, emulated: bool = True) -> ToldModel:
    """A model with everything that there can be, its files below `folder`."""
    place = folder / "made"
    place.mkdir(parents=True, exist_ok=True)
    (place / "split.json").write_text(dump_split(split()))
    size = Geometry("letterbox", (256, 256), False)
    (place / "calibration.json").write_text(dump_calibrated(Calibrated("c.safetensors", 2, size, UNIT)))
    images = tuple(ChosenImage(f"{i}{label}.jpg", "0" * 64, 1, i, "red minimum 0") for i in range(2))
    (place / "calibration-images.json").write_text(dump_chosen(Chosen("c.safetensors", 2, 2, images)))
    Image.new("RGB", (200, 100), (10, 90, 160)).save(place / "calibration.png")
    targets = tuple(target(place, preset, emulated=emulated) for preset in PRESETS)
    document = {"description": label, "dataset": {"classes": [label, "square"]}, "model": {"task": "detection"}}
    targets[0].folder.mkdir(exist_ok=True)
    (targets[0].folder / "edgefirst.json").write_text(json.dumps(document))
    layer = LayerCost(
        f"net/{label}", "conv", (f"/{label}/Conv",), 0.49, -3.0, 17.0, 0.2, 8, "16 bits", ("quantization_param(x)",)
    )
    return ToldModel(
        name=name,
        folder=place,
        onnx=Path("models/net/net.onnx"),
        is_prebuilt=False,
        targets=targets,
        comparisons=(comparison(emulated),),
        detected=(
            Detected("hailo8l", (detected("a.jpg", emulated), detected("another.jpg", emulated)), "2 held-out images."),
        ),
        layers=((targets[0].name, (layer,)),),
        network=Network((Stage(2, 3, 1), Stage(8, 20, 9)), 400_000, 240, 32, (("Reshape", 8),), (("o", (1, 9, 1344)),)),
        frame_bytes=tuple((preset, (65536, 16384, 4096, 5120, 1280, 320)) for preset in PRESETS),
        built_from=(BuiltFrom("split", "onnx", f"models/{label}.onnx", "ab" * 32),),
        tools=(("onnx", "1.20"),),
    )
