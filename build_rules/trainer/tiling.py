"""The optional `tiling` section: copied as it is, refused when a runtime could not obey it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from build_rules.errors import InputError
from build_rules.records.split_json import TileGrid, Tiling
from build_rules.trainer.vocabulary import TILING_MODES

__all__ = ["read_tiling", "tiling_fault"]

CURE = "correct it in the trainer's export, or [metadata.tiling] in model.toml"


def tiling_fault(section: Any) -> str | None:
    """Return what is wrong with a `tiling` section, or None.

    Source: the metadata contract. Version is the integer 1; `true` and `1.0`, which Python calls equal to 1, are not.
    """
    if not isinstance(section, Mapping):
        return f"is {section!r}, not a mapping"
    version = section.get("version")
    if type(version) is not int or version != 1:
        return f"has version {version!r}; only the integer 1 is known"
    mode = section.get("mode")
    if mode not in TILING_MODES:
        return f"has mode {mode!r}, which is not one of {', '.join(TILING_MODES)}"
    return None


def read_tiling(section: Any) -> Tiling:
    """Return a `tiling` section; members that are not named here are left to the runtime.

    Raises `InputError` when no runtime could obey it, and when its grid cannot be what it says.
    """
    if fault := tiling_fault(section):
        raise InputError(f"the metadata's section tiling {fault}; {CURE}.")
    full_frame = section.get("full_frame")
    enabled = isinstance(full_frame, Mapping) and full_frame.get("enabled") is True
    grid = section.get("grid")
    return Tiling(section["mode"], enabled, None if grid is None else _grid(grid))


def _grid(grid: Any) -> TileGrid:
    """Return `tiling.grid`; an algorithm of another name or version is left to who cuts tiles."""
    members = grid if isinstance(grid, Mapping) else {}
    algorithm, version, overlap = (members.get(key) for key in ("algorithm", "version", "min_overlap"))
    if (
        not isinstance(algorithm, str)
        or type(version) is not int
        or not isinstance(overlap, (int, float))
        or isinstance(overlap, bool)
        or not 0 <= overlap < 1
    ):
        raise InputError(
            f"the metadata's tiling.grid is {grid!r}; it must hold an algorithm, a version (an integer) and "
            f"min_overlap (from 0 to less than 1); {CURE}."
        )
    return TileGrid(algorithm, version, float(overlap))
