"""Running an emulated HEF on the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from build_rules.compilers.emulator.compile import unpack_payload
from build_rules.compilers.emulator.run import open_session, run
from build_rules.errors import InputError
from build_rules.hef import read_payload

__all__ = ["HefSession", "run_hef"]

Tensors = dict[str, npt.NDArray[Any]]


class HefSession:
    """An opened emulated HEF, for many images; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Raise `InputError` when `path` is no HEF or one for silicon."""
        network = unpack_payload(read_payload(path))
        if network is None:
            raise InputError(
                f'{path}: holds code for a Hailo device; only emulated HEFs (compiler = "emulator") run on the host.'
            )
        self.path = path
        self._session = open_session(network)
        self.input_shape: tuple[int, ...] = tuple(self._session.get_inputs()[0].shape)

    def run(self, image: npt.NDArray[np.uint8]) -> Tensors:
        """Return the physical output tensors of one image, by vstream name: quantized, uint8 or uint16, [1, H, W, C].

        `image` is uint8 [H, W, C] or [1, H, W, C] of `input_shape`. Raises `InputError` for another shape or type.
        """
        batch = image[None] if image.ndim == 3 else image
        if batch.shape != self.input_shape or batch.dtype != np.uint8:
            raise InputError(
                f"{self.path}: takes an image of uint8 {list(self.input_shape)}, not {image.dtype} {list(image.shape)}."
            )
        return run(self._session, np.ascontiguousarray(batch))


def run_hef(path: Path, image: npt.NDArray[np.uint8]) -> Tensors:
    """Run an emulated HEF on one image; see `HefSession.run`."""
    return HefSession(path).run(image)
