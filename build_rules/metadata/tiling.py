"""The optional `tiling` section: copied as it is, refused when a runtime could not obey it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from build_rules.errors import InputError
from build_rules.metadata.vocabulary import TILING_MODES

__all__ = ["check_tiling", "tiling_fault"]


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
        raise InputError(f"edgefirst.json: the section tiling {fault}; correct it in the trainer's export.")
