"""Where models lie: the folders below `models/` that are one, and what they are called."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from build_rules.errors import InputError

__all__ = ["DECLARATION", "find_models", "model_name", "unwatched"]

DECLARATION = "model.toml"


def unwatched(path: Path) -> None:
    """Nobody wants to know what is read."""


def find_models(root: Path, watch: Callable[[Path], None] = unwatched) -> Iterator[tuple[Path, list[str]]]:
    """Yield every model folder below `root` with the names of its `.onnx` files, in order of name.

    `watch` is told of every folder just before it is searched. Folders inside a model belong to it and are not
    searched; hidden folders are skipped; links are not followed.
    """
    pending = [root]
    while pending:
        folder = pending.pop()
        watch(folder)
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(f"{folder}: cannot be read ({error.strerror}); check its permissions.") from error
        exports = [e.name for e in found if e.name.endswith(".onnx") and not e.is_dir(follow_symlinks=False)]
        if folder != root and (exports or any(e.name == DECLARATION for e in found)):
            yield folder, exports
            continue
        inner = [e for e in found if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")]
        pending += [folder / e.name for e in reversed(inner)]


def model_name(folder: Path, root: Path) -> str:
    """Return what a model is called. Raises `InputError` for a name that tasks cannot carry."""
    name = folder.relative_to(root).as_posix()
    if not re.fullmatch(r"[\w./+@ -]+", name) or any(part.startswith("-") for part in name.split("/")):
        raise InputError(
            f"{folder}: a model's folder name becomes part of task names, so it may hold letters, digits and . _ - + @ "
            "only, and not begin with -; rename the folder."
        )
    return name
