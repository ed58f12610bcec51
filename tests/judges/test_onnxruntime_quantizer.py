"""onnxruntime's own static quantization as judge: with the same cut, samples and bits ours is not worse, output by
output.

Theirs is asked for what the emulator does: QDQ on every tensor, activations as asymmetric uint8 per tensor, weights as
symmetric int8 per output channel, ranges by smallest and largest value; where all is asked for, by percentile and by
entropy, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from build_rules.inference import load_onnxruntime
from tests.judges.quantized import Outputs, Pixels, Quantized, fitted, quantize, scaled
from tests.profiles import EVERYTHING
from tests.shared import SHARED, corpus_model, needs_shared

MODELS = Path(__file__).resolve().parents[2] / "models"
ALLOWED = 0.3
"""Decibels that ours may be worse in one output: what rounding of scales to other numbers makes."""


EMPTY = 0.5 / 255
"""An output that nowhere reaches half a step of a probability (0..1 in 8 bits) holds nothing: the coarsest scores of
examples whose shapes are all smaller."""
METHODS = ("MinMax", "Percentile", "Entropy") if EVERYTHING else ("MinMax",)


class Samples:
    """A reader of calibration samples, as onnxruntime's calibrators want it."""

    def __init__(self, name: str, samples: Pixels) -> None:
        self._rows: Iterator[dict[str, npt.NDArray[np.float32]]] = ({name: scaled(sample)} for sample in samples)

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self._rows, None)


def quantized_by_onnxruntime(made: Quantized, method: str) -> bytes:
    """The same network and samples, quantized by onnxruntime."""
    load_onnxruntime()
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    source, target = made.folder / "theirs.float.onnx", made.folder / "theirs.onnx"
    onnx.save(made.float_network(), str(source))
    quantize_static(
        str(source),
        str(target),
        Samples(made.split.input.name, made.samples),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[method],
    )
    return target.read_bytes()


def decibels(reference: Outputs, found: Outputs) -> dict[str, float]:
    """Signal over noise of every output."""
    result = {}
    for name, wanted in reference.items():
        if np.abs(wanted).max() < EMPTY:
            continue
        noise = np.square(found[name].astype(np.float64) - wanted).mean()
        result[name] = float(10 * np.log10(np.square(wanted.astype(np.float64)).mean() / noise))
    return result


def worse_outputs(made: Quantized, held_out: Pixels) -> dict[str, tuple[float, float]]:
    """Theirs and ours, for every output in which ours is worse, on pictures that neither was calibrated on."""
    reference = made.of(made.float_network().SerializeToString(), held_out)
    ours, worse = decibels(reference, made.ours(held_out)), dict[str, tuple[float, float]]()
    assert len(ours) >= 5
    for method in METHODS:
        theirs = decibels(reference, made.of(quantized_by_onnxruntime(made, method), held_out))
        print(method, {name: (round(theirs[name], 1), round(ours[name], 1)) for name in ours})
        worse |= {f"{method} {n}": (theirs[n], ours[n]) for n in ours if ours[n] < theirs[n] - ALLOWED}
    return worse


@pytest.mark.parametrize("model", ["shapes-det", "shapes-seg", "shapes-attn"])
def test_ours_is_not_worse_on_examples(model: str, tmp_path: Path) -> None:
    scenes = MODELS / "scenes"
    pictures = sorted((scenes / "calibration").glob("*.jpg"))[:16]
    made = quantize(MODELS / model / f"{model}.onnx", model, pictures, tmp_path)
    held_out = fitted(sorted((scenes / "heldout").glob("*.jpg"))[:16], (256, 256))
    assert worse_outputs(made, held_out) == {}


@needs_shared
def test_ours_is_not_worse_on_photographs(tmp_path: Path) -> None:
    pictures = sorted((SHARED / "images").glob("*.jpg"))
    made = quantize(corpus_model("yolov8n_320"), "yolov8n", pictures[:8], tmp_path)
    assert worse_outputs(made, fitted(pictures[8:12], (320, 320))) == {}
