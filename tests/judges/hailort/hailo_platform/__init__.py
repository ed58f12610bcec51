"""A stand-in for HailoRT's Python package: with its parent folder on PYTHONPATH, a program written for the device runs
an emulated HEF on the host instead.

Names and calls are HailoRT's, as far as EdgeFirst's validator uses them; the network is run by what `doit infer` runs,
and numbers become real by the scale and zero point of the HEF's own streams, as HailoRT's `FLOAT32` format does it.
Nothing here is a device: of a HEF for silicon it says so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from build_rules.compilers.emulator.run_hef import HostSession
from build_rules.hef import NetworkGroup, Stream, read_hef

from .pyhailort.pyhailort import FormatOrder

__all__ = [
    "HEF",
    "ConfigureParams",
    "FormatType",
    "HailoStreamInterface",
    "InferVStreams",
    "InputVStreamParams",
    "OutputVStreamParams",
    "VDevice",
]


class FormatType(Enum):
    """How numbers pass between host and runtime."""

    AUTO = 0
    UINT8 = 1
    UINT16 = 2
    FLOAT32 = 3


class HailoStreamInterface(Enum):
    """Where the device is plugged in."""

    PCIe = 0


class HEF:
    """A file or its bytes, and what streams it tells of."""

    def __init__(self, source: str | bytes) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hef-")
        self.path = Path(self._folder.name) / "model.hef" if isinstance(source, bytes) else Path(source)
        if isinstance(source, bytes):
            self.path.write_bytes(source)
        self.group: NetworkGroup = read_hef(self.path).network_groups[0]

    def get_input_vstream_infos(self) -> list[SimpleNamespace]:
        return [_info(stream) for stream in self.group.inputs]

    def get_output_vstream_infos(self) -> list[SimpleNamespace]:
        return [_info(stream) for stream in self.group.outputs]

    def get_network_group_names(self) -> list[str]:
        return [self.group.name]


def _info(stream: Stream) -> SimpleNamespace:
    numbers = stream.quantization
    return SimpleNamespace(
        name=stream.name,
        shape=stream.shape,
        format=SimpleNamespace(order=FormatOrder.NHWC, type=FormatType.AUTO),
        quant_info=SimpleNamespace(qp_scale=numbers.scale, qp_zp=numbers.zero_point),
    )


class ConfigureParams:
    """Asked for, and of no consequence here."""

    @staticmethod
    def create_from_hef(hef: HEF, interface: HailoStreamInterface) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class _Activated:
    """An activated network group: a context without work."""

    def __enter__(self) -> _Activated:
        return self

    def __exit__(self, *error: object) -> None:
        return None


@dataclass(frozen=True)
class _Configured:
    """A HEF on the stand-in for a device."""

    hef: HEF

    def create_params(self) -> dict[str, Any]:
        return {}

    def activate(self, params: Mapping[str, Any]) -> _Activated:
        return _Activated()


class VDevice:
    """No device: what is configured on it runs on the host."""

    def configure(self, hef: HEF, params: Mapping[str, Any]) -> list[_Configured]:
        return [_Configured(hef)]

    def release(self) -> None:
        return None


class _VStreamParams:
    @staticmethod
    def make(group: _Configured, format_type: FormatType = FormatType.AUTO) -> FormatType:
        return format_type


class InputVStreamParams(_VStreamParams):
    """The format that the host delivers."""


class OutputVStreamParams(_VStreamParams):
    """The format that the host wants."""


class InferVStreams:
    """Runs images on the host."""

    def __init__(
        self, group: _Configured, inputs: FormatType, outputs: FormatType, tf_nms_format: bool = False
    ) -> None:
        if inputs is not FormatType.UINT8 or outputs is not FormatType.FLOAT32 or tf_nms_format:
            raise NotImplementedError("only uint8 images in and float32 tensors out")
        self._streams = {stream.name: stream.quantization for stream in group.hef.group.outputs}
        self._session = HostSession(group.hef.path)

    def __enter__(self) -> InferVStreams:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def infer(self, images: Mapping[str, npt.NDArray[np.uint8]]) -> dict[str, npt.NDArray[np.float32]]:
        """Return the real values of every output, [1, H, W, C]."""
        (image,) = images.values()
        delivered = self._session.run(np.ascontiguousarray(image))
        return {
            name: np.float32(numbers.scale) * (delivered[name].astype(np.float32) - np.float32(numbers.zero_point))
            for name, numbers in self._streams.items()
        }
