"""A snapshot in the colours of another camera is refused; one that does not say is taken at its word."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from build_rules.calibration.parameters import parameters_for
from build_rules.calibration.snapshot import canonical_json, hash_params, write_snapshot
from build_rules.endpoints import Preprocessing
from build_rules.errors import InputError
from build_rules.steps.given import use_snapshot
from tests.test_records import SPLIT


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
    sample = np.zeros((3, 64, 48), np.uint8)
    write_snapshot(path, "images", (2, 3, 64, 48), [sample, sample], metadata)
    return path


@pytest.mark.parametrize("color", ["rgb", None])
def test_colours_that_agree(tmp_path: Path, color: str | None) -> None:
    facts = use_snapshot(write(tmp_path / "given", color), SPLIT, tmp_path / "out")
    assert (facts.count, facts.input_shape, facts.resize) == (2, (64, 48), "letterbox")


def test_other_colours(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"given: params\.color is 'bgr'.*as 'rgb'"):
        use_snapshot(write(tmp_path / "given", "bgr"), SPLIT, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    unknown = replace(SPLIT, preprocessing=replace(SPLIT.preprocessing, color=None))
    use_snapshot(write(tmp_path / "given", "bgr"), unknown, tmp_path / "out")
