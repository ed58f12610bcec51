"""The snapshot in the form that the DFC takes: a `.npy` of uint8, [N, H, W, C], 0 to 255.

It is written row by row, while the next one is read, and mapped into memory on the other side, so that gigabytes of
pixels are in nobody's memory.
The format is NumPy's own (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from build_rules.compilers.samples import Samples

__all__ = ["write_array"]


def write_array(snapshot: Path, tensor: str, shape: Sequence[int], count: int, output: Path) -> None:
    """Write the first `count` rows of a tensor of the snapshot; `shape` is the compiled input, [1, H, W, C].

    Raises `InputError` when the snapshot is not of that input, or ends early.
    """
    samples = Samples(snapshot, tensor, shape)
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape[1:])}
    with output.open("wb") as stream, ThreadPoolExecutor(1) as reader:
        np.lib.format.write_array_header_1_0(stream, header)
        following = reader.submit(samples.sample, 0)
        for index in range(count):
            row = following.result()
            if index + 1 < count:
                following = reader.submit(samples.sample, index + 1)
            stream.write(row.data)
