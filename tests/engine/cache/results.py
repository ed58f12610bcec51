"""Results of steps to put into caches, and caches that note what they warn of."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from build_rules.engine.cache.action import CachedAction, CachedOutput
from build_rules.engine.cache.location import parse_location
from build_rules.engine.cache.shared import SharedCache

__all__ = ["KEY", "cache_of", "digest", "offered", "outputs_in", "result", "stored"]

KEY = "ab" * 32


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def result(folder: Path, **contents: bytes) -> tuple[CachedAction, dict[str, Path]]:
    """A step's outputs in a folder; `model_hef=b"..."` is a file `model.hef`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name.replace("_", "."): folder / name.replace("_", ".") for name in contents}
    for path, content in zip(files.values(), contents.values(), strict=True):
        path.write_bytes(content)
    outputs = (CachedOutput(path.name, digest(path.read_bytes()), path.stat().st_size) for path in files.values())
    return CachedAction(tuple(outputs), (("images/0.jpg", digest(b"image")),), 12.5), files


def cache_of(place: object, mode: Any = "read-write", limit: int | None = None, **more: Any) -> SharedCache:
    """A cache whose warnings are in its attribute `told`."""
    told: list[str] = []
    cache = SharedCache(parse_location(str(place)), mode, limit, told.append, **more)
    cache.told = told  # type: ignore[attr-defined]
    return cache


def told(cache: SharedCache) -> list[str]:
    lines: list[str] = cache.told  # type: ignore[attr-defined]
    return lines


def offered(cache: SharedCache, action: CachedAction, files: dict[str, Path], key: str = KEY) -> None:
    cache.offer(key, action, files)
    cache.close(30)


def stored(place: object, folder: Path, key: str = KEY, **contents: bytes) -> CachedAction:
    """Put a result into a cache."""
    action, files = result(folder, **contents)
    cache = cache_of(place)
    offered(cache, action, files, key)
    assert (cache.stats.uploaded, told(cache)) == (1, [])
    return action


def outputs_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
