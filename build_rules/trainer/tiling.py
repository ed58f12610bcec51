"""The optional `tiling` section: copied as it is, refused when a runtime could not obey it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from build_rules.errors import InputError
from build_rules.records.split_json import TileGrid
from build_rules.trainer.vocabulary import TILING_MODES

__all__ = ["check_tiling", "read_grid", "tiling_fault"]

CURE = "correct it in the trainer's export, or [metadata.tiling] in model.toml"


def tiling_fault(tiling: Any) -> str | None:
    """Return what is wrong with a `tiling` section, or None.

    Source: the metadata contract. Version is the integer 1; `true` and `1.0`, which Python calls equal to 1, are not.
    """
    if not isinstance(tiling, Mapping):
        return f"is {tiling!r}, not a mapping"
    version = tiling.get("version")
    if type(version) is not int or version != 1:
        return f"has version {version!r}; only the integer 1 is known"
    mode = tiling.get("mode")
    if mode not in TILING_MODES:
        return f"has mode {mode!r}, which is not one of {', '.join(TILING_MODES)}"
    return None


def check_tiling(document: Mapping[str, Any]) -> None:
    """Raise `InputError` when the document has a `tiling` section that no runtime could obey. Absent is fine."""
    if "tiling" in document and (fault := tiling_fault(document["tiling"])):
        raise InputError(f"the metadata's section tiling {fault}; {CURE}.")


def read_grid(tiling: Mapping[str, Any]) -> TileGrid | None:
    """Return `tiling.grid`, None when there is none; members that are not named here are left to the runtime.

    An algorithm of another name or version is returned as it is: only who cuts tiles needs to know it. Raises
    `InputError` when a member is missing or cannot be what it says.
    """
    grid = tiling.get("grid")
    if grid is None:
        return None
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
