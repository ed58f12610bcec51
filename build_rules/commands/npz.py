"""Writing many results as one `.npz` that holds one array for each name, without holding them in memory.

Results are spooled to a nameless file beside the target; the archive is made from it when their number is known. Equal
results give equal bytes: members are stored in the results' order, with a fixed date.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from build_rules.atomic_file import replacing
from build_rules.errors import InputError

__all__ = ["write_stacked"]

EPOCH = (1980, 1, 1, 0, 0, 0)
MAX_NAME = 1000
Arrays = Mapping[str, npt.NDArray[Any]]


def write_stacked(target: Path, results: Iterable[Arrays]) -> int:
    """Write `target`; every array holds those of its name in all results, one after the other along the first axis.

    `target` appears whole or not at all. Returns the number of arrays. Raises `InputError` when it cannot be written,
    and when results differ in names, types or shapes.
    """
    try:
        with tempfile.TemporaryFile(dir=target.parent) as spool:
            first, count = _spool(spool, results)
            with replacing(target) as stream:
                _pack(stream, spool, first, count)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error}).") from error
    return len(first)


def _spool(spool: IO[bytes], results: Iterable[Arrays]) -> tuple[dict[str, npt.NDArray[Any]], int]:
    """Write all results in a row, each with its arrays in the order of the first; return that one and the number."""
    first: dict[str, npt.NDArray[Any]] = {}
    count = 0
    for count, result in enumerate(results, start=1):
        first = first or dict(result)
        if _kinds(result) != _kinds(first):
            raise InputError(f"the outputs of image {count} differ in type or shape from those of the first.")
        for name in first:
            spool.write(np.ascontiguousarray(result[name]).tobytes())
    if unfit := [name for name in first if not name.isprintable() or not 0 < len(name) <= MAX_NAME]:
        raise InputError(f"an output with the name {unfit[0][:80]!r} cannot be stored; compile the network again.")
    return first, count


def _kinds(result: Arrays) -> dict[str, tuple[Any, ...]]:
    return {name: (array.dtype, array.shape) for name, array in result.items()}


def _pack(stream: IO[bytes], spool: IO[bytes], first: Arrays, count: int) -> None:
    size = sum(array.nbytes for array in first.values())
    offset = 0
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in first.items():
            header = _header(array, count)
            info = zipfile.ZipInfo(f"{name}.npy", EPOCH)
            info.file_size = len(header) + array.nbytes * count  # decides on the 64-bit form of large members
            with archive.open(info, "w") as member:
                member.write(header)
                for index in range(count):
                    spool.seek(index * size + offset)
                    member.write(spool.read(array.nbytes))
            offset += array.nbytes


def _header(array: npt.NDArray[Any], count: int) -> bytes:
    shape = (array.shape[0] * count, *array.shape[1:])
    header = BytesIO()
    descr = np.lib.format.dtype_to_descr(array.dtype)
    np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
    return header.getvalue()
