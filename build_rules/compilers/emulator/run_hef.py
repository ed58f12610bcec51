"""Running an emulated HEF on the host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from build_rules.compilers.emulator.compile import unpack_payload
from build_rules.compilers.emulator.runnable import Tensors, open_network, run_network
from build_rules.errors import InputError
from build_rules.hef import read_payload
from build_rules.inference import Session

__all__ = ["HefSession", "run_hef"]


class HefSession:
    """An opened emulated HEF, for many images; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Raise `InputError` when `path` is no HEF, one for silicon, or holds no network that runs."""
        self.path = path
        self._session = _open(path)
        self.input_shape: tuple[int, ...] = tuple(self._session.get_inputs()[0].shape)

    def run(self, image: npt.NDArray[np.uint8]) -> Tensors:
        """Return the physical output tensors of one image, by vstream name: quantized, uint8 or uint16, [1, H, W, C].

        `image` is uint8 [H, W, C] or [1, H, W, C] of `input_shape`. Raises `InputError` for another shape or type, and
        when the network fails.
        """
        batch = image[None] if image.ndim == 3 else image
        if batch.shape != self.input_shape or batch.dtype != np.uint8:
            raise InputError(
                f"{self.path}: takes an image of uint8 {list(self.input_shape)}, not {image.dtype} {list(image.shape)}."
            )
        try:
            outputs = run_network(self._session, np.ascontiguousarray(batch))
        except InputError as error:
            raise InputError(f"{self.path}: {error}.") from error
        for name, output in outputs.items():
            if output.ndim != 4 or len(output) != 1:
                raise InputError(f"{self.path}: delivers '{name}' as {list(output.shape)}, not as [1, H, W, C].")
        return outputs


def _open(path: Path) -> Session:
    try:
        network = unpack_payload(read_payload(path))
    except InputError as error:
        raise _naming(path, error) from error
    if network is None:
        raise InputError(
            f'{path}: holds code for a Hailo device; only emulated HEFs (compiler = "emulator") run on the host.'
        )
    try:
        return open_network(network, bounded=True)
    except InputError as error:
        raise InputError(f"{path}: {error}; build the HEF again.") from error


def _naming(path: Path, error: InputError) -> InputError:
    return error if str(error).startswith(f"{path}: ") else InputError(f"{path}: {error}")


def run_hef(path: Path, image: npt.NDArray[np.uint8]) -> Tensors:
    """Run an emulated HEF on one image; see `HefSession.run`."""
    return HefSession(path).run(image)
