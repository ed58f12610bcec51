"""The images that a comparison is made on: calibration samples, and images that nothing was calibrated on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build_rules.comparison.comparison_inputs import ImageSet, files_digest
from build_rules.compilers.network_images import SampleRows, spread
from build_rules.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from build_rules.objects.found import Objects
    from build_rules.records.split_json import ModelInput

__all__ = ["CALIBRATION_IMAGES", "calibration_set", "held_out_set", "list_held_out"]

CALIBRATION_IMAGES = 64
"""Calibration samples that are compared, evenly spread: as many as Hailo's compiler takes its ranges of."""


@dataclass(frozen=True)
class _Files:
    """Image files; `load` fits one to the network."""

    files: Sequence[Path]
    load: Callable[[Path], NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.files)

    def image(self, number: int) -> NDArray[np.uint8]:
        return self.load(self.files[number])

    def name(self, number: int) -> str:
        return self.files[number].name


def calibration_set(snapshot: Path, source: ModelInput) -> ImageSet:
    """Return some samples of a snapshot. Raises `InputError` for one that is none of this input."""
    from build_rules.compilers.samples import Samples

    samples = Samples(snapshot, source.name, (1, source.height, source.width, source.channels))
    rows = spread(range(samples.count), CALIBRATION_IMAGES)
    return ImageSet("calibration", SampleRows(samples, rows), f"{files_digest([snapshot])} {len(rows)}")


def list_held_out(named: Sequence[Path]) -> tuple[Path, ...]:
    """Return the image files that somebody has named: files, folders, lists or patterns of images.

    Raises `InputError` where there is none.
    """
    from build_rules.calibration.pool.sources import find_fault, list_sources, sources_of

    files: list[Path] = []
    for path in named:
        if path.is_file() and path.suffix.lower() not in (".txt", ".safetensors"):
            files.append(path)
            continue
        if find_fault(path) is not None:
            raise InputError(f"{path}: there is no such image, folder or list of images.")
        sources = sources_of(path, list_sources(path))
        if sources.kind != "images":
            raise InputError(f"{path}: is a calibration snapshot; name images, a folder of images or a list of them.")
        files += sources.files
    return tuple(files)


def held_out_set(
    files: tuple[Path, ...],
    load: Callable[[Path], NDArray[np.uint8]],
    truth: Callable[[tuple[Path, ...]], tuple[Objects, ...]] | None,
    truth_files: Path | None,
) -> ImageSet:
    """Return images as a set; `truth` reads what is in them, which lies in `truth_files`."""
    digest = hashlib.sha256(files_digest(files).encode())
    if truth_files is not None:
        digest.update(files_digest(_files_of(truth_files)).encode())
        digest.update("\0".join(file.name for file in files).encode("utf-8", "surrogateescape"))
    return ImageSet("held-out", _Files(files, load), digest.hexdigest(), truth(files) if truth else None)


def _files_of(place: Path) -> list[Path]:
    """Return the file of a truth, or all text files of a folder of labels."""
    if place.is_dir():
        return sorted(path for path in (*place.glob("*.txt"), *place.glob("labels/*.txt")) if path.is_file())
    return [place] if place.is_file() else []
