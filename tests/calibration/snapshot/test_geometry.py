"""The four geometry rules: what passes, what each one refuses, and that the first failure is the one reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build_rules.calibration.snapshot.geometry import check_geometry
from build_rules.errors import InputError
from build_rules.records.calibration_json import Geometry
from build_rules.records.split_json import Tiling

SHAPE = (4, 3, 320, 640)
SIZE = (320, 640)
TILED, WHOLE = Tiling("tiled"), Tiling("whole_frame")
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
        (params(resize="tiled", grid=GRID, full_frame=True), replace(TILED, full_frame=True)),
    ],
)
def test_fits(given_params: dict[str, Any], tiling: Tiling | None) -> None:
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
        (params(), SHAPE, replace(WHOLE, full_frame=True), "params.full_frame"),
    ],
)
def test_refused_naming_the_field(given_params: object, shape: Any, tiling: Tiling | None, field: str) -> None:
    with pytest.raises(InputError) as caught:
        check_geometry(given_params, shape, SIZE, tiling, source="pool.safetensors")
    assert field in str(caught.value)
    assert "pool.safetensors" in str(caught.value)


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
    st.sampled_from([None, TILED, WHOLE]),
)
def test_never_anything_but_a_geometry_or_an_input_error(members: dict[str, Any], tiling: Tiling | None) -> None:
    try:
        geometry = check_geometry(members, SHAPE, SIZE, tiling)
    except InputError:
        return
    assert geometry.input_shape == SIZE
    assert geometry.resize in ("letterbox", "stretch", "tiled")


# The rules once more, as a table: each row says in which case which value passes; nothing is shared with the code.

SIZES: tuple[Any, ...] = ([320, 640], [640, 320], [320.0, 640], [True, 640], [0, 640], [320, 640, 3], "320", None)
RESIZES: tuple[Any, ...] = ("letterbox", "stretch", "tiled", "crop", None)
GRIDS: tuple[Any, ...] = (None, {}, {"algorithm": "even"}, {"algorithm": "evendist"}, "evendist")
FULL_FRAMES: tuple[Any, ...] = ("absent", False, True, 0, 1, None)
FITS: dict[tuple[str | None, Any], Callable[[Any, bool], bool]] = {
    ("tiled", "tiled"): lambda grid, block: isinstance(grid, dict) and grid.get("algorithm") == "evendist",
    ("whole_frame", "letterbox"): lambda grid, block: True,
    (None, "letterbox"): lambda grid, block: True,
    (None, "stretch"): lambda grid, block: True,
    (None, "tiled"): lambda grid, block: block,
}


def by_the_table(case: dict[str, Any]) -> str:
    """The field that the first broken rule is about, "" when all four hold."""
    if case["size"] != [320, 640] or any(type(side) is not int for side in case["size"]):
        return "params.input_shape"
    if case["stored"] != (4, 3, 320, 640):
        return "tensor_names" if case["stored"] is None else "stored samples"
    rule = FITS.get((case["mode"], case["resize"]))
    if rule is None:
        return "params.resize"
    if not rule(case["grid"], case["block"]):
        return "params.grid.algorithm" if case["mode"] == "tiled" else "params.resize"
    stated = False if case["full_frame"] == "absent" else case["full_frame"]
    wanted = case["mode"] is not None and case["enabled"]
    return "" if stated is wanted else "params.full_frame"


cases = st.fixed_dictionaries(
    {
        "size": st.just([320, 640]) | st.sampled_from(SIZES),
        "stored": st.just(SHAPE) | st.sampled_from([(4, 3, 640, 320), (4, 320, 640), (4, 320, 640, 3), None]),
        "mode": st.sampled_from([None, "tiled", "whole_frame"]),
        "resize": st.sampled_from(RESIZES),
        "grid": st.sampled_from(GRIDS),
        "block": st.booleans(),
        "full_frame": st.just("absent") | st.sampled_from(FULL_FRAMES),
        "enabled": st.booleans(),
    }
)


@settings(max_examples=1500, deadline=None)
@given(cases)
def test_the_four_rules_are_those_of_the_table(case: dict[str, Any]) -> None:
    members: dict[str, Any] = {"input_shape": case["size"], "resize": case["resize"]}
    members |= {} if case["grid"] is None else {"grid": case["grid"]}
    members |= {"tiling": {"version": 1}} if case["block"] else {}
    members |= {} if case["full_frame"] == "absent" else {"full_frame": case["full_frame"]}
    tiling = Tiling(case["mode"], case["enabled"]) if case["mode"] else None
    broken = by_the_table(case)
    if not broken:
        geometry = check_geometry(members, case["stored"], SIZE, tiling)
        assert geometry == Geometry(case["resize"], SIZE, case["mode"] is not None and case["enabled"])
        return
    with pytest.raises(InputError) as caught:
        check_geometry(members, case["stored"], SIZE, tiling, source="x")
    assert str(caught.value).startswith(f"x: {broken}") or f"x: the {broken}" in str(caught.value)
