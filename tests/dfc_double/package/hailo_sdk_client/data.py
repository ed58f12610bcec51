"""Data for calibration and inference: every form in which callers give them, as rows of the network's one input."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .exceptions import make

__all__ = ["Rows", "read_rows", "write_snapshot"]


class Rows:
    """Entries [N, H, W, C] that are read one at a time; an `.npy` that is mapped into memory stays there."""

    def __init__(self, array: Any, layer: str) -> None:
        self.array, self.layer = array, layer

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int) -> Any:
        return self.array[index]

    def extent(self, count: int) -> tuple[float, float]:
        """Return the least and the greatest value of the first entries. Raises for what is no number."""
        low, high = float("inf"), float("-inf")
        for index in range(min(count, len(self))):
            row = self.array[index]
            low, high = min(low, float(row.min())), max(high, float(row.max()))
            if not np.isfinite(low) or not np.isfinite(high):
                raise make("AccelerasValueError", f"entry {index} of the calibration data holds NaN or infinity")
        return low, high


def read_rows(data: Any, layer: str, aliases: Iterable[str], shape: tuple[int, ...], limit: int | None = None) -> Rows:
    """Return what a caller gave as rows of `shape`, [H, W, C].

    An array [N, H, W, C]; {input layer: array}; a path of an `.npy` or a folder of them; a function that returns a
    dataset, or an iterable, of entries. Raises `BadInputsShape` for another shape, ValueError for anything else.
    """
    if isinstance(data, (str, Path)):
        data = _read_path(Path(data))
    if isinstance(data, Mapping):
        data = _only_input(data, layer, aliases)
    elif callable(data):
        data = _collect(data, limit)
    if not isinstance(data, np.ndarray):
        raise make("ValueError", f"Unexpected data type {type(data).__name__}; give an array, a dict or a callback")
    if data.dtype.kind not in "uif":
        raise make("ValueError", f"data of type {data.dtype} are no numbers")
    # One entry too few dimensions: the first one was taken for the entries, as the DFC does.
    given = tuple(data.shape[1:])
    if given != shape:
        raise make(
            "BadInputsShape", f"Data shape {given} for layer {layer} doesn't match network's input shape {shape}"
        )
    if len(data) == 0:
        raise make("ValueError", "the data hold no entry")
    return Rows(data, layer)


def _only_input(data: Mapping[str, Any], layer: str, aliases: Iterable[str]) -> Any:
    names = [name for name in data if name == layer or name == layer.rpartition("/")[2] or name in aliases]
    unknown = [name for name in data if name not in names]
    if unknown or len(names) != 1:
        raise make("ValueError", f"Input layers {sorted(data)} don't match the input layers of the model: [{layer!r}]")
    return data[names[0]]


def _read_path(path: Path) -> Any:
    if path.is_dir():
        return np.stack([np.load(str(file)) for file in sorted(path.glob("*.npy"))])
    return np.load(str(path), mmap_mode="r")


def _collect(make_dataset: Callable[[], Any], limit: int | None) -> Any:
    """Take entries (`x`, `(x, label)`, `({name: x}, label)`) out of a dataset, at most `limit`."""
    dataset = make_dataset()
    entries: Iterator[Any] = iter(dataset.as_numpy_iterator() if hasattr(dataset, "as_numpy_iterator") else dataset)
    rows: list[Any] = []
    for entry in entries:
        if limit is not None and len(rows) >= limit:
            break
        value = entry[0] if isinstance(entry, tuple) else entry
        if isinstance(value, Mapping):
            value = next(iter(value.values()))
        rows.append(np.asarray(value))
    if not rows:
        raise make("ValueError", "the dataset holds no entry")
    return np.stack(rows)


def write_snapshot(path: Path, name: str, rows: Rows, count: int, scale: float) -> None:
    """Write the first entries as the emulator takes them: safetensors, uint8 [N, C, H, W], values times `scale`."""
    height, width, channels = rows[0].shape
    size = count * height * width * channels
    tensor = {"dtype": "U8", "shape": [count, channels, height, width], "data_offsets": [0, size]}
    header = json.dumps({name: tensor}).encode("utf-8")
    header += b" " * (-len(header) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(header)) + header)
        for index in range(count):
            row = rows[index]
            if row.dtype != np.uint8:
                row = np.clip(np.rint(row * scale), 0, 255).astype(np.uint8)
            stream.write(np.ascontiguousarray(row.transpose(2, 0, 1)).tobytes())
