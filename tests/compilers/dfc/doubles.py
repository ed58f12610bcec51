"""An environment with the double, made once, and programs that are run in it as callers of the DFC run theirs."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from build_rules.compilers.har_file import Har, read_har
from tests.compilers.nets import SIZE, detector, images
from tests.dfc_double.environment import make_environment

__all__ = ["SCRIPT", "Caller", "calibration", "write_detector"]

SCRIPT = """\
normalization1 = normalization([0.0, 0.0, 0.0], [255.0, 255.0, 255.0])
change_output_activation(conv9, sigmoid)
quantization_param([output_layer1, output_layer2], precision_mode=a16_w16)
model_optimization_flavor(optimization_level=0, compression_level=0)
model_optimization_config(calibration, batch_size=4, calibset_size=16)
"""


@cache
def _model() -> tuple[onnx.ModelProto, tuple[str, ...]]:
    model, ends = detector()
    return model, tuple(ends)


def write_detector(folder: Path) -> tuple[str, ...]:
    """Write `model.onnx`, a small detector whose input is `images`; returns its end nodes."""
    model, ends = _model()
    onnx.save(model, str(folder / "model.onnx"))
    return ends


def calibration(count: int = 24, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Pictures as the DFC takes them: uint8 [N, H, W, C]."""
    return np.ascontiguousarray(images(count, seed).transpose(0, 2, 3, 1))


@dataclass
class Caller:
    """Somebody who has the DFC: an environment, and a working folder with a model and calibration data in it."""

    folder: Path
    python: Path
    ends: tuple[str, ...]

    @classmethod
    def settle(cls, folder: Path, **behaviour: Any) -> Caller:
        work = folder / "work"
        work.mkdir()
        ends = write_detector(work)
        np.save(work / "calibration.npy", calibration())
        return cls(work, make_environment(folder / "dfc", **behaviour), ends)

    def run(self, program: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program whose text may use `ENDS`, `SCRIPT`, `np`, `DATA` (uint8 [24, H, W, C]) and all of the DFC."""
        head = (
            "import json, sys\nimport numpy as np\nimport hailo_sdk_client\n"
            "from hailo_sdk_client import ClientRunner, InferenceContext\n"
            "from hailo_sdk_client.exposed_definitions import States\n"
            f"ENDS = {list(self.ends)!r}\nSCRIPT = {SCRIPT!r}\nSIZE = {SIZE}\nDATA = np.load('calibration.npy')\n"
            "def tell(**values): print('TOLD ' + json.dumps(values, default=str))\n"
        )
        path = self.folder / "program.py"
        path.write_text(head + textwrap.dedent(program), encoding="utf-8")
        variables = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return subprocess.run(
            [self.python, path.name],
            cwd=self.folder,
            env={**variables, **environment},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=120,
        )

    def told(self, program: str, **environment: str) -> dict[str, Any]:
        """Run a program that must succeed, and return what it said with `tell`."""
        done = self.run(program, **environment)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        told: dict[str, Any] = {}
        for line in done.stdout.splitlines():
            if line.startswith("TOLD "):
                told |= json.loads(line[len("TOLD ") :])
        return told

    def refused(self, program: str, **environment: str) -> str:
        """Run a program that must fail, and return the last line of its traceback."""
        done = self.run(program, **environment)
        assert done.returncode != 0, done.stdout[-2000:]
        return done.stderr.rstrip()

    def har(self, name: str) -> Har:
        return read_har(self.folder / name)

    def log(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")
