"""Hailo's Dataflow Compiler, driven from outside: nothing of it is ever imported into this process.

It lives in an environment of its own (`docs/dfc.md`), where `dfc_worker.py` calls it, once per stage. By question:

=======================  ====================================================================================
`dfc_settings.py`        where is it, and how is it run?
`outside.py`             which one is it, and is it still the same?
`own_code.py`            which modules of ours is each stage made of?
the stages
`drive.py`               what is asked of it before the compile?
`calibration_array.py`   how is the snapshot handed over?
`simulated_arrays.py`    what came of a simulation?
`compile_network.py`     the compile, with what is tried when the network finds no place
`work_done.py`           one piece of work: its progress, its failure
`launch/`                how is that done where the DFC is, and how does it end with us?
`dfc_worker.py`          the other side
what it says
`log_text.py`            the logs of a run as plain lines
`log_progress.py`        how far is it, from what it prints while it runs?
`log_facts.py`           what did it do, and how long did each part take?
`asked.py`               what did the model script ask of it?
`log_report.py`          of both: the facts that are reported, and warnings of what is not as it was asked
`profile_facts.py`       what does its profiler say of a HEF?
when it fails
`failure_table.py`       by which words is it known what went wrong, and what helps?
`layer_origins.py`       which ONNX nodes do the layers come from that it names?
`dfc_failures.py`        of these: the message for the person at the terminal
`remedies.py`            what is tried next when a network finds no place on the chip?
`allocation.py`          where each layer was placed, kept for the next compile of the same network
before it begins
`diagnosis.py`           what is wrong with the place where it is to run?
`examination.py`         the facts for that
`pairing.py`             which HailoRT loads what which release makes?
`install.py`             how does the wheel become an environment? (`wheel.py`: is it the wheel?)
=======================  ====================================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from build_rules.compilers.dfc.dfc_settings import DfcSettings
from build_rules.errors import InputError
from build_rules.versions import EMULATED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from build_rules.compilers.describe_har import HarDescription
    from build_rules.compilers.layer_noise import LayerNoise
    from build_rules.compilers.protocol import (
        CompileJob,
        Diagnosis,
        Finding,
        NoiseJob,
        OptimizeJob,
        ParseJob,
        RunnableNetwork,
        Stage,
        StatisticsJob,
        TargetRequest,
    )
    from build_rules.records.stage_report import StageReport

__all__ = ["Dfc"]

RELEASE = re.compile(r"(?:sdk-version: )?[345]\.\d+\.\d+")
"""How the versions in its files begin."""
LICENCE, GPU = "dfc", "gpu"
"""What stages take of `[tool.build_rules.resources]`."""


@dataclass(frozen=True)
class Dfc(DfcSettings):
    """The `Compiler` protocol. `environment`: the facts of `find_out`, of which no setting tells."""

    environment: tuple[tuple[str, str], ...] = ()

    name: ClassVar[str] = "dfc"
    is_emulated: ClassVar[bool] = False
    starts_programs: ClassVar[bool] = True
    looks_outside: ClassVar[bool] = True
    float_tolerance: ClassVar[float] = 0.03  # its float network is its own, with some functions as the chip has them
    measures_noise: ClassVar[bool] = False
    keeps_logs: ClassVar[bool] = True
    judges_by_objects: ClassVar[bool] = False
    collects_statistics: ClassVar[bool] = False
    suffix: ClassVar[str] = "-dfc"

    @classmethod
    def is_maker(cls, sdk_version: str) -> bool:
        """Say whether a file is one of its own: a release's, or that of something that stands in for one."""
        release = RELEASE.match(sdk_version)
        return release is not None and sdk_version != release.group() + EMULATED

    def find_out(self, remembered: Mapping[str, str] | None) -> Finding:
        """Ask the environment which DFC is in it."""
        from build_rules.compilers.dfc.outside import find_out

        return find_out(self, remembered)

    def informed(self, facts: Mapping[str, str]) -> Dfc:
        """Return itself, knowing which DFC there is."""
        return replace(self, environment=tuple(sorted(facts.items())))

    def needs(self, stage: Stage) -> tuple[tuple[str, int], ...]:
        """Take a licence to quantize and to compile, and a GPU to quantize on one."""
        gpu = ((GPU, 1),) if self.gpus and stage == "optimize" else ()
        return () if stage == "parse" else ((LICENCE, 1), *gpu)

    def code(self, stage: Stage) -> tuple[str, ...]:
        """Return the modules that a stage is made of, without those that only tell of it."""
        from build_rules.compilers.dfc.own_code import CODE, FAILURES, PROFILE

        if stage != "compile":
            return CODE[stage]
        reads_failures = FAILURES if self.retry or self.profile else ()
        return (*CODE[stage], *reads_failures, *(PROFILE if self.profile else ()))

    def tools(self, stage: Stage) -> dict[str, str]:
        """Return which DFC in which environment, and the settings that decide what it makes."""
        tools = {"compiler": self.version(), "environment": self._fact("digest")}
        if stage == "optimize" and self.gpus:
            tools["gpus"] = self.gpus  # without any the compiler lowers its level
        if stage == "compile":
            chosen = {"profile": self.profile, "retry": self.retry, "reuse_allocation": self.reuse_allocation}
            tools.update({name: "true" for name, value in chosen.items() if value})
        return tools

    def version(self) -> str:
        """Return e.g. `dfc 3.33.0`."""
        return f"{self.name} {self._fact('dfc')}"

    def _fact(self, name: str) -> str:
        facts = dict(self.environment)
        if name not in facts:
            raise InputError(f"[{self.name}]: nobody has asked yet which Dataflow Compiler there is; run doit again.")
        return facts[name]

    def parse(self, job: ParseJob) -> StageReport:
        """Translate the cut ONNX graph into a HAR of state `hailo_model`."""
        from build_rules.compilers.dfc.drive import parse

        return parse(self, job)

    def collect(self, job: StatisticsJob) -> None:
        """Collect nothing: it computes its statistics itself, whenever it optimizes."""
        raise NotImplementedError

    def optimize(self, job: OptimizeJob) -> StageReport:
        """Quantize as the model script says, into a HAR of state `quantized_model`."""
        from build_rules.compilers.dfc.drive import optimize

        return optimize(self, job)

    def run_float(self, job: OptimizeJob, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Return the end nodes' tensors of the float network for one sample (C, H, W)."""
        from build_rules.compilers.dfc.drive import run_float

        return run_float(self, job, image)

    def compile(self, job: CompileJob) -> StageReport:
        """Compile the executable that runs on a device."""
        from build_rules.compilers.dfc.compile_network import compile_network

        return compile_network(self, job)

    def read_back(self, stage: Stage, did: StageReport, log: str, script: str) -> StageReport:
        """Return what a stage says itself, with what its log says of what the model script asks for."""
        from build_rules.compilers.dfc.log_report import read_back

        return read_back(stage, did, log, script)

    def reading_code(self) -> tuple[str, ...]:
        """Return the modules that logs are read by."""
        from build_rules.compilers.dfc.own_code import READING

        return READING

    def simulate(self, har: Path, samples: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        """Run the quantized network of a HAR by the DFC's own numerics; real values by stream name, [N, H, W, C]."""
        from build_rules.compilers.dfc.drive import simulate

        return simulate(self, har, samples)

    def layer_noise(self, job: NoiseJob) -> tuple[LayerNoise, ...]:
        """Refuse: it measures noise as a part of `optimize` alone, and tells it in its log."""
        raise InputError(
            f"{job.har}: the Dataflow Compiler measures the noise of layers only while it quantizes; the emulator can "
            "tell them of the same graph: run the command with compiler=emulator."
        )

    def noise_code(self) -> tuple[str, ...]:
        """Return nothing: it measures none."""
        return ()

    def describe(self, har: Path) -> HarDescription:
        """Say what is in a HAR."""
        from build_rules.compilers.describe_har import describe

        return describe(har)

    def open(self, path: Path) -> RunnableNetwork:
        """Refuse: what it compiles runs on a device."""
        raise InputError(
            f"{path}: holds code for a Hailo device, and runs there alone; doit infer takes the model.har beside it, "
            "which the Dataflow Compiler runs here with the same numerics."
        )

    def diagnose(self, requests: tuple[TargetRequest, ...]) -> tuple[Diagnosis, ...]:
        """Look at the place where it is, and say what is wrong with that and with what targets ask of it."""
        from build_rules.compilers.dfc.examination import examine

        return examine(self, requests)

    def checklist(self) -> tuple[str, ...]:
        """Return what nobody without the compiler, and a device, can verify."""
        from build_rules.compilers.dfc.diagnosis import CHECKLIST

        return CHECKLIST
