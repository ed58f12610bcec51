"""What a build has left near a HEF or HAR: the records in the folder of its model, above that of the target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from build_rules.errors import InputError
from build_rules.records.calibration_json import Calibrated, load_calibrated
from build_rules.records.split_json import Split, load_split
from build_rules.regular_file import find_fault

__all__ = ["find_calibrated", "find_split"]

RECORD_BYTES = 16 << 20
"""A split.json of a hundred endpoints has fifty thousand bytes."""
Record = TypeVar("Record")


def find_split(path: Path) -> Split | None:
    """Return the `split.json` of the model that a file is of, None when there is none that can be read."""
    return _find(path, "split.json", load_split)


def find_calibrated(path: Path) -> Calibrated | None:
    """Return the `calibration.json` of the model that a file is of, None when there is none that can be read."""
    return _find(path, "calibration.json", load_calibrated)


def _find(path: Path, name: str, load: Callable[[Path], Record]) -> Record | None:
    folder = path.absolute().parent
    for place in (folder / name, folder.parent / name):
        try:
            if find_fault(place) is None and place.stat().st_size <= RECORD_BYTES:
                return load(place)
        except (InputError, OSError):
            continue  # a file of somebody else
    return None
