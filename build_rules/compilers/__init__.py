"""One interface for every compiler: `parse -> optimize -> compile`, one HAR or HEF file per stage.

A compiler is chosen by its name in one place (`find_compiler`); nothing else in the project asks which one it is.
Each method writes exactly the file its job names and nothing beside it, and raises `InputError` for wrong input.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from build_rules.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["COMPILERS", "PREBUILT", "CompileJob", "Compiler", "OptimizeJob", "ParseJob", "SampleError", "find_compiler"]

COMPILERS = ("emulator",)
PREBUILT = "prebuilt"
"""What stands for a compiler in a model whose HEF somebody has compiled elsewhere: there is nothing to compile."""


class SampleError(InputError):
    """Wrong input that one calibration sample has brought to light: `sample` is its row in the snapshot."""

    def __init__(self, message: str, sample: int) -> None:
        super().__init__(message)
        self.sample = sample


@dataclass(frozen=True)
class ParseJob:
    """ONNX -> parsed HAR. `end_nodes` are ONNX node names, in the order the outputs shall keep.

    `start` is the tensor at which the network begins, None for the graph's input: the model script's normalization
    makes it from the pixels. The network's input keeps the name of the graph's.
    """

    onnx: Path
    net_name: str
    hw_arch: str
    end_nodes: tuple[str, ...]
    output: Path
    start: str | None = None


@dataclass(frozen=True)
class OptimizeJob:
    """Parsed HAR + model script + calibration snapshot (safetensors, uint8 NCHW) -> quantized HAR."""

    har: Path
    script: Path
    calibration: Path
    output: Path


@dataclass(frozen=True)
class CompileJob:
    """Quantized HAR -> HEF."""

    har: Path
    output: Path


class Compiler(Protocol):
    """What every compiler offers."""

    name: str
    starts_programs: bool
    """Whether it works by starting other programs, which then have to be ended when a build is."""

    def version(self) -> str:
        """Return the compiler's name and version as it is to appear in the metadata; cheap, imports nothing heavy."""
        ...

    def parse(self, job: ParseJob) -> None:
        """Translate the cut ONNX graph."""
        ...

    def optimize(self, job: OptimizeJob) -> None:
        """Quantize as the model script says."""
        ...

    def run_float(self, job: OptimizeJob, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Return what the parsed network, not quantized, makes of pixels through the script's normalization.

        `image` is one sample (C, H, W); the tensors come in the order of the end nodes, each as the ONNX graph has it,
        without activations that the script folds.
        """
        ...

    def compile(self, job: CompileJob) -> None:
        """Write the executable."""
        ...


def find_compiler(name: str) -> Compiler:
    """Return the compiler called `name`. Raises `InputError` when there is none."""
    if name == "emulator":
        from build_rules.compilers.emulator import Emulator

        return Emulator()
    raise InputError(f"compiler {name!r} is not known; choose one of: {', '.join(COMPILERS)}.")
