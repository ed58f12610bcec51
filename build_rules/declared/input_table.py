"""The table `[input]` of `model.toml`: what the network takes, when neither metadata nor graph are to decide.

[input]
normalization = "raw"                   # unsigned, signed, raw or imagenet; or, in its place, in pixel units:
# mean = [123.675, 116.28, 103.53]
# std = [58.395, 57.12, 57.375]
color = "bgr"
preprocessing = "stretch"
shape = [640, 640]
"""

from __future__ import annotations

from pathlib import Path

from build_rules.records.choices import InputChoice
from build_rules.records.split_json import CAMERA_ADAPTORS
from build_rules.toml_table import Table, table_beside
from build_rules.trainer.vocabulary import NORMALIZATIONS, RESIZES

__all__ = ["input_beside", "read_input"]

MAX_SIDE = 16384
MAX_NUMBER = 1e6


def read_input(table: Table) -> InputChoice:
    """Read the sub-table `input` of a model. Raises `InputError` for what is not possible in it."""
    inner = table.table("input")
    if inner is None:
        return InputChoice()
    choice = InputChoice(
        normalization=inner.choice("normalization", tuple(NORMALIZATIONS), "") or None,
        mean=inner.numbers("mean", -MAX_NUMBER, MAX_NUMBER) or None,
        std=inner.numbers("std", 0.0, MAX_NUMBER) or None,
        color=inner.choice("color", CAMERA_ADAPTORS, "") or None,
        preprocessing=inner.choice("preprocessing", RESIZES, "") or None,
        shape=_shape(inner),
    )
    inner.close()
    _check_numbers(inner, choice)
    return choice


def input_beside(onnx: Path) -> InputChoice:
    """Return what the `model.toml` beside an ONNX file says about its input; nothing when there is none.

    Raises `InputError` for what is not possible in its table `input`.
    """
    return read_input(table_beside(onnx))


def _shape(table: Table) -> tuple[int, int] | None:
    sides = table.integers("shape", 1, MAX_SIDE)
    if len(sides) not in (0, 2):
        table.fail("shape", "[height, width] in pixels")
    return (sides[0], sides[1]) if sides else None


def _check_numbers(table: Table, choice: InputChoice) -> None:
    mean, std = choice.mean, choice.std
    if mean is None and std is None:
        return
    if choice.normalization is not None:
        table.fail("normalization", "no normalization beside mean and std, which stand in its place")
    if mean is not None and std is not None and len(mean) != len(std):
        table.fail("std", f"as many numbers as mean has, {len(mean)}, one for each channel")
    if std is not None and not all(std):
        table.fail("std", "numbers greater than 0")
    if std is not None and max(std) < 1 and max(map(abs, mean or (0.0,))) <= 1:
        table.fail("std", f"pixel units, such as {[round(255 * value, 3) for value in std]} for values of 0..1")
