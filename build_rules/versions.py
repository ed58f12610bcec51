"""Versions: of the installed libraries whose results a step depends on, and what one in a compiled file says."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, distribution

__all__ = ["EMULATED", "UNKNOWN", "is_emulated", "library_version"]

EMULATED = "-emulated"
"""Ends the SDK version in a HEF or HAR that no device runs; neither has another field for it."""
UNKNOWN = "unknown"


@cache
def library_version(name: str) -> str:
    """Return the version of an installed distribution, `UNKNOWN` when there is none, or its metadata do not tell.

    Reads the one line it needs: every run of doit asks, and the standard library would parse the whole METADATA file,
    project description included, as an e-mail.
    """
    try:
        text = distribution(name).read_text("METADATA") or ""
    except PackageNotFoundError:
        text = ""
    lines = (line for line in text.split("\n\n", 1)[0].splitlines() if line.startswith("Version:"))
    return next(lines, f"Version: {UNKNOWN}").partition(":")[2].strip()


def is_emulated(sdk_version: str) -> bool:
    """Say whether a HEF or HAR comes from a compiler that only emulates, by the SDK version that it carries."""
    return sdk_version.endswith(EMULATED)
