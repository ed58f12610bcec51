"""The example whose boxes suffer at 8 bits: presets differ in what is found, and in the order they promise."""

from __future__ import annotations

from pathlib import Path

from build_rules.objects.found import Objects
from build_rules.objects.measure_agreement import agree
from build_rules.objects.paired import is_worse
from build_rules.objects.read_objects import ObjectReader
from tests.judges.quantized import Outputs, fitted, quantize
from tests.profiles import EVERYTHING

MODEL, SCENES = "shapes-wide", Path(__file__).resolve().parents[2] / "models" / "scenes-wide"
PRESETS = ("fast", "balanced", "accurate") if EVERYTHING else ("fast", "balanced")
CLASSES = 5


def found_in(reader: ObjectReader, outputs: Outputs) -> list[Objects]:
    count = len(next(iter(outputs.values())))
    return [reader.read({name: values[row] for name, values in outputs.items()}) for row in range(count)]


def test_presets_agree_with_float_in_their_order(tmp_path: Path) -> None:
    model = SCENES.parent / MODEL / f"{MODEL}.onnx"
    pictures = sorted((SCENES / "calibration").glob("*.jpg"))
    images = fitted(sorted((SCENES / "heldout").glob("*.jpg"))[: 64 if EVERYTHING else 32], (256, 256))
    reference, below = list[Objects](), list[Objects]()
    for preset in PRESETS:
        folder = tmp_path / preset
        folder.mkdir()
        made = quantize(model, MODEL, pictures if EVERYTHING else pictures[:32], folder, preset)
        reader = ObjectReader(made.split)
        reference = reference or found_in(reader, made.of(made.float_network().SerializeToString(), images))
        found = found_in(reader, made.ours(images))
        one = agree(reference, found, CLASSES)
        print(preset, one.map50_95, one.mean_iou)
        assert (one.map50_95 or 0) > 0.9
        assert not below or not is_worse(reference, below, found)
        if preset == "balanced":
            test = is_worse(reference, below, found)
            assert test.low > 0, test  # better beyond chance
        below = found
