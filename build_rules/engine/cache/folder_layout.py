"""Where the files of a cache folder lie."""

from __future__ import annotations

from pathlib import Path

from build_rules.engine.cache.store import Kind

__all__ = ["place"]


def place(folder: Path, kind: Kind, name: str) -> Path:
    """Return where a name lies in a cache folder."""
    return folder / kind / name[:2] / name
