"""A snapshot in the colours of another camera is refused; one that does not say is taken at its word."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from build_rules.calibration.snapshot.given import use_snapshot
from build_rules.calibration.snapshot.parameters import parameters_for
from build_rules.calibration.snapshot.snapshot_file import (
    canonical_json,
    hash_params,
    open_snapshot,
    read_samples,
    verify_content,
    write_snapshot,
)
from build_rules.errors import InputError
from build_rules.records.calibration_json import Geometry
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import Front, Preprocessing, Split
from tests.records.test_records import SPLIT


def write(path: Path, color: str | None) -> Path:
    parameters = parameters_for(Preprocessing(), SPLIT.input, count=2)
    params = {**parameters.as_mapping(), "color": color}
    if color is None:
        del params["color"]
    metadata = {
        "params": canonical_json(params),
        "param_hash": hash_params(canonical_json(params)),
        "tensor_names": json.dumps(["images"]),
        "dtype": "uint8",
        "value_range": "[0, 255]",
        "layout": "NCHW",
        "normalization": '{"scale": 0.00392156863, "mean": [0, 0, 0], "std": [1, 1, 1]}',
    }
    sample = np.arange(3 * 64 * 48, dtype=np.uint8).reshape(3, 64, 48)
    write_snapshot(path, "images", (2, 3, 64, 48), [sample, sample], metadata)
    return path


@pytest.mark.parametrize("color", ["rgb", None])
def test_colours_that_agree(tmp_path: Path, color: str | None) -> None:
    facts = use_snapshot(write(tmp_path / "given", color), SPLIT, tmp_path / "out").facts
    assert (facts.count, facts.geometry) == (2, Geometry("letterbox", (64, 48)))


def test_other_colours(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"given: params\.color is 'bgr'.*as 'rgb'"):
        use_snapshot(write(tmp_path / "given", "bgr"), SPLIT, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    unknown = replace(SPLIT, preprocessing=replace(SPLIT.preprocessing, color=None))
    use_snapshot(write(tmp_path / "given", "bgr"), unknown, tmp_path / "out")


def swapping(color: str, **pixels: Any) -> Split:
    """A model whose graph swaps red and blue, so that the chip takes `color`."""
    front = Front("t", (1, 3, 64, 48), (0.0,) * 3, (1.0,) * 3, True)
    return replace(SPLIT, front=front, preprocessing=replace(SPLIT.preprocessing, color=color, **pixels))


@pytest.mark.parametrize("color", ["bgr", None])
def test_a_snapshot_in_the_order_of_a_graph_that_swaps(tmp_path: Path, color: str | None) -> None:
    given = write(tmp_path / "given", color)
    used = use_snapshot(given, swapping("rgb"), tmp_path / "out")
    turned = open_snapshot(tmp_path / "out")
    assert used.snapshot == turned
    verify_content(turned)
    assert turned.params["color"] == "rgb"
    assert not (tmp_path / "out").is_symlink()
    first, second = (next(read_samples(s)) for s in (open_snapshot(given), turned))
    assert np.array_equal(first[::-1], second)
    assert used.facts.normalization.std == (1.0, 1.0, 1.0)


def test_a_snapshot_in_the_order_of_the_chip_stays_where_it_lies(tmp_path: Path) -> None:
    used = use_snapshot(write(tmp_path / "given", "rgb"), swapping("rgb"), tmp_path / "out")
    assert used.snapshot == open_snapshot(tmp_path / "out")
    assert (tmp_path / "out").is_symlink()


def test_a_snapshot_that_would_normalize_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the graph or the user knows is done; what only the metadata say against it is asked about."""
    raw = replace(SPLIT.preprocessing, normalization=Normalization(1.0, (0.0,) * 3, (1.0,) * 3))
    sure = replace(SPLIT, preprocessing=replace(raw, word="raw"))
    done = use_snapshot(write(tmp_path / "given", "rgb"), sure, tmp_path / "out").facts.normalization
    assert (done.scale, done.std) == (1.0, (1.0, 1.0, 1.0))
    assert "warning: given: the normalization in it is (pixel - [0.0, 0.0, 0.0]) / [255.0" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"given: the normalization in it is .*validation\.normalization.*\[input\]"):
        use_snapshot(tmp_path / "given", replace(SPLIT, preprocessing=raw), tmp_path / "other")
