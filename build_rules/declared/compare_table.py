"""The table `[compare]` of `model.toml`: by what `doit compare` and `doit report` compare, when no image is named.

[compare]
images = "../scenes/heldout"              # a folder, a list or a pattern of images that are no calibration images
truth = "../scenes/heldout/truth.json"    # what is in them: a folder of YOLO labels, or one COCO JSON

Both are optional. Nothing is built of either, so no step runs again for them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from build_rules.declared.model_folders import DECLARATION
from build_rules.toml_table import Table, read_toml

__all__ = ["CompareTable", "read_compare"]


@dataclass(frozen=True)
class CompareTable:
    """Paths as a repository has them, None where nothing is declared. Whether they are there, who compares will see."""

    images: Path | None = None
    truth: Path | None = None


def read_compare(folder: Path) -> CompareTable:
    """Read the table of the model in `folder`. Raises `InputError` for what is not possible in it."""
    declaration = folder / DECLARATION
    inner = Table(read_toml(declaration), str(declaration)).table("compare") if declaration.is_file() else None
    if inner is None:
        return CompareTable()
    images, truth = inner.text("images"), inner.text("truth")
    inner.close()
    return CompareTable(_beside(folder, images), _beside(folder, truth))


def _beside(folder: Path, named: str | None) -> Path | None:
    return None if named is None else Path(os.path.normpath(folder / named))
