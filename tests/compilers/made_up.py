"""A second compiler, as somebody would add one: the emulator's stages, with settings, code and folders of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from build_rules.compilers.emulator import Emulator
from build_rules.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    from build_rules.toml_table import Table

__all__ = ["MadeUp"]


@dataclass(frozen=True)
class MadeUp:
    """`python` only says how it is run, and whether it is there; `level` decides what `optimize` makes."""

    python: str = "python3"
    level: int = 1

    name: ClassVar[str] = "made_up"
    is_emulated: ClassVar[bool] = True
    starts_programs: ClassVar[bool] = True
    looks_outside: ClassVar[bool] = False
    float_tolerance: ClassVar[float] = 0.001
    measures_noise: ClassVar[bool] = True
    keeps_logs: ClassVar[bool] = False
    judges_by_objects: ClassVar[bool] = False
    collects_statistics: ClassVar[bool] = False
    suffix: ClassVar[str] = "-made_up"

    @classmethod
    def is_maker(cls, sdk_version: str) -> bool:
        return sdk_version == "9.9.9"

    def override(self, table: Table) -> MadeUp:
        return replace(self, python=table.text("python") or self.python, level=table.integer("level", self.level, 0, 4))

    def find_out(self, remembered: Mapping[str, str] | None) -> Finding:
        raise NotImplementedError

    def informed(self, facts: Mapping[str, str]) -> MadeUp:
        raise NotImplementedError

    def needs(self, stage: Stage) -> tuple[tuple[str, int], ...]:
        return ()

    def code(self, stage: Stage) -> tuple[str, ...]:
        return (__file__,)

    def tools(self, stage: Stage) -> dict[str, str]:
        if stage == "optimize" and self.level == 0:
            raise InputError("[made_up]: level = 0 wants made_up 10; install it, or write another level.")
        level = {"made_up.level": str(self.level)} if stage == "optimize" else {}
        return {"compiler": self.version(), **level}

    def version(self) -> str:
        if self.python == "gone":
            raise InputError("[made_up]: python = 'gone' is not there; install it, or name another one.")
        return "made_up 9.9.9"

    def parse(self, job: ParseJob) -> StageReport:
        print(f"   parse by {self}")
        return Emulator().parse(job)

    def collect(self, job: StatisticsJob) -> None:
        raise NotImplementedError

    def optimize(self, job: OptimizeJob) -> StageReport:
        print(f"   optimize by {self}")
        return Emulator().optimize(job)

    def run_float(self, job: OptimizeJob, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        return Emulator().run_float(job, image)

    def compile(self, job: CompileJob) -> StageReport:
        print(f"   compile by {self}")
        return Emulator().compile(job)

    def read_back(self, stage: Stage, did: StageReport, log: str, script: str) -> StageReport:
        return did

    def reading_code(self) -> tuple[str, ...]:
        return ()

    def simulate(self, har: Path, samples: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        return Emulator().simulate(har, samples)

    def layer_noise(self, job: NoiseJob) -> tuple[LayerNoise, ...]:
        return Emulator().layer_noise(job)

    def noise_code(self) -> tuple[str, ...]:
        return ()

    def describe(self, har: Path) -> HarDescription:
        return Emulator().describe(har)

    def open(self, path: Path) -> RunnableNetwork:
        return Emulator().open(path)

    def diagnose(self, requests: tuple[TargetRequest, ...]) -> tuple[Diagnosis, ...]:
        return Emulator().diagnose(requests)

    def checklist(self) -> tuple[str, ...]:
        return ()
