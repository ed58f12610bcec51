"""A set is found by some images and proven on others: really quantized, run, and compared by its objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from build_rules.compilers.dfc import Dfc
from build_rules.compilers.emulator import Emulator
from build_rules.errors import InputError
from build_rules.mixed.find_set import SetInputs, divide, find_set
from build_rules.records.calibration_json import Feed, dump_feed
from build_rules.records.mixed_json import Mixed, dump_mixed, load_mixed
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import dump_split, load_split
from tests.compilers.nets import images
from tests.mixed.nets import LOUD, loud_detector

SAMPLES = 9
FEED = Feed(Normalization(1 / 255, (0.0,) * 3, (1.0,) * 3))


class Pictures:
    """Images of uint8 [N, C, H, W] as a comparison has them."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def image(self, number: int) -> NDArray[np.uint8]:
        picture: NDArray[np.uint8] = self.pixels[number].transpose(1, 2, 0)
        return picture

    def name(self, number: int) -> str:
        return str(number)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> SetInputs:
    build = loud_detector(tmp_path_factory.mktemp("set"), SAMPLES)
    split = build.folder / "split.json"
    feed = build.folder / "feed.json"
    feed.write_text(dump_feed(FEED), encoding="utf-8")
    return SetInputs(Emulator(), build.parsed, build.script, build.snapshot, split, build.onnx, feed, SAMPLES)


@pytest.fixture(scope="module")
def mixed(inputs: SetInputs, tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    return find_set(inputs, tmp_path_factory.mktemp("sets"))


def test_one_layer_is_found_and_brings_the_objects_back(mixed: Mixed) -> None:
    assert mixed.outcome == "found"
    assert [(layer.node, layer.mode) for layer in mixed.layers] == [(LOUD, "a8_w8_a16")]
    assert mixed.before is not None
    assert mixed.after is not None
    assert (mixed.before.map50_95 or 1) < 0.6 < 0.97 < (mixed.after.map50_95 or 0)
    assert mixed.after.snr > mixed.before.snr + 10
    assert (mixed.before.wide_layers, mixed.after.wide_layers) == (0, 1)
    assert mixed.before.frame_bytes == mixed.after.frame_bytes == 16 * 16 * 7
    assert mixed.images.chosen_by + mixed.images.proven_on == SAMPLES
    assert mixed.measured_by.startswith("emulator ")
    assert "1 of 5 layers" in mixed.because


def test_the_record_is_read_as_it_was_written(mixed: Mixed, tmp_path: Path) -> None:
    path = tmp_path / "mixed.json"
    path.write_text(dump_mixed(mixed))
    assert load_mixed(path) == mixed
    for text in ("{", "[]", '{"format": 2}', '{"format": 1}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"mixed\.json"):
            load_mixed(path)


@pytest.mark.parametrize("count", [1, 3, 4, 9, 24, 100, 1024])
def test_no_image_is_chosen_by_and_proven_on(count: int) -> None:
    chosen, proven = divide(count)
    assert chosen
    assert set(chosen).isdisjoint(proven)
    assert max((*chosen, *proven)) < count
    assert len(set(chosen)) == len(chosen) <= 8
    assert len(set(proven)) == len(proven) <= 40


def test_held_out_images_are_used_but_for_those_that_layers_were_chosen_by(inputs: SetInputs, tmp_path: Path) -> None:
    """The same pictures by other names."""
    told = find_set(replace(inputs, held_out=Pictures(np.concatenate([images(SAMPLES), images(3, seed=5)]))), tmp_path)
    assert (told.images.proven_set, told.images.proven_on) == ("held-out", SAMPLES + 3 - told.images.chosen_by)
    assert [layer.node for layer in told.layers] == [LOUD]


def test_what_cannot_be_judged_is_told_and_nothing_is_chosen(inputs: SetInputs, tmp_path: Path) -> None:
    few = find_set(replace(inputs, count=3), tmp_path)
    split = load_split(inputs.endpoints)
    nameless = tmp_path / "split.json"
    nameless.write_text(dump_split(replace(split, endpoints=tuple(replace(e, role="other") for e in split.endpoints))))
    undecoded = find_set(replace(inputs, endpoints=nameless), tmp_path)
    for told in (few, undecoded):
        assert (told.outcome, told.layers, told.before) == ("not judged", (), None)
    assert "too few" in few.because
    assert "objects cannot be read" in undecoded.because


def test_a_compiler_that_cannot_measure_says_so(inputs: SetInputs, tmp_path: Path) -> None:
    assert not Dfc.measures_noise
    with pytest.raises(InputError, match="only while it quantizes"):
        find_set(replace(inputs, compiler=Dfc(), held_out=None), tmp_path)
