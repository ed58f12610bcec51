"""Comparisons of a small network that was really quantized: batches, outputs that nobody reads, HARs of others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from build_rules.comparison import compare_model as module
from build_rules.comparison.compare_model import compare_model
from build_rules.comparison.comparison_inputs import ComparisonInputs, ImageSet, PresetInputs, digest_of
from build_rules.comparison.kept_comparison import dump
from build_rules.compilers.emulator import Emulator
from build_rules.errors import InputError
from build_rules.objects.found import Objects
from build_rules.records.calibration_json import Feed
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import Endpoint, ModelInput, Split
from tests.compilers.nets import NORMAL, SIZE, Build, detector, images

FEED = Feed(Normalization(1 / 255, (0.0,) * 3, (1.0,) * 3))


class Made:
    """Images that were made up."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self._pixels)

    def image(self, number: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(self._pixels[number].transpose(1, 2, 0))

    def name(self, number: int) -> str:
        return f"{number}.png"


def endpoint(name: str, role: str, node: str, channels: int, activation: str | None = None) -> Endpoint:
    encoding, shape = ("dfl" if role == "boxes" else None), (1, channels, SIZE // 2, SIZE // 2)
    return Endpoint(name, role, 0, 2, f"{node}_0", node, shape, encoding, activation)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ComparisonInputs:
    build = Build(tmp_path_factory.mktemp("net"), *detector()).parse().optimize(NORMAL)
    ends = (
        endpoint("boxes_0", "boxes", build.ends[0], 16),
        endpoint("scores_0", "scores", build.ends[1], 5),
        endpoint("protos", "protos", build.ends[2], 8),
    )
    split = Split("net", ModelInput("images", (1, 3, SIZE, SIZE)), ends, (), None)
    emulator = Emulator()
    held_out = ImageSet("held-out", Made(images(7, seed=3)), "b")
    return ComparisonInputs(
        *("net", "hailo8l", split, split, build.onnx, FEED),
        presets=(PresetInputs("fast", "net:hailo8l-fast", emulator, "x", build.har),),
        sets=(ImageSet("calibration", Made(images(5)), "a"), held_out),
    )


def test_batches_change_nothing(inputs: ComparisonInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int, str]] = []
    whole = compare_model(inputs, tmp_path, lambda *told: seen.append(told))
    assert seen[-1][:2] == (24, 24)
    assert [done for done, total, _ in seen if total] == sorted(done for done, total, _ in seen if total)
    monkeypatch.setattr(module, "BATCH_BYTES", 1)
    monkeypatch.setattr(module, "AT_ONCE", 1)
    assert dump(compare_model(inputs, tmp_path)) == dump(whole)
    (preset,) = whole.presets
    assert [each.images for each in preset.sets] == [5, 7]
    for output in preset.sets[1].outputs:
        assert 10 < output.snr < 80
        assert 0.9 < output.cosine <= 1
        assert output.snr_at_objects is not None


def test_outputs_that_nobody_reads_are_compared_as_numbers(inputs: ComparisonInputs, tmp_path: Path) -> None:
    ends = tuple(replace(each, role="protos", encoding=None) for each in inputs.split.endpoints)
    split = replace(inputs.split, endpoints=ends)
    comparison = compare_model(replace(inputs, split=split, endpoints=split), tmp_path)
    assert comparison.take is None
    assert "nobody reads objects" in comparison.because
    assert "objects cannot be read" in comparison.notes[0]
    for each in comparison.presets[0].sets:
        assert each.agreement is None
        assert all(output.snr > 10 and output.snr_at_objects is None for output in each.outputs)


def test_the_truth_makes_it_three_way(inputs: ComparisonInputs, tmp_path: Path) -> None:
    there = Objects(np.array([[4.0, 4, 20, 20]]), np.ones(1), np.zeros(1, np.int64))
    held_out = replace(inputs.sets[1], truth=(there,) * 7)
    comparison = compare_model(replace(inputs, sets=(inputs.sets[0], held_out)), tmp_path)
    assert [(name, truth.objects) for name, truth in comparison.float_truth] == [("held-out", 7)]
    assert [each.truth is None for each in comparison.presets[0].sets] == [True, False]


def test_a_preset_that_cannot_be_quantized_is_left_out_and_told(inputs: ComparisonInputs, tmp_path: Path) -> None:
    def refuse(folder: Path) -> tuple[Path, Path]:
        raise InputError("too few images.")

    other = PresetInputs("balanced", "", Emulator(), "y", quantize=refuse)
    comparison = compare_model(replace(inputs, presets=(*inputs.presets, other)), tmp_path)
    assert [preset.preset for preset in comparison.presets] == ["fast"]
    assert comparison.notes == ("balanced could not be quantized, so it is left out: too few images.",)


def test_a_har_of_another_network_is_refused(inputs: ComparisonInputs, tmp_path: Path) -> None:
    ends = (replace(inputs.split.endpoints[0], node="/elsewhere/Conv"), *inputs.split.endpoints[1:])
    split = replace(inputs.split, endpoints=ends)
    with pytest.raises(InputError, match="of another model, or was built from another cut"):
        compare_model(replace(inputs, split=split), tmp_path)
    parsed = inputs.exported.parent / "parsed.har"
    with pytest.raises(InputError, match="nothing is quantized yet"):
        compare_model(replace(inputs, presets=(replace(inputs.presets[0], har=parsed),)), tmp_path)


def test_a_comparison_holds_until_something_changes_that_it_was_made_from(inputs: ComparisonInputs) -> None:
    key = digest_of(inputs, "code")
    assert digest_of(inputs, "code") == key
    images_changed = replace(inputs, sets=(inputs.sets[0], replace(inputs.sets[1], digest="c")))
    har_changed = replace(inputs, presets=(replace(inputs.presets[0], digest="z"),))
    fed_otherwise = replace(inputs, feed=replace(FEED, swapped=True))
    others = [images_changed, har_changed, fed_otherwise, replace(inputs, notes=("stale",)), replace(inputs, model="m")]
    assert len({key, digest_of(inputs, "other"), *(digest_of(each, "code") for each in others)}) == 7
