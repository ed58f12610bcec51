"""Installed versions of the libraries whose results a step depends on."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, distribution

__all__ = ["UNKNOWN", "library_version"]

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
