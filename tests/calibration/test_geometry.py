"""The four geometry rules: what passes, what each one refuses, and that the first failure is the one reported."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.calibration.geometry import Geometry, check_geometry
from build_rules.errors import InputError

SHAPE = (4, 3, 320, 640)
SIZE = (320, 640)
TILED = {"version": 1, "mode": "tiled"}
WHOLE = {"version": 1, "mode": "whole_frame"}
GRID = {"algorithm": "evendist", "version": 1}


def params(**members: Any) -> dict[str, Any]:
    return {"input_shape": [320, 640], "resize": "letterbox", **members}


@pytest.mark.parametrize(
    ("given_params", "tiling"),
    [
        (params(), None),
        (params(resize="stretch"), None),
        (params(resize="tiled", tiling={}), None),
        (params(full_frame=False), None),
        (params(), WHOLE),
        (params(resize="tiled", grid=GRID), TILED),
        (params(resize="tiled", grid=GRID, full_frame=True), {**TILED, "full_frame": {"enabled": True}}),
        (params(), {**WHOLE, "full_frame": {"enabled": False}}),
    ],
)
def test_fits(given_params: dict[str, Any], tiling: object) -> None:
    geometry = check_geometry(given_params, SHAPE, SIZE, tiling)
    assert geometry == Geometry(given_params["resize"], SIZE, given_params.get("full_frame", False))


@pytest.mark.parametrize(
    ("given_params", "shape", "tiling", "field"),
    [
        (None, SHAPE, None, "params is missing"),
        ([], SHAPE, None, "params is missing"),
        ({"resize": "letterbox"}, SHAPE, None, "params.input_shape is missing"),
        ({"input_shape": [320, 640]}, SHAPE, None, "params.resize is missing"),
        (params(input_shape=[640, 320]), SHAPE, None, "params.input_shape"),
        (params(input_shape=[True, 640]), SHAPE, None, "params.input_shape"),
        (params(input_shape=[320.0, 640]), SHAPE, None, "params.input_shape"),
        (params(input_shape=[-320, 640]), SHAPE, None, "params.input_shape"),
        (params(input_shape=[320]), SHAPE, None, "params.input_shape"),
        (params(input_shape="320x640"), SHAPE, None, "params.input_shape"),
        (params(), None, None, "tensor_names"),
        (params(), (3, 320, 640), None, "stored samples"),
        (params(), (4, 320, 640, 3), None, "stored samples"),
        (params(resize="tiled"), SHAPE, None, "params.resize"),
        (params(resize="tiled", tiling=True), SHAPE, None, "params.resize"),
        (params(resize=["letterbox"]), SHAPE, None, "params.resize"),
        (params(resize="stretch"), SHAPE, WHOLE, "params.resize"),
        (params(), SHAPE, TILED, "params.resize"),
        (params(resize="tiled"), SHAPE, TILED, "params.grid.algorithm"),
        (params(resize="tiled", grid={"algorithm": "even"}), SHAPE, TILED, "params.grid.algorithm"),
        (params(full_frame=1), SHAPE, None, "params.full_frame"),
        (params(full_frame=True), SHAPE, None, "params.full_frame"),
        (params(), SHAPE, {**WHOLE, "full_frame": {"enabled": True}}, "params.full_frame"),
        (params(), SHAPE, [], "tiling must be a mapping"),
        (params(), SHAPE, {}, "tiling.version"),
        (params(), SHAPE, {**WHOLE, "version": True}, "tiling.version"),
        (params(), SHAPE, {**WHOLE, "version": 1.0}, "tiling.version"),
        (params(), SHAPE, {**WHOLE, "version": 2}, "tiling.version"),
        (params(), SHAPE, {"version": 1, "mode": "whole"}, "tiling.mode"),
        (params(), SHAPE, {"version": 1, "mode": ["tiled"]}, "tiling.mode"),
    ],
)
def test_refused_naming_the_field(given_params: object, shape: Any, tiling: object, field: str) -> None:
    with pytest.raises(InputError) as caught:
        check_geometry(given_params, shape, SIZE, tiling, source="pool.safetensors")
    assert field in str(caught.value)
    assert "pool.safetensors" in str(caught.value) or "tiling" in field


def test_first_failure_wins() -> None:
    wrong: dict[str, Any] = {"input_shape": [64, 64], "resize": "crop", "full_frame": "yes"}
    repairs: tuple[tuple[str, dict[str, Any]], ...] = (
        ("params.input_shape", {"input_shape": [320, 640]}),
        ("stored samples", {}),
        ("params.resize", {"resize": "stretch"}),
        ("params.full_frame", {"full_frame": False}),
    )
    for field, repair in repairs:
        shape = (4, 3, 64, 64) if field in ("params.input_shape", "stored samples") else SHAPE
        with pytest.raises(InputError, match=field):
            check_geometry(wrong, shape, SIZE)
        wrong |= repair
    check_geometry(wrong, SHAPE, SIZE)


def test_what_a_converter_records() -> None:
    assert Geometry("stretch", SIZE, False).as_mapping() == {"resize": "stretch", "input_shape": [320, 640]}
    assert Geometry("tiled", SIZE, True).as_mapping()["full_frame"] is True


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 700) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["mode", "enabled", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "input_shape": anything | st.just([320, 640]),
            "resize": anything | st.sampled_from(["letterbox", "stretch", "tiled"]),
            "grid": anything | st.just(GRID),
            "tiling": anything,
            "full_frame": anything,
        },
    ),
    anything | st.just(TILED) | st.just(WHOLE),
)
def test_never_anything_but_a_geometry_or_an_input_error(members: dict[str, Any], tiling: object) -> None:
    try:
        geometry = check_geometry(members, SHAPE, SIZE, tiling)
    except InputError:
        return
    assert geometry.input_shape == SIZE
    assert geometry.resize in ("letterbox", "stretch", "tiled")
