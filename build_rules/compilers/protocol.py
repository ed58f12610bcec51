"""What every compiler offers: three stages, each of which writes one file, and how it is described without running it.

`parse -> optimize -> compile`; each method writes exactly the files its job names and nothing beside them, raises
`InputError` for wrong input, and returns what it did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from build_rules.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from build_rules.compilers.describe_har import HarDescription
    from build_rules.compilers.layer_noise import LayerNoise
    from build_rules.records.stage_report import StageReport
    from build_rules.toml_table import Table

__all__ = [
    "ALLOCATION_REUSED",
    "QUIET",
    "CompileJob",
    "Compiler",
    "Diagnosis",
    "Finding",
    "NoiseJob",
    "OptimizeJob",
    "ParseJob",
    "RunnableNetwork",
    "SampleError",
    "Stage",
    "StatisticsJob",
    "Surroundings",
    "TargetRequest",
]

Stage = Literal["parse", "statistics", "optimize", "compile"]
"""`statistics` is a stage of those compilers alone that collect them."""


class SampleError(InputError):
    """Wrong input that one calibration sample has brought to light: `sample` is its row in the snapshot."""

    def __init__(self, message: str, sample: int) -> None:
        super().__init__(message)
        self.sample = sample


def _silent(text: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Surroundings:
    """Whom a stage tells how far it is, and where it leaves what is no output.

    `warn` is for what is so on this machine and at this moment; what is true of the output belongs into the report.
    `log` is the file for what the compiler logs, one text; `kept` a folder that is made only when the stage fails, for
    everything that helps to see why. None: neither is wanted. `preset` is the name of the preset, where there is one,
    which only errors tell of.
    """

    progress: Callable[[str], None] = _silent
    warn: Callable[[str], None] = _silent
    log: Path | None = None
    kept: Path | None = None
    preset: str = ""


QUIET = Surroundings()
ALLOCATION_REUSED = "allocation_reused"


@dataclass(frozen=True)
class Finding:
    """What a compiler found out about programs outside: `facts` in words, and the `files` by which that is known again.

    While the marks of these files stay the same, the facts do. Without any file they are asked for again by every build
    that has something to do, and where they do not `last`, because that is cheap, by every other one, too.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    last: bool = True


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
    around: Surroundings = QUIET


@dataclass(frozen=True)
class StatisticsJob:
    """Parsed HAR + calibration snapshot -> what the network does on all samples, for every preset that is to come.

    `mean` and `std`, per channel in pixel units, are what a model script's normalization will say.
    """

    har: Path
    calibration: Path
    mean: tuple[float, ...]
    std: tuple[float, ...]
    output: Path
    around: Surroundings = QUIET


@dataclass(frozen=True)
class OptimizeJob:
    """Parsed HAR + model script + calibration snapshot (safetensors, uint8 NCHW) -> quantized HAR.

    `statistics` is what `collect` has written for the same HAR and snapshot, None where nothing was collected.
    `endpoints` is the `endpoints.json` of the cut (in the form of `split.json`): it decides no number, only by which
    objects results are judged.
    """

    har: Path
    script: Path
    calibration: Path
    output: Path
    around: Surroundings = QUIET
    statistics: Path | None = None
    endpoints: Path | None = None


@dataclass(frozen=True)
class NoiseJob:
    """Parsed HAR + model script + calibration snapshot -> what each layer costs, measured on `samples` (rows of it).

    `endpoints` is the `endpoints.json` of the cut, by which cells that hold objects are told; None counts all cells
    alike. `statistics` as for `OptimizeJob`.
    """

    har: Path
    script: Path
    calibration: Path
    samples: tuple[int, ...]
    endpoints: Path | None = None
    around: Surroundings = QUIET
    statistics: Path | None = None


@dataclass(frozen=True)
class CompileJob:
    """Quantized HAR + the lines of the model script that are about compiling alone -> HEF.

    `allocation` is the placement of layers that the last success found, which need not exist; a compile that begins
    with it says so by the fact `ALLOCATION_REUSED` of its report, and one that finds another leaves it in
    `new_allocation`.
    """

    har: Path
    output: Path
    script: Path | None = None
    allocation: Path | None = None
    new_allocation: Path | None = None
    around: Surroundings = QUIET


@dataclass(frozen=True)
class TargetRequest:
    """What one target of a model asks of a compiler, for `diagnose`.

    `name` is what the user calls it (`shapes-det:hailo8l-fast`), `level` the optimization level of its preset. `images`
    counts those that it is calibrated on, None where that is not known yet; `finetune` how many of them the fine-tune
    asks for, 0 without one.
    """

    name: str
    hw_arch: str
    level: int
    images: int | None = None
    finetune: int = 0


@dataclass(frozen=True)
class Diagnosis:
    """What one check found: of what (`subject`, one or two words), and, in sentences, what is so and what to do.

    `unknown` is what cannot be told from outside. An `error` is what no stage can work with; what works worse or slower
    than it could is a `warning`. `advice` is empty where there is nothing to do.
    """

    subject: str
    state: Literal["ok", "warning", "error", "unknown"]
    text: str
    advice: str = ""


class RunnableNetwork(Protocol):
    """A compiled or quantized network that runs on this machine; `input_shape` is [1, H, W, C]."""

    input_shape: tuple[int, ...]

    def run(self, image: NDArray[np.uint8]) -> Mapping[str, NDArray[np.uint8] | NDArray[np.uint16]]:
        """Return the physical outputs of one image (uint8 [H, W, C]), [1, H, W, C] each, by stream name."""
        ...


class Compiler(Protocol):
    """A compiler with its settings: a frozen dataclass whose fields are the keys of its own table, with defaults.

    Importing its module and asking what it is must load nothing heavy; a stage imports what it needs when it is run.
    It is handed to the stages' steps, which may run in another process, so it can be pickled.
    """

    name: ClassVar[str]
    """What `compiler = ` says, and what its table is called: `[tool.build_rules.NAME]`, `[NAME]` in a model.toml."""
    is_emulated: ClassVar[bool]
    """Whether what it makes runs on no device. A HEF or HAR says so by the end of its SDK version (`versions.py`)."""
    starts_programs: ClassVar[bool]
    """Whether it works by starting other programs, which then have to be ended when a build is."""
    looks_outside: ClassVar[bool]
    """Whether it has to find out about programs outside before it can say what a stage's output depends on."""
    float_tolerance: ClassVar[float]
    """How far its float network may be from ONNX Runtime's, as a part of what the values of a tensor deviate."""
    measures_noise: ClassVar[bool]
    """Whether it can tell what each layer costs alone (`layer_noise`)."""
    keeps_logs: ClassVar[bool]
    """Whether each stage leaves a log, an output beside the file that it writes."""
    judges_by_objects: ClassVar[bool]
    """Whether `optimize` looks at decoded objects to judge what it has done, and so depends on what outputs mean."""
    collects_statistics: ClassVar[bool]
    """Whether what the network does on the calibration samples is a file of its own, which all presets share."""
    suffix: ClassVar[str]
    """Ends the names of its tasks and folders (`hef:MODEL:hailo8l-fast-dfc`), so that what two compilers make lies
    apart and switching between them makes nothing again. Only the default compiler has none."""

    def __hash__(self) -> int:
        """Equal settings are one compiler, of which is asked once."""
        ...

    @classmethod
    def is_maker(cls, sdk_version: str) -> bool:
        """Say whether a HEF or HAR that carries this SDK version is one of its own."""
        ...

    def override(self, table: Table) -> Compiler:
        """Return these settings with what a table says put over them. Whoever calls it closes the table."""
        ...

    def find_out(self, remembered: Mapping[str, str] | None) -> Finding:
        """Find out about programs outside; only called where it `looks_outside`. Starts programs.

        `remembered` are the facts that were found last with the same settings, as long as they were not known to be
        out of date. Raises `InputError` when the compiler cannot work here.
        """
        ...

    def informed(self, facts: Mapping[str, str]) -> Compiler:
        """Return itself, knowing what it found out."""
        ...

    def needs(self, stage: Stage) -> tuple[tuple[str, int], ...]:
        """Return what a stage takes of what the settings count: licences, GPUs."""
        ...

    def code(self, stage: Stage) -> tuple[str, ...]:
        """Return the modules and packages of ours that a stage is made of, as `Rule.code` lists them."""
        ...

    def tools(self, stage: Stage) -> dict[str, str]:
        """Return what else a stage's output depends on, in words: versions, and the settings that decide a byte of it.

        A setting that only says how the compiler is run (an interpreter, an image) is left out. Raises `InputError`, as
        `version` does, when it cannot be told, and names the table of the setting: the stage fails with it, and those
        after it wait.
        """
        ...

    def version(self) -> str:
        """Return the compiler's name and version as it is to appear in the metadata."""
        ...

    def parse(self, job: ParseJob) -> StageReport:
        """Translate the cut ONNX graph. This report, and those of the others, say only what no log says."""
        ...

    def collect(self, job: StatisticsJob) -> None:
        """Write what the network does on the calibration samples; only called where it `collects_statistics`."""
        ...

    def optimize(self, job: OptimizeJob) -> StageReport:
        """Quantize as the model script says."""
        ...

    def run_float(self, job: OptimizeJob, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Return what the parsed network, not quantized, makes of pixels through the script's normalization.

        It belongs to the stage `optimize`. `image` is one sample (C, H, W); the tensors come in the order of the end
        nodes, each as the ONNX graph has it, without activations that the script folds.
        """
        ...

    def compile(self, job: CompileJob) -> StageReport:
        """Write the executable."""
        ...

    def read_back(self, stage: Stage, did: StageReport, log: str, script: str) -> StageReport:
        """Return the report of a stage with what its log says of what the model script asks for.

        `did` is what the stage has returned. It is no part of the stage (`read_back.py`).
        """
        ...

    def reading_code(self) -> tuple[str, ...]:
        """Return the modules that `read_back` is made of."""
        ...

    def simulate(self, har: Path, samples: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        """Run the quantized network of a HAR of its own on this side, without a device.

        `samples` is [N, H, W, C], in pixels; the outputs are real values, [N, H, W, C] each, by stream name and in the
        order of the HEF's. Raises `InputError` when nothing in the HAR is quantized, or the samples do not fit.
        """
        ...

    def layer_noise(self, job: NoiseJob) -> tuple[LayerNoise, ...]:
        """Measure what each layer costs alone, loudest first.

        Raises `InputError` for wrong input, and where the compiler `measures_noise` not.
        """
        ...

    def noise_code(self) -> tuple[str, ...]:
        """Return the modules that noise is measured and sets of layers are tried with; none where it cannot measure.

        Those of `layer_noise`, `collect`, `optimize`, `run_float`, `simulate` and `describe`.
        """
        ...

    def describe(self, har: Path) -> HarDescription:
        """Say what is in a HAR of its own, without running it."""
        ...

    def open(self, path: Path) -> RunnableNetwork:
        """Open a HEF of its own to be run. Raises `InputError` when it does not run here."""
        ...

    def diagnose(self, requests: tuple[TargetRequest, ...]) -> tuple[Diagnosis, ...]:
        """Say whether it can do what targets ask of it, where it is installed. May start programs, and raises nothing.

        It reads nothing of the models. The first is about the compiler itself.
        """
        ...

    def checklist(self) -> tuple[str, ...]:
        """Return what only a run of the installation that is configured can show, a sentence each; nothing is run."""
        ...
