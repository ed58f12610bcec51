"""What is kept of a tensor of the float network: its extremes, some of its values, the mean of each channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from build_rules.compilers.emulator.network import load_network
from build_rules.compilers.emulator.observe import KEPT_VALUES, MASKED, PLACES, Observation, _observe, observe_all
from build_rules.compilers.emulator.qdq import float_model
from build_rules.compilers.emulator.quantization_plan import Plan
from build_rules.compilers.emulator.sessions import open_session, run
from build_rules.compilers.har_file import read_har
from build_rules.compilers.samples import Samples
from tests.compilers.nets import Build, attention

INF = float("inf")


def observed(value: Any, keep: int = 64, is_maskable: bool = False, shift: int = 0) -> Observation | None:
    return _observe(np.asarray(value, np.float32), keep, is_maskable, shift)


@pytest.mark.parametrize(
    ("value", "is_maskable", "expected"),
    [
        ([[[1, 2], [3, 8]]], False, (1, 8, [1.5, 5.5], [1, 2, 3, 8], False)),
        ([[[1, -INF], [3, 8]]], False, (1, 8, [1, 5.5], [1, 3, 8], True)),
        ([[[1, 2], [-INF, -INF]]], False, (1, 2, [1.5, 0], [1, 2], True)),
        ([[[1, MASKED], [3, MASKED]]], True, (1, 3, [1, 3], [1, 3], True)),
        ([[[1, MASKED + 1], [3, 4]]], True, (MASKED + 1, 4, [(MASKED + 2) / 2, 3.5], [1, MASKED + 1, 3, 4], False)),
        ([[[1, MASKED], [3, 4]]], False, (MASKED, 4, [(MASKED + 1) / 2, 3.5], [1, MASKED, 3, 4], False)),
        ([[[3e38, 3e38], [1, 1]]], False, (1, 3e38, [3e38, 1], [3e38, 3e38, 1, 1], False)),
    ],
    ids=["finite", "a mask", "a channel that is all mask", "at the bound", "above it", "no softmax", "a large sum"],
)
def test_one_sample(value: Any, is_maskable: bool, expected: tuple[Any, ...]) -> None:
    low, high, means, values, masked = expected
    found = observed(value, is_maskable=is_maskable)
    assert found is not None
    assert (found.low, found.high, found.masked) == (np.float32(low), np.float32(high), masked)
    np.testing.assert_array_equal(found.channel_means, np.asarray(means, np.float32))
    np.testing.assert_array_equal(found.values, np.asarray(values, np.float32))


def test_what_is_reduced_within_the_network_is_what_its_tensors_hold(tmp_path: Path) -> None:
    build = Build(tmp_path, *attention()).parse()
    network = load_network(read_har(build.parsed))
    samples = Samples(build.snapshot, network.image, network.input_shape)
    plan = Plan({}, {}, {}, {}, {}, (0.0,) * 3, (255.0,) * 3)
    seen = observe_all(network, plan, samples, range(6))
    taps = [name for name, each in seen.items() if each.samples]
    session = open_session(float_model(network, plan, list(seen), delivers=False))
    keep = KEPT_VALUES // 6
    truth = [run(session, samples.sample(index)) for index in range(6)]
    assert len(taps) >= 8
    for name in taps:
        parts = [_observe(each[name], keep, False, number * PLACES) for number, each in enumerate(truth)]
        whole = [part for part in parts if part is not None]
        assert seen[name].lows.tolist() == [part.low for part in whole]
        assert seen[name].highs.tolist() == [part.high for part in whole]
        assert np.array_equal(seen[name].values, np.concatenate([part.values for part in whole]))
    for layer in network.weighted:
        name = layer.inputs[0]
        means = np.mean([each[name].mean(axis=(0, 2, 3), dtype=np.float64) for each in truth], axis=0)
        np.testing.assert_allclose(seen[name].channel_means, means, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("value", [[[[1, INF]]], [[[1, np.nan]]], [[[-INF, -INF]]]])
def test_what_is_neither_finite_nor_a_mask(value: Any) -> None:
    assert observed(value) is None


@pytest.mark.parametrize(("keep", "step"), [(64, 1), (32, 3), (16, 5), (1, 65)])
def test_an_odd_number_of_values_is_stepped_over(keep: int, step: int) -> None:
    value = np.arange(64, dtype=np.float32).reshape(1, 4, 16)
    found = observed(value, keep)
    assert found is not None
    assert found.values.tolist() == list(range(0, 64, step))


def test_other_samples_show_other_places() -> None:
    value = np.arange(64, dtype=np.float32).reshape(1, 4, 16)
    seen = [observed(value, 16, shift=shift) for shift in range(5)]
    assert sorted(number for each in seen if each is not None for number in each.values) == list(range(64))
