"""ONNX's own backend node tests through the emulator: every one that takes an image is computed rightly, or refused.

The input becomes an image of 8 bits (spread over the range of the test's own values), all other inputs constants. The
judge is ONNX's reference evaluator on the same pixels. Never a traceback.
"""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import save_file

from build_rules.compilers.emulator import Emulator
from build_rules.compilers.emulator.operators import SUPPORTED
from build_rules.compilers.protocol import OptimizeJob, ParseJob
from build_rules.errors import InputError
from tests.profiles import EVERYTHING

IMAGE_CHANNELS = (1, 2, 3, 4)
POINTWISE = (
    *("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Exp", "HardSigmoid", "HardSwish", "Gelu", "Mish", "Softplus"),
    *("Swish", "Erf", "Abs", "Neg", "PRelu", "Sqrt", "Log", "Add", "Sub", "Mul", "Div", "Pow", "Clip"),
)
"""Operators of each value alone: a test of three axes is one of an image with its batch left out."""
MOVING = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MatMul", "Resize")
LEAST_DB = 25.0
"""Signal over noise of 8 bits in and out; a uniform value over its whole range has 50."""


class Case(NamedTuple):
    """A node test as a network: its model, whose input is one image, and the test's values of it."""

    name: str
    model: onnx.ModelProto
    image: npt.NDArray[np.float32]


@cache
def cases() -> dict[str, tuple[Case, ...]]:
    """Return the tests that take an image, by operator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        collected = collect_testcases(None)
    found: dict[str, list[Case]] = {}
    for test in collected:
        if test.model is None:
            continue
        kinds = {node.op_type for node in test.model.graph.node}
        if len(kinds) == 1 and test.data_sets and (case := as_network(test)) is not None:
            found.setdefault(kinds.pop(), []).append(case)
    return {kind: tuple(each) for kind, each in sorted(found.items())}


def as_network(test: Any) -> Case | None:
    """Return a test with its first input as an image and the others as constants; None where that is none."""
    values, graph = test.data_sets[0][0], test.model.graph
    if not values or not all(isinstance(value, np.ndarray) for value in values) or values[0].dtype != np.float32:
        return None
    image = values[0]
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    if image.ndim == 3 and model.graph.node[0].op_type in POINTWISE:
        image = image[None]
        model.graph.input[0].type.tensor_type.shape.CopyFrom(shape_of(image))
        model.graph.output[0].type.tensor_type.ClearField("shape")
    if image.ndim != 4 or image.shape[0] != 1 or not (image.shape[1] in IMAGE_CHANNELS or image.shape[3] in (1, 3)):
        return None
    model.graph.initializer.extend(
        numpy_helper.from_array(value, info.name) for value, info in zip(values[1:], graph.input[1:], strict=False)
    )
    del model.graph.input[1:]
    return Case(test.name, model, image)


def shape_of(value: npt.NDArray[Any]) -> onnx.TensorShapeProto:
    return helper.make_tensor_value_info("", onnx.TensorProto.FLOAT, value.shape).type.tensor_type.shape


def pixels(image: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.uint8], float, float]:
    """Return an image in 8 bits, with the mean and the deviation that make its values of it."""
    low, high = float(image.min()), float(image.max())
    deviation = 255.0 / max(high - low, 1e-3)
    whole = np.clip(np.rint((image - low) * deviation), 0, 255).astype(np.uint8)
    return whole, -low * deviation, deviation


def noise(found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> float:
    """Return the signal over the noise, in dB; a constant signal counts by its size."""
    signal = max(float(np.square(wanted - wanted.mean()).mean()), 1e-4 * float(np.square(wanted).mean()), 1e-12)
    return float(10 * np.log10(signal / max(float(np.square(found - wanted).mean()), 1e-20)))


def judge(case: Case, folder: Path) -> str:
    """Return `refused`, or `right`; fails where it is computed wrongly."""
    path, parsed, script, snapshot, har = (folder / name for name in ("s.onnx", "p.har", "m.alls", "c.st", "m.har"))
    path.write_bytes(case.model.SerializeToString())
    whole, mean, deviation = pixels(case.image)
    nhwc = case.image.shape[1] not in IMAGE_CHANNELS
    planes = whole.transpose(0, 3, 1, 2) if nhwc else whole
    means, deviations = ([value] * planes.shape[1] for value in (mean, deviation))
    script.write_text(f"n = normalization({means}, {deviations})\n")
    save_file({case.model.graph.input[0].name: np.ascontiguousarray(planes)}, str(snapshot))
    job = OptimizeJob(parsed, script, snapshot, har)
    try:
        Emulator().parse(ParseJob(path, "net", "hailo8", (case.model.graph.output[0].name,), parsed))
        (floats,) = Emulator().run_float(job, planes[0])
        Emulator().optimize(job)
        (quantized,) = Emulator().simulate(har, np.ascontiguousarray(planes.transpose(0, 2, 3, 1))).values()
    except InputError as error:
        return "refused" if "\n" not in str(error) else f"told in several paragraphs: {error}"
    evaluator: Any = ReferenceEvaluator(case.model)
    fed = (whole.astype(np.float32) - np.float32(mean)) / np.float32(deviation)
    wanted = np.asarray(evaluator.run(None, {case.model.graph.input[0].name: fed})[0], dtype=np.float64)
    assert floats.shape == wanted.shape, case.name
    assert noise(floats, wanted) > 60, case.name
    delivered = wanted.transpose(0, 2, 3, 1) if wanted.ndim == 4 else wanted
    assert quantized.size == wanted.size, case.name
    if wanted.ndim == 4:
        assert noise(quantized, delivered) > LEAST_DB, case.name
    return "right"


@pytest.mark.parametrize("claimed", [True, False])
def test_every_node_test_is_right_or_refused(tmp_path: Path, claimed: bool) -> None:
    told: dict[str, list[str]] = {}
    for kind, every in cases().items():
        if (kind in SUPPORTED) == claimed:
            few = every if claimed or EVERYTHING else every[:1]
            told[kind] = [judge(case, tmp_path) for case in few]
    results = {kind: set(each) for kind, each in told.items()}
    if not claimed:
        assert set().union(*results.values()) == {"refused"}
        return
    assert set().union(*results.values()) == {"refused", "right"}
    right = {kind for kind, each in results.items() if "right" in each}
    assert right >= {*POINTWISE, *MOVING} - {"Clip", "Mish", "Swish", "Tanh"}
