"""The table `[input]` of `model.toml`: every key, and what is not possible in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli

from build_rules.declared.input_table import input_beside, read_input
from build_rules.declared.model import load_models
from build_rules.declared.settings import Settings
from build_rules.errors import InputError
from build_rules.records.choices import InputChoice
from build_rules.toml_table import Table


def read(text: str) -> InputChoice:
    return read_input(Table({"input": tomli.loads(text)}, "m/model.toml"))


def test_every_key() -> None:
    assert read("") == InputChoice()
    assert read('normalization = "raw"\ncolor = "bgr"\npreprocessing = "stretch"\nshape = [480, 640]') == InputChoice(
        normalization="raw", color="bgr", preprocessing="stretch", shape=(480, 640)
    )
    assert read("mean = [123.675, 116.28, 103]\nstd = [58.395, 57.12, 57.375]") == InputChoice(
        mean=(123.675, 116.28, 103.0), std=(58.395, 57.12, 57.375)
    )
    assert read("std = [255]").std == (255.0,)
    assert read("mean = [0, 0, 0]\nstd = [1, 1, 1]").std == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('normalization = "none"', r'normalization = .none.*"unsigned", "signed", "raw", "imagenet"'),
        ('color = "hsv"', r'color = .hsv.*"rgb", "bgr"'),
        ('preprocessing = "crop"', r'"letterbox", "stretch"'),
        ("shape = [640]", r"shape = \[640\].*\[height, width\]"),
        ("shape = [640, 0]", "integers from 1 to 16384"),
        ("shape = [640, 100000]", "integers from 1 to 16384"),
        ("shape = 640", "an array of integers"),
        ("mean = [nan, 0, 0]", "an array of numbers"),
        ("mean = [inf, 0, 0]", "an array of numbers"),
        ("mean = [true, false, true]", "an array of numbers"),
        ("mean = 0.5", "an array of numbers"),
        ("std = [1, 0, 1]", "greater than 0"),
        ("std = [-1, 1, 1]", "numbers from 0"),
        ("mean = [0, 0]\nstd = [1, 1, 1]", "as many numbers as mean has, 2"),
        ('normalization = "raw"\nmean = [0, 0, 0]', "no normalization beside mean and std"),
        (
            "mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]",
            r"pixel units, such as \[58\.395, 57\.12, 57\.375\]",
        ),
        ("colour = 1", 'did you mean "color"'),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"m/model\.toml, \[input\].*{message}"):
        read(text)


def test_a_model_that_says_it(tmp_path: Path) -> None:
    folder = tmp_path / "models/m"
    (folder / "calibration").mkdir(parents=True)
    (folder / "m.onnx").touch()
    assert load_models(tmp_path / "models", Settings())[0].input is None
    (folder / "model.toml").write_text('[input]\ncolor = "bgr"\n')
    assert load_models(tmp_path / "models", Settings())[0].input == InputChoice(color="bgr")
    assert input_beside(folder / "m.onnx") == InputChoice(color="bgr")
    assert input_beside(tmp_path / "models" / "other.onnx") == InputChoice()
    (folder / "model.toml").write_text('onnx = "other.onnx"\n[input]\ncolor = "bgr"\n')
    assert input_beside(folder / "m.onnx") == InputChoice()
