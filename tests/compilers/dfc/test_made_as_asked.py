"""What the DFC delivers without a word (fewer bits, a missing output, another chip) ends the step that compiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from build_rules.compilers.describe_har import describe
from build_rules.compilers.dfc import Dfc
from build_rules.compilers.protocol import OptimizeJob, ParseJob
from build_rules.errors import InputError
from build_rules.hef import read_hef
from build_rules.records.stage_report import load_report
from build_rules.steps import hef
from tests.compilers.nets import NORMAL, SIZE, Build, detector
from tests.dfc_double.environment import make_environment, set_behaviour


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("dfc"))


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory, python: Path) -> Build:
    """A detector, quantized by the double: boxes in 16 bits, the sigmoid of the scores folded."""
    built = Build(tmp_path_factory.mktemp("asked"), *detector())
    dfc = Dfc(python=str(python))
    dfc.parse(ParseJob(built.onnx, "net", "hailo8l", built.ends, built.parsed))
    scores = describe(built.parsed).outputs[1].stream
    built.script.write_text(
        f"{NORMAL}change_output_activation({scores}, sigmoid)\n"
        "quantization_param(output_layer1, precision_mode=a16_w16)\n"
        "model_optimization_flavor(optimization_level=0, compression_level=0)\n"
        "model_optimization_config(calibration, batch_size=4, calibset_size=16)\n"
    )
    dfc.optimize(OptimizeJob(built.parsed, built.script, built.snapshot, built.har))
    return built


def compiled(build: Build, python: Path, folder: Path, **behaviour: Any) -> Path:
    set_behaviour(python, **behaviour)
    path = folder / "model.hef"
    placement = folder / "compile.alls"
    placement.touch()
    hef.run(build.har, placement, build.script, path, folder / "hef.json", Dfc(python=str(python)), "hailo8l")
    return path


def test_what_was_asked_for_passes_and_is_described(build: Build, python: Path, tmp_path: Path) -> None:
    har = describe(build.har)
    assert (har.state, har.hw_arch, har.sdk_version) == ("quantized_model", "hailo8l", "3.33.0-double-emulated")
    assert [(out.bits, out.activation) for out in har.outputs][:2] == [(16, "linear"), (8, "sigmoid")]
    assert [out.original_names[-1] for out in har.outputs][:2] == list(build.ends)[:2]
    streams = read_hef(compiled(build, python, tmp_path)).network_groups[0].outputs
    assert [stream.name for stream in streams] == [out.stream for out in har.outputs]
    assert load_report(tmp_path / "hef.json").warnings == ()


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ({"missing_streams": 1}, r"output net/\S+ \(ONNX node \S+\) is missing"),
        ({"hef_arch": "hailo8"}, "it is for hailo8, and the target is hailo8l"),
    ],
)
def test_what_is_something_else_is_refused(
    build: Build, python: Path, tmp_path: Path, behaviour: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        compiled(build, python, tmp_path, **behaviour)
    assert not (tmp_path / "hef.json").exists()


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ({"drop_wide_outputs": True}, "is delivered in 8 bits instead of 16, as in the quantized network already"),
        ({"drop_activations": True}, r"takes values from \S+ to \S+, so its sigmoid is not on the chip"),
    ],
)
def test_what_was_dropped_when_it_was_quantized_is_refused(
    build: Build, python: Path, tmp_path: Path, behaviour: dict[str, Any], message: str
) -> None:
    set_behaviour(python, **behaviour)
    dropped = Build(tmp_path / "dropped", build.model, build.ends)
    Dfc(python=str(python)).optimize(OptimizeJob(build.parsed, build.script, dropped.snapshot, dropped.har))
    dropped.script.write_text(build.script.read_text())
    with pytest.raises(InputError, match=message):
        compiled(dropped, python, tmp_path, **behaviour)


def test_its_own_numerics_give_real_values_by_stream(build: Build, python: Path) -> None:
    set_behaviour(python)
    samples = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    values = Dfc(python=str(python)).simulate(build.har, samples)
    outputs = describe(build.har).outputs
    assert list(values) == [output.stream for output in outputs]
    for output in outputs:
        assert values[output.stream].dtype.name == "float32"
        assert values[output.stream].shape == (3, *output.shape[1:])
    scores = values[outputs[1].stream]
    assert scores.min() >= 0
    assert scores.max() <= 1
