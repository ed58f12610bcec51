"""Reading calibration samples: a safetensors snapshot, uint8 NCHW, one row at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from build_rules.errors import InputError

__all__ = ["Samples"]


class Samples:
    """The images of a snapshot; `sample(i)` is uint8 [1, H, W, C]. Only the rows asked for are read."""

    def __init__(self, path: Path, tensor: str, shape: Sequence[int]) -> None:
        """Open the tensor called `tensor`; `shape` is the compiled input, [1, H, W, C].

        Raises `InputError` when the file is no snapshot of that input.
        """
        try:
            file: Any = safe_open(str(path), framework="numpy")
            names = sorted(file.keys())
            if tensor not in names:
                raise InputError(
                    f"{path}: has no tensor {tensor!r} (it has: {', '.join(names)}); the snapshot is another network's."
                )
            self._rows: Any = file.get_slice(tensor)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: not a readable calibration snapshot ({error}).") from error
        found, dtype = list(self._rows.get_shape()), self._rows.get_dtype()
        _, height, width, channels = shape
        if len(found) != 4 or found[1:] != [channels, height, width] or dtype != "U8":
            raise InputError(
                f"{path}: BadInputsShape: tensor {tensor!r} is {dtype} {found}, wanted is U8 [N, {channels}, {height}, "
                f"{width}]; make the snapshot for this network's input."
            )
        if found[0] == 0:
            raise InputError(f"{path}: holds no calibration sample.")
        self.path, self.count = path, int(found[0])
        self._lock = threading.Lock()

    def sample(self, index: int) -> npt.NDArray[np.uint8]:
        """Return row `index` in the layout of the device; safe to call from several threads."""
        with self._lock:
            row: npt.NDArray[np.uint8] = self._rows[index : index + 1]
        return np.ascontiguousarray(row.transpose(0, 2, 3, 1))
