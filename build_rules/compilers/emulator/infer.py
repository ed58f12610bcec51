"""Running an emulated HEF on the host."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from build_rules.compilers.emulator.compile import unpack_payload
from build_rules.compilers.emulator.run import open_session, run
from build_rules.compilers.emulator.stored import read_stored
from build_rules.errors import InputError
from build_rules.hef import read_payload
from build_rules.inference import Session

__all__ = ["HefSession", "run_hef"]

OUTPUT_TYPES = ("tensor(uint8)", "tensor(uint16)")
MAX_INPUT_BYTES = 1 << 28
Tensors = dict[str, npt.NDArray[Any]]


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
            outputs = run(self._session, np.ascontiguousarray(batch))
        except Exception as error:  # onnxruntime's errors share no other base class
            raise InputError(f"{self.path}: its network cannot be run ({_first_line(error)}).") from error
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
        session = open_session(read_stored(network))
    except InputError as error:
        raise _naming(path, error) from error
    except Exception as error:  # onnxruntime's errors share no other base class
        raise InputError(f"{path}: its network cannot be run ({_first_line(error)}); build the HEF again.") from error
    _check_ends(path, session)
    return session


def _check_ends(path: Path, session: Session) -> None:
    """Refuse a network that does not take one picture of a fixed size or delivers something else than such tensors."""
    inputs = [(value.type, value.shape) for value in session.get_inputs()]
    if len(inputs) != 1 or inputs[0][0] != "tensor(uint8)" or not _is_picture(inputs[0][1]):
        told = ", ".join(f"{kind} {list(shape)}" for kind, shape in inputs) or "nothing"
        raise InputError(f"{path}: its network takes {told}, not one image [1, H, W, C] of uint8; build the HEF again.")
    for value in session.get_outputs():
        if value.type not in OUTPUT_TYPES:
            raise InputError(
                f"{path}: its network delivers '{value.name}' as {value.type}, not as uint8 or uint16; build the HEF "
                "again."
            )


def _is_picture(shape: Sequence[Any]) -> bool:
    fixed = len(shape) == 4 and all(isinstance(size, int) and size > 0 for size in shape)
    return fixed and shape[0] == 1 and prod(shape) <= MAX_INPUT_BYTES


def _naming(path: Path, error: InputError) -> InputError:
    return error if str(error).startswith(f"{path}: ") else InputError(f"{path}: {error}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


def run_hef(path: Path, image: npt.NDArray[np.uint8]) -> Tensors:
    """Run an emulated HEF on one image; see `HefSession.run`."""
    return HefSession(path).run(image)
