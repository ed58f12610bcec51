"""Every image of a pool is looked at once, and what was seen is believed from then on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from build_rules.calibration.chosen import Chosen
from build_rules.calibration.produce import produce_snapshot
from build_rules.calibration.snapshot.parameters import Parameters
from build_rules.errors import InputError
from tests.calibration.test_produce import UNIT


def draw(path: Path, seed: int, height: int = 10) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> list[tuple[str, Path]]:
    """Four images of which two are one file under two names, and one that cannot be decoded."""
    names = {"a.png": 1, "b.png": 2, "copy.png": 1}
    made = [(name, draw(tmp_path / name, seed, 10 + seed)) for name, seed in names.items()]
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    return [*made, ("torn.jpg", tmp_path / "torn.jpg")]


def look(folder: Path, pictures: list[tuple[str, Path]], skip_broken: bool = True) -> Chosen:
    """Make a snapshot of all that can be selected."""
    parameters = Parameters(input_shape=(16, 16), normalization=UNIT, count=99)
    known, output = folder / "known.db", folder / "snapshot"
    made = produce_snapshot(
        folder, parameters, output, "images", pool=pictures, skip_broken=skip_broken, database=known
    )
    return made.chosen


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One entry for each image that is decoded."""
    opened: list[None] = []
    original = Image.open

    def counting(*arguments: Any, **named: Any) -> Image.Image:
        opened.append(None)
        return original(*arguments, **named)

    monkeypatch.setattr(Image, "open", counting)
    return opened


def test_what_can_be_selected_and_what_became_of_the_others(tmp_path: Path, pictures: list[tuple[str, Path]]) -> None:
    chosen = look(tmp_path, pictures)
    assert (chosen.pool, [one.name for one in chosen.images]) == (2, ["a.png", "b.png"])
    assert [(one.name, one.kind) for one in chosen.left_out] == [("copy.png", "duplicate"), ("torn.jpg", "broken")]
    assert chosen.left_out[0].reason == "the same file as a.png"


def test_a_remembered_image_is_not_decoded_again(
    tmp_path: Path, pictures: list[tuple[str, Path]], decoded: list[None]
) -> None:
    first = look(tmp_path, pictures)
    samples = (tmp_path / "snapshot").read_bytes()
    assert decoded
    decoded.clear()
    assert look(tmp_path, pictures) == first
    assert decoded == []
    assert (tmp_path / "snapshot").read_bytes() == samples


def test_what_is_not_remembered_is_decoded(
    tmp_path: Path, pictures: list[tuple[str, Path]], decoded: list[None]
) -> None:
    look(tmp_path, pictures)
    decoded.clear()
    chosen = look(tmp_path, [*pictures, ("new.png", draw(tmp_path / "new.png", 9))])
    assert decoded
    assert "new.png" in [one.name for one in chosen.images]


def test_images_that_cannot_be_decoded_are_told_of_at_once(tmp_path: Path, pictures: list[tuple[str, Path]]) -> None:
    (tmp_path / "worse.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    broken = [*pictures, ("worse.jpg", tmp_path / "worse.jpg")]
    with pytest.raises(InputError, match=r"2 images cannot be decoded: torn\.jpg \(.*\), worse\.jpg \(.*skip_broken"):
        look(tmp_path, broken, skip_broken=False)
    with pytest.raises(InputError, match=r"1 image cannot be decoded: torn\.jpg \("):
        look(tmp_path, pictures, skip_broken=False)


@pytest.mark.parametrize(("count", "more"), [(20, ""), (21, " and 1 more")])
def test_twenty_broken_images_are_named(tmp_path: Path, count: int, more: str) -> None:
    broken = [(f"{number}.jpg", tmp_path / f"{number}.jpg") for number in range(count)]
    for number, (_, path) in enumerate(broken):
        path.write_bytes(b"\xff\xd8\xff" + bytes([number]))
    with pytest.raises(InputError) as caught:
        look(tmp_path, broken, skip_broken=False)
    assert str(caught.value).count(".jpg (") == 20
    assert f"){more}; replace or remove them" in str(caught.value)


def test_a_pool_of_which_nothing_is_left(tmp_path: Path, pictures: list[tuple[str, Path]]) -> None:
    with pytest.raises(InputError, match=r"none of its 1 images can be decoded; the first: torn\.jpg: "):
        look(tmp_path, pictures[-1:])
    with pytest.raises(InputError, match=r"none of its 0 images can be decoded; the first: there are none"):
        look(tmp_path, [])
