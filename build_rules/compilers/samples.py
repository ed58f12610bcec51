"""Reading calibration samples: a safetensors snapshot, uint8 NCHW, one row at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from build_rules.calibration.snapshot.safetensors_file import read_header
from build_rules.errors import InputError

__all__ = ["Samples"]


class Samples:
    """The images of a snapshot; `sample(i)` is uint8 [1, H, W, C]. Only the rows asked for are read.

    The snapshot may be the user's own file under another name, so it is not mapped: one that is written over meanwhile
    would end the process.
    """

    def __init__(self, path: Path, tensor: str, shape: Sequence[int]) -> None:
        """Open the tensor called `tensor`; `shape` is the compiled input, [1, H, W, C].

        Raises `InputError` when the file is no snapshot of that input.
        """
        entries = {entry.name: entry for entry in read_header(path).entries}
        if tensor not in entries:
            names = ", ".join(sorted(entries))
            raise InputError(f"{path}: has no tensor {tensor!r} (it has: {names}); the snapshot is another network's.")
        entry = entries[tensor]
        _, height, width, channels = shape
        if len(entry.shape) != 4 or entry.shape[1:] != (channels, height, width) or entry.dtype != "U8":
            raise InputError(
                f"{path}: BadInputsShape: tensor {tensor!r} is {entry.dtype} {list(entry.shape)}, wanted is U8 [N, "
                f"{channels}, {height}, {width}]; make the snapshot for this network's input."
            )
        if entry.shape[0] == 0:
            raise InputError(f"{path}: holds no calibration sample.")
        self.path, self.count = path, entry.shape[0]
        self._begin, self._row = entry.begin, entry.shape[1:]
        self._size = channels * height * width
        self._file = path.open("rb", buffering=0)

    def sample(self, index: int) -> npt.NDArray[np.uint8]:
        """Return row `index` in the layout of the device; safe to call from several threads.

        Raises `InputError` when the file has become shorter.
        """
        content = os.pread(self._file.fileno(), self._size, self._begin + index * self._size)
        if len(content) < self._size:
            raise InputError(f"{self.path}: ends within sample {index}; run doit again when it is whole.")
        planes = np.frombuffer(content, np.uint8).reshape(self._row)
        return np.stack([*planes], axis=-1)[None]  # plane by plane: four times as fast as a transposed copy
