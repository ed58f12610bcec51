"""Running on the host what the emulator made: the network in a HEF, or in a quantized HAR."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from build_rules.compilers.describe_har import output_grids
from build_rules.compilers.emulator.har_members import QUANTIZED_MEMBER
from build_rules.compilers.emulator.payload import unpack_payload
from build_rules.compilers.emulator.runnable import Tensors, open_network, run_network
from build_rules.compilers.har_file import read_har
from build_rules.compilers.in_order import in_order
from build_rules.errors import InputError
from build_rules.hef.reader import read_payload
from build_rules.inference import Session

__all__ = ["HostSession", "simulate"]


class HostSession:
    """An opened network, for many images; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Raise `InputError` when `path` is no HEF or HAR, one for silicon, or holds no network that runs."""
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


def simulate(path: Path, samples: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
    """Return the real values of a quantized HAR's outputs, [N, H, W, C] by stream name, in the order of the HEF's.

    `samples` is [N, H, W, C]. They are what the physical outputs stand for on the grids that the HAR tells. Raises
    `InputError` as `HostSession` does, and for no samples.
    """
    if not len(samples):
        raise InputError(f"{path}: is to be run on no sample.")
    session, grids = HostSession(path), output_grids(path)
    real: dict[str, npt.NDArray[np.float32]] = {}
    for number, delivered in enumerate(in_order(session.run, samples)):
        for name, scale, zero in grids:
            if name not in delivered:
                raise InputError(f"{path}: its network does not deliver {name}; build it again.")
            values = np.float32(scale) * (delivered[name][0].astype(np.float32) - np.float32(zero))
            real.setdefault(name, np.empty((len(samples), *values.shape), np.float32))[number] = values
    return real


def _open(path: Path) -> Session:
    network = _network_of_har(path) if path.suffix.lower() == ".har" else _network_of_hef(path)
    try:
        return open_network(network, bounded=True)
    except InputError as error:
        raise InputError(f"{path}: {error}; build it again.") from error


def _network_of_har(path: Path) -> bytes:
    har = read_har(path)
    if har.name + QUANTIZED_MEMBER not in har.members:
        raise InputError(f"{path}: is a {har.state}, in which nothing is quantized yet; run the model.har of a target.")
    return har.member(QUANTIZED_MEMBER)


def _network_of_hef(path: Path) -> bytes:
    try:
        network = unpack_payload(read_payload(path))
    except InputError as error:
        raise _naming(path, error) from error
    if network is None:
        raise InputError(f"{path}: holds no network of the emulator, though it says that it made it; build it again.")
    return network


def _naming(path: Path, error: InputError) -> InputError:
    return error if str(error).startswith(f"{path}: ") else InputError(f"{path}: {error}")
