"""What a simulation delivered: an `.npz` that was written elsewhere, of which nothing is read that was not asked for.

Source of the format: NumPy's NEP 1 (`.npy`); `.npz` is a ZIP of such files.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from build_rules.compilers.har_file import OutputLayer
from build_rules.compilers.npz_numbers import NPZ_ERRORS, open_npz
from build_rules.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_simulated"]

MAX_VALUES = 1 << 28
"""Of all outputs and samples together; whoever simulates gives samples in batches of a quarter of their bytes."""


def read_simulated(path: Path, outputs: Sequence[OutputLayer], samples: int) -> dict[str, NDArray[np.float32]]:
    """Return the values of each output by its producing layer, float32 [samples, ...], in the order of the outputs.

    Raises `InputError` when one is missing, or not as the HN has it.
    """
    sizes = {output.producer: _size(output) for output in outputs}
    if samples * sum(sizes.values()) > MAX_VALUES:
        raise InputError(f"[dfc], simulate: more than {MAX_VALUES:,} values at once, which no network delivers.")
    try:
        with path.open("rb") as stream, open_npz(stream) as archive:
            return {layer: _values(archive, layer, samples, size) for layer, size in sizes.items()}
    except NPZ_ERRORS as error:
        raise InputError(
            f"[dfc], simulate: what came back are not the values of {samples} samples ({error}). `doit doctor` looks "
            "at what ran in place of the compiler."
        ) from error


def _size(output: OutputLayer) -> int:
    """Return how many values an output has for one sample."""
    sides = output.shape[1:]
    if not sides or not all(type(side) is int and 0 < side <= MAX_VALUES for side in sides):
        raise InputError(f"the HN has no shape for the output {output.producer!r}; parse the network again.")
    return prod(sides)


def _values(archive: zipfile.ZipFile, layer: str, samples: int, size: int) -> NDArray[np.float32]:
    try:
        with archive.open(f"{layer}.npy") as stream:
            shape, is_fortran = _read_header(stream)
            if shape[:1] != (samples,) or prod(shape) != samples * size:
                raise ValueError(f"{layer} has the shape {shape}, expected {samples} x {size:,} values")
            content = stream.read(4 * samples * size)
    except KeyError as error:
        raise ValueError(f"{layer} is missing") from error
    if len(content) < 4 * samples * size:
        raise ValueError(f"{layer} is cut short")
    values = np.frombuffer(content, np.dtype("<f4")).reshape(shape, order="F" if is_fortran else "C")
    return np.ascontiguousarray(values)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool]:
    """Return shape and order of an array of float32. Raises `ValueError` for any other."""
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("a header of another version")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype != np.dtype("<f4") or not all(side > 0 for side in shape):
        raise ValueError(f"an array of {dtype}, {shape}")
    return shape, is_fortran
