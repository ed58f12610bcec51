"""The records that cross rooms survive the file between them, and damaged files are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.errors import InputError
from build_rules.records.calibration_json import (
    Calibrated,
    Feed,
    Geometry,
    dump_calibrated,
    dump_feed,
    load_calibrated,
    load_feed,
)
from build_rules.records.normalization import Normalization
from build_rules.records.split_hint import SplitBoundary, SplitHint
from build_rules.records.split_json import (
    CAMERA_ADAPTORS,
    SWAPPED_COLORS,
    AttentionBlock,
    Endpoint,
    Front,
    ModelInput,
    Preprocessing,
    Proof,
    Split,
    dump_split,
    load_split,
)

ENDPOINTS = (
    Endpoint("boxes_0", "boxes", 0, 8, "t0", "n0", (1, 64, 8, 8), "dfl", None),
    Endpoint("scores_0", "scores", 0, 8, "t1", "n1", (1, 3, 8, 8), None, "sigmoid"),
)
ATTENTION = (AttentionBlock("m1", "s", "m2", ("qkv",), ("proj",), ("pe",)),)
HINTS = (SplitHint("output0", (SplitBoundary("boxes", (0, 4)), SplitBoundary("scores", (4, 7), "sigmoid")), (8, 16)),)
ANCHORS = (((10.0, 13.0), (16.0, 30.0)), ((30.5, 61.0), (62.0, 45.0)))
SPLIT = Split("net", ModelInput("images", (1, 3, 64, 48)), ENDPOINTS, ATTENTION, Proof(0.0, 1), Preprocessing())
CALIBRATED = Calibrated(
    "a.safetensors", 8, Geometry("letterbox", (64, 48)), Normalization(1 / 255, (0.0,) * 3, (1.0,) * 3)
)

IMAGENET = Normalization(1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@given(st.builds(Split, model=st.just("net"), proof=st.none() | st.builds(Proof, st.floats(0, 1), st.integers(1))))
def test_a_split_survives_its_file(tmp_path_factory: pytest.TempPathFactory, split: Split) -> None:
    path = tmp_path_factory.mktemp("split") / "net/split.json"
    path.parent.mkdir()
    path.write_text(dump_split(split), encoding="utf-8")
    assert load_split(path) == split


def test_everything_in_a_split_survives_its_file(tmp_path: Path) -> None:
    front = Front("t", (1, 3, 64, 48), (0.5, 1.0, 2.0), (255.0, 1.0, 3.0), True)
    pixels = replace(SPLIT.preprocessing, word="raw")
    full = replace(SPLIT, hints=HINTS, found_by="structure", anchors=ANCHORS, front=front, preprocessing=pixels)
    path = tmp_path / "net/split.json"
    path.parent.mkdir()
    path.write_text(dump_split(full), encoding="utf-8")
    assert load_split(path) == full
    assert '"net"' not in path.read_text(encoding="utf-8"), "what the model is called decides no byte"


def test_a_split_is_called_as_its_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when somebody stands in it, so that messages have a name to begin with."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net/split.json").write_text(dump_split(SPLIT), encoding="utf-8")
    monkeypatch.chdir(tmp_path / "net")
    assert load_split(Path("split.json")).model == "net"


@pytest.mark.parametrize("damage", [{"attention": [[1]]}, {"input": 5}, {"front": []}, {"hints": [[]]}])
def test_a_damaged_split_is_refused(tmp_path: Path, damage: dict[str, object]) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps({**json.loads(dump_split(SPLIT)), **damage}), encoding="utf-8")
    with pytest.raises(InputError, match=r"split\.json: not a split\.json of this version"):
        load_split(path)


def test_how_a_split_writes_its_pixels() -> None:
    """The numbers stand by themselves, as they always have, and the word that tells them has its old name."""
    pixels = json.loads(dump_split(replace(SPLIT, preprocessing=replace(SPLIT.preprocessing, word="raw"))))
    assert list(pixels["preprocessing"].items())[:4] == [
        *(("resize", "letterbox"), ("scale", 1 / 255), ("mean", [0.0, 0.0, 0.0]), ("std", [1.0, 1.0, 1.0])),
    ]
    assert list(pixels["preprocessing"].items())[-1] == ("normalization", "raw")


def test_a_calibrated_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(dump_calibrated(CALIBRATED))
    assert load_calibrated(path) == CALIBRATED


def test_a_feed_survives_its_file(tmp_path: Path) -> None:
    feed = Feed(IMAGENET, True)
    path = tmp_path / "feed.json"
    path.write_text(dump_feed(feed))
    assert load_feed(path) == feed


def test_normalization_in_pixels() -> None:
    mean, std = IMAGENET.in_pixels()
    assert mean == pytest.approx((123.675, 116.28, 103.53))
    assert std == pytest.approx((58.395, 57.12, 57.375))
    assert CALIBRATED.normalization.in_pixels() == ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))


def test_the_form_of_the_small_files() -> None:
    """Whoever reads them need not know how the records lie in one another."""
    assert json.loads(dump_calibrated(CALIBRATED)) == {
        **{"format": 1, "file_name": "a.safetensors", "count": 8, "resize": "letterbox", "input_shape": [64, 48]},
        **{"full_frame": False, "scale": 1 / 255, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]},
    }
    assert list(json.loads(dump_feed(Feed(IMAGENET)))) == ["format", "scale", "mean", "std", "swapped"]


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"format": 2}', '{"format": 1}', '{"format": 1, "model": 3}']
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"x\.json"):
        load_split(path)
    with pytest.raises(InputError, match=r"x\.json"):
        load_calibrated(path)
    with pytest.raises(InputError, match=r"x\.json"):
        load_feed(path)


def test_sizes_follow_the_layout() -> None:
    for image in (ModelInput("x", (1, 3, 64, 48)), ModelInput("x", (1, 64, 48, 3), "nhwc")):
        assert (image.height, image.width, image.channels) == (64, 48, 3)


def test_sigmoid_is_folded_except_for_anchor_heads() -> None:
    assert SPLIT.folded == {"scores_0"}
    anchors = Endpoint("anchor_0", "anchor", 0, 8, "t", "n", (1, 24, 8, 8), "anchor", "sigmoid")
    raw = Split("net", SPLIT.input, (anchors,), (), None)
    assert (raw.anchor_head, raw.folded) == (True, frozenset())


def test_camera_adaptors_are_those_of_edgefirst_with_their_channels() -> None:
    """A swap of red and blue leads to another of them, and back."""
    assert CAMERA_ADAPTORS == {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "grey": 1, "yuyv": 2}
    assert set(SWAPPED_COLORS) == {"rgb", "bgr", "rgba", "bgra"}
    for color, swapped in SWAPPED_COLORS.items():
        assert swapped != color
        assert SWAPPED_COLORS[swapped] == color
        assert CAMERA_ADAPTORS[swapped] == CAMERA_ADAPTORS[color]
