"""The emulator: an honest stand-in for the Hailo compiler that runs everywhere.

It really quantizes the cut graph as the model script says and really runs it on the host; what it writes says in its
version that it is emulated, and runs on no device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_rules.versions import library_version

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from build_rules.compilers import CompileJob, OptimizeJob, ParseJob

__all__ = ["EMULATOR_VERSION", "SDK_VERSION", "Emulator"]

EMULATOR_VERSION = "0.1.0"
SDK_VERSION = f"{EMULATOR_VERSION}-emulated"
"""What HAR and HEF carry as their SDK version; readers tell an emulated file by the word in it."""


class Emulator:
    """The `Compiler` protocol, in this process. Heavy libraries are imported by the stage that needs them."""

    name = "emulator"
    starts_programs = False

    def version(self) -> str:
        """Return e.g. `emulator 0.1.0 (onnxruntime 1.32.0)`; the runtime computes the calibration, so it counts."""
        return f"emulator {EMULATOR_VERSION} (onnxruntime {library_version('onnxruntime')})"

    def parse(self, job: ParseJob) -> None:
        """Translate the cut ONNX graph into a HAR of state `hailo_model`."""
        from build_rules.compilers.emulator.parse_onnx import parse
        from build_rules.compilers.har_file import write_har

        write_har(job.output, parse(job, SDK_VERSION))

    def optimize(self, job: OptimizeJob) -> None:
        """Quantize as the model script says, into a HAR of state `quantized_model`."""
        from build_rules.compilers.emulator.optimize import optimize
        from build_rules.compilers.har_file import write_har

        write_har(job.output, optimize(job))

    def run_float(self, job: OptimizeJob, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Return the end nodes' tensors of the float network for one sample (C, H, W)."""
        from build_rules.compilers.emulator.optimize import run_float

        return run_float(job, image)

    def compile(self, job: CompileJob) -> None:
        """Write the emulated executable."""
        from build_rules.compilers.emulator.compile import compile_har

        job.output.write_bytes(compile_har(job))
