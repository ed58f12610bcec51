"""The noise that each layer makes alone, where the truth is known by construction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from build_rules.compilers import in_order
from build_rules.compilers.emulator import Emulator
from build_rules.compilers.emulator import measure_noise as module
from build_rules.compilers.layer_noise import LayerNoise
from build_rules.compilers.protocol import NoiseJob, Surroundings
from tests.compilers.nets import NORMAL, Build, attention, detector
from tests.mixed.nets import LOUD, loud_detector

ROWS = (1, 7, 13, 20)


def measure(build: Build, told: list[str] | None = None, endpoints: bool = True) -> tuple[LayerNoise, ...]:
    split = build.folder / "split.json" if endpoints else None
    around = Surroundings() if told is None else Surroundings(told.append)
    return Emulator().layer_noise(NoiseJob(build.parsed, build.script, build.snapshot, ROWS, split, around))


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return loud_detector(tmp_path_factory.mktemp("loud"))


def test_a_channel_that_is_far_larger_than_the_others_makes_nearly_all_noise(loud: Build) -> None:
    told: list[str] = []
    worst, *others = measure(loud, told)
    assert (worst.nodes[0], worst.kind, worst.bits) == (LOUD, "conv", 8)
    assert worst.share > 0.8
    assert worst.weights is not None
    assert worst.weights < 0.01
    assert worst.high > 50
    assert sum(each.share for each in (worst, *others)) == pytest.approx(1)
    assert [each.share for each in others] == sorted((each.share for each in others), reverse=True)
    assert sum(part for _, part in worst.outputs) == pytest.approx(worst.share)
    assert any("s left" in text for text in told)


def test_what_comes_behind_no_layer_has_no_noise_of_it(loud: Build) -> None:
    boxes, scores = (each for each in sorted(measure(loud), key=lambda each: each.layer) if each.layer[-1] in "45")
    assert dict(boxes.outputs)[scores.layer] == 0
    assert dict(scores.outputs)[boxes.layer] == 0


def test_cells_without_objects_count_little(loud: Build) -> None:
    at_objects, everywhere = ({e.layer: e.share for e in measure(loud, None, which)} for which in (True, False))
    assert at_objects.keys() == everywhere.keys()
    assert at_objects != everywhere


def test_sixteen_bits_take_the_noise_away(loud: Build) -> None:
    before = loud.script.read_text()
    loud.script.write_text(before + "quantization_param(conv2, precision_mode=a8_w8_a16)\n")
    worst = {each.nodes[0]: each for each in measure(loud)}
    loud.script.write_text(before)
    assert worst[LOUD].share < 0.5
    assert worst[LOUD].bits == 16


def test_groups_threads_and_what_is_held_change_nothing(loud: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = measure(loud)
    monkeypatch.setattr(module, "HELD_BYTES", 1)  # one sample after the other
    monkeypatch.setattr(in_order, "MAX_WORKERS", 1)
    told = measure(loud)
    assert [each.layer for each in told] == [each.layer for each in expected]
    np.testing.assert_allclose([each.share for each in told], [each.share for each in expected], rtol=1e-12)


@pytest.mark.parametrize("net", [detector, attention])
def test_every_kind_of_layer_is_measured(net: object, tmp_path: Path) -> None:
    build = Build(tmp_path, *net()).parse()  # type: ignore[operator]
    build.script.write_text(NORMAL)
    told = measure(build, endpoints=False)
    assert all(np.isfinite(each.share) for each in told)
    assert sum(each.share for each in told) == pytest.approx(1)
    assert {"concat", "maxpool", "feature_splitter"}.isdisjoint(each.kind for each in told)
    if net is attention:
        assert {"matmul", "softmax", "ew_add"} <= {each.kind for each in told}
