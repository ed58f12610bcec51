"""The grid against its promises and against the runtime's own, `tile_grid` of EdgeFirst's HAL."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from build_rules.calibration.pixels.letterbox import place
from build_rules.calibration.pixels.tiles import Tile, grid
from build_rules.errors import InputError

hal: Any = pytest.importorskip("edgefirst_hal", reason="edgefirst-hal is not installed")

# Small tiles that overlap much are millions; nothing new shows in them.
MANY = 20_000

frames = st.tuples(st.integers(1, 5000), st.integers(1, 5000))
tiles = st.tuples(st.integers(8, 1300), st.integers(8, 1300))
overlaps = st.one_of(st.floats(0, 0.9), st.integers(0, 90).map(lambda percent: percent / 100))


@settings(deadline=None, max_examples=400)
@given(frames, tiles, overlaps)
def test_agrees_with_the_runtime(frame: tuple[int, int], tile: tuple[int, int], overlap: float) -> None:
    ours = grid(frame, tile, overlap)
    assume(len(ours) <= MANY)
    theirs = [spec.source for spec in hal.tile_grid(frame[1], frame[0], tile[1], tile[0], overlap)]
    assert len(ours) == len(theirs)
    assert [ours.tile(index) for index in range(len(ours))] == [
        Tile(source.y, source.x, source.height, source.width) for source in theirs
    ]


@pytest.mark.parametrize("overlap", [0.7, 0.35, 1 / 3, 0.1, 0.2, 0.0, 0.999, 1e-38, 2**-30])
def test_agrees_with_the_runtime_where_32_bits_show(overlap: float) -> None:
    frames: tuple[tuple[int, int], ...] = ((640, 641), (2160, 3840), (1080, 1920), (4320, 7680), (639, 6401))
    if overlap > 0.9:  # tiles a pixel apart are millions, so the two sides are looked at one after the other
        frames = tuple((640, width) for _, width in frames) + tuple((height, 640) for height, _ in frames)
    for frame in frames:
        theirs = hal.tile_grid(frame[1], frame[0], 640, 640, overlap)
        ours = grid(frame, (640, 640), overlap)
        assert len(ours) == len(theirs)
        last = theirs[-1].source
        assert ours.tile(len(ours) - 1) == Tile(last.y, last.x, last.height, last.width)
        assert ours.lefts == tuple(spec.source.x for spec in theirs if spec.row == 0)
        assert ours.tops == tuple(spec.source.y for spec in theirs if spec.col == 0)


def test_a_known_grid() -> None:
    tiles = grid((1080, 1920), (640, 640), 0.1)
    assert tiles.lefts == (0, 427, 853, 1280)
    assert tiles.tops == (0, 440)
    assert tiles.tile(5) == Tile(440, 427, 640, 640)


def test_a_small_frame_is_one_tile() -> None:
    assert grid((300, 500), (640, 640), 0.1) == grid((300, 500), (640, 640), 0.9)
    assert grid((300, 500), (640, 640), 0.1).tile(0) == Tile(0, 0, 300, 500)
    assert grid((300, 700), (640, 640), 0.1).tile(1) == Tile(0, 60, 300, 640)


@settings(deadline=None)
@given(frames, tiles, st.floats(0, 0.8), st.data())
def test_the_first_tile_that_holds_a_pixel(
    frame: tuple[int, int], tile: tuple[int, int], overlap: float, data: st.DataObject
) -> None:
    row, column = data.draw(st.integers(0, frame[0] - 1)), data.draw(st.integers(0, frame[1] - 1))
    tiles = grid(frame, tile, overlap)
    assume(len(tiles) <= MANY)
    holding = [
        index
        for index in range(len(tiles))
        if 0 <= row - tiles.tile(index).top < tiles.height and 0 <= column - tiles.tile(index).left < tiles.width
    ]
    assert tiles.first_holding(row, column) == holding[0]


@pytest.mark.parametrize(
    "arguments", [((0, 4), (8, 8), 0.1), ((4, 4), (8, 0), 0.1), ((4, 4), (8, 8), 1.0), ((4, 4), (8, 8), -0.1)]
)
def test_impossible_grids(arguments: Any) -> None:
    with pytest.raises(InputError):
        grid(*arguments)


def test_overlaps_that_32_bits_make_one_and_that_are_no_number() -> None:
    for overlap in (1 - 1e-12, float("nan")):
        with pytest.raises(InputError):
            grid((4, 4), (8, 8), overlap)


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 640), st.integers(1, 640), st.sampled_from([(640, 640), (384, 640), (320, 256)]))
def test_small_frames_lie_where_the_runtime_puts_them(height: int, width: int, tile: tuple[int, int]) -> None:
    # The recipe in the parameters rounds the short side up; the runtime rounds it to the nearest pixel.
    height, width = min(height, tile[0]), min(width, tile[1])
    configuration = hal.TilingConfig(tile[1], tile[0], 0.1).with_fit(hal.Fit.Letterbox)
    (planned,) = processor().plan_tiles(width, height, configuration)
    bounds = planned.letterbox or (0.0, 0.0, 1.0, 1.0)
    left, top, right, bottom = (round(bound * side) for bound, side in zip(bounds, tile[::-1] * 2, strict=True))
    placed = place((height, width), tile)
    assert (placed.left - left, placed.top - top) in ((0, 0), (-1, 0), (0, -1))
    assert (placed.width - (right - left), placed.height - (bottom - top)) in ((0, 0), (1, 0), (0, 1))


@cache
def processor() -> Any:
    return hal.ImageProcessor()
