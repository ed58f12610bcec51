"""The emulator: an honest stand-in for the Hailo compiler that runs everywhere.

It really quantizes the cut graph as the model script says and really runs it on the host; what it writes says in its
version that it is emulated, and runs on no device. One file per question, in the order in which a network passes them:

========================  ===========================================================================
parse                     split.onnx -> parsed.har
`graph.py`                which nodes hang on the image, which are constant, what shape has each tensor?
`operators.py`            for which operators has a chip a layer, and under which conditions?
`fuse.py`                 which nodes become one layer, and what is it called?
`sizes.py`                is it larger than any network that is known of the chip?
`parse_onnx.py`           all of these: the layers as the vendor's HN lists them, and the weights
statistics                parsed.har, snapshot -> statistics.npz, which all presets share
`observe.py`, `finite.py` which values does each tensor take on the samples? where does one cease to be a number?
`observing_graph.py`      how does a network give a few numbers of its tensors instead of the tensors?
`equalize.py`             which channels between two layers are brought to one scale before that?
`collect.py`              all of these: what was observed, as a file
optimize                  parsed.har, model.alls, snapshot, statistics.npz -> model.har
`fold.py`                 which constants and batch normalizations become plain numbers?
`fresh_names.py`          how is what will be added called, so that no tensor of the user's has that name?
`network.py`              the network to be quantized: layers, delivered tensors, the way from pixels to its input
`script_settings.py`      what does the model script ask of these layers?
`modify.py`               which of that changes the HN: the normalization, and the activations that are folded
`ranges.py`               which range of what was observed does a grid cover?
`quantization_plan.py`    which tensors share a grid, in how many bits; the plan that all of it ends in
`kernels.py`              how is a kernel rounded, and what does its bias make up for?
`qdq.py`                  the float and the quantized network as ONNX graphs; a folded activation stands here
`biases.py`               what of a bias does an accumulator of 32 bits hold?
`finetune.py`             which of what the next four find is kept?
`score_cells.py`          where in an output are the objects, as the float network sees it?
`judging.py`              is a network better than another, on samples that had no part in making it?
`range_search.py`         which range of each tensor harms the outputs least? (`beyond.py`: what lies beyond a tensor)
`refit.py`                how are kernels refitted to what the quantized network feeds them?
`optimize.py`             all of these: `optimize`, and `run_float`, by which the pixels are proven
compile                   model.har -> model.hef
`payload.py`              how does a HEF carry a network?
`placement.py`            what does the script of the compile stage ask for?
`compile.py`              its streams, as the quantized network has them, and the network itself
run                       model.hef or model.har, an image -> physical outputs
`runnable.py`             may a network of unknown origin be opened, and run within bounds?
`run_hef.py`              all of it: `HostSession`
layer noise               parsed.har, model.alls, a few samples -> what each layer costs
`object_cells.py`         how much does each cell of an output count?
`suffix_model.py`         what is computed behind one layer?
`measure_noise.py`        all of it: the noise that each layer makes alone
of all                    `har_members.py` (what is kept in a HAR), `stored.py` (an ONNX inside a file),
                          `sessions.py` (the same bits on every machine, however many threads)
========================  ===========================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from build_rules.versions import EMULATED, is_emulated, library_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from build_rules.compilers.describe_har import HarDescription
    from build_rules.compilers.emulator.run_hef import HostSession
    from build_rules.compilers.layer_noise import LayerNoise
    from build_rules.compilers.protocol import (
        CompileJob,
        Diagnosis,
        Finding,
        NoiseJob,
        OptimizeJob,
        ParseJob,
        Stage,
        StatisticsJob,
        TargetRequest,
    )
    from build_rules.records.stage_report import StageReport
    from build_rules.toml_table import Table

__all__ = ["EMULATOR_VERSION", "SDK_VERSION", "Emulator"]

EMULATOR_VERSION = "0.1.0"
SDK_VERSION = EMULATOR_VERSION + EMULATED
"""What HAR and HEF carry as their SDK version."""


def _own(*modules: str) -> tuple[str, ...]:
    return tuple(f"compilers/emulator/{module}.py" for module in modules)


SHARED = (
    *_own("__init__", "fuse", "graph", "har_members", "operators", "sessions"),
    *("compilers/archive.py", "compilers/har_file.py", "compilers/in_order.py", "compilers/protocol.py"),
    *("errors.py", "inference.py", "records/stage_report.py", "regular_file.py", "versions.py"),
)
ALLS = (
    "alls/check.py",
    "alls/commands.py",
    "alls/layers.py",
    "alls/script.py",
    "alls/values.py",
    "alls/wide_layers.py",
    "alls/wide_lines.py",
)
OBSERVED = (
    "compilers/samples.py",
    "calibration/snapshot/safetensors_file.py",
    "onnx_file/extent.py",
    "varint.py",
)
OBJECTS = (
    *("objects/agreement.py", "objects/average_precision.py", "objects/decode_scale.py", "objects/formulas.py"),
    *("objects/found.py", "objects/match_objects.py", "objects/measure_agreement.py", "objects/read_objects.py"),
    *("objects/suppress.py", "records/normalization.py", "records/roles.py"),
    *("records/split_hint.py", "records/split_json.py"),
)
CODE: dict[Stage, tuple[str, ...]] = {
    "parse": (*SHARED, *_own("parse_onnx", "sizes"), "compilers/begin_at.py", "records/hardware.py"),
    "statistics": (
        *(place for place in SHARED if place != "records/stage_report.py"),
        *_own("collect", "equalize", "finite", "fold", "fresh_names", "network", "observe", "observing_graph"),
        *_own("qdq", "quantization_plan", "script_settings", "stored"),
        *ALLS,
        *OBSERVED,
    ),
    "optimize": (
        *SHARED,
        *_own("beyond", "biases", "collect", "judging", "observe", "range_search", "refit", "score_cells"),
        *_own("equalize", "observing_graph"),
        *_own("finetune", "finite", "fold", "fresh_names", "kernels", "modify", "network", "optimize", "qdq"),
        *_own("quantization_plan", "ranges", "runnable", "script_settings", "stored"),
        *ALLS,
        *OBSERVED,
        *OBJECTS,
    ),
    "compile": (
        *SHARED,
        *_own("compile", "fold", "fresh_names", "network", "payload", "placement", "script_settings", "stored"),
        *ALLS,
        *("hef/container.py", "hef/directory.py", "hef/header.py"),
        *("hef/schema.py", "hef/streams.py", "hef/writer.py"),
        *("onnx_file/extent.py", "protobuf.py", "records/hardware.py", "varint.py"),
    ),
}
NOISE = (
    *CODE["optimize"],
    *_own("measure_noise", "object_cells", "payload", "run_hef", "suffix_model"),
    *("compilers/describe_har.py", "compilers/layer_noise.py", "compilers/npz_numbers.py"),
    *("hef/container.py", "hef/directory.py", "hef/features.py", "hef/header.py", "hef/host_work.py"),
    *("hef/parsable.py", "hef/reader.py", "hef/refusals.py", "hef/schema.py", "hef/streams.py", "protobuf.py"),
    *("objects/decode_scale.py", "objects/formulas.py", "objects/found.py", "objects/read_objects.py"),
    *("objects/suppress.py", "records/hardware.py", "records/normalization.py", "records/roles.py"),
    *("records/split_hint.py", "records/split_json.py"),
)
"""What measures the noise of layers, and tries sets of them: it quantizes and runs, too."""


TOLD = 4
"""Of what a script asks for and is not done, by the line of a step; `doit inspect` and the metadata have all of it."""


def _left_out(asked: Sequence[str]) -> dict[str, list[str]]:
    """Return the facts about what a script asks for and has no counterpart here, having told them in a short line."""
    if not asked:
        return {}
    # `command(feature)`: the feature says enough.
    names = [each.partition("(")[2].replace(")", "", 1) or each for each in asked]
    more = f", and {len(names) - TOLD} more (doit inspect tells)" if len(names) > TOLD else ""
    print(f"   accepted, not emulated: {', '.join(names[:TOLD])}{more}")
    return {"not_emulated": list(asked)}


@dataclass(frozen=True)
class Emulator:
    """The `Compiler` protocol, in this process; it has no settings."""

    name: ClassVar[str] = "emulator"
    is_emulated: ClassVar[bool] = True
    starts_programs: ClassVar[bool] = False
    looks_outside: ClassVar[bool] = False
    float_tolerance: ClassVar[float] = 0.001
    measures_noise: ClassVar[bool] = True
    keeps_logs: ClassVar[bool] = False
    judges_by_objects: ClassVar[bool] = True
    collects_statistics: ClassVar[bool] = True
    suffix: ClassVar[str] = ""

    @classmethod
    def is_maker(cls, sdk_version: str) -> bool:
        """Say whether a file is one of its own: any that says it is emulated, and of no other compiler."""
        return is_emulated(sdk_version) and "-" not in sdk_version.removesuffix(EMULATED)

    def override(self, table: Table) -> Emulator:
        """Return itself, whatever a table says."""
        return self

    def find_out(self, remembered: Mapping[str, str] | None) -> Finding:
        """Find nothing out: everything is here."""
        from build_rules.compilers.protocol import Finding

        return Finding()

    def informed(self, facts: Mapping[str, str]) -> Emulator:
        """Return itself."""
        return self

    def needs(self, stage: Stage) -> tuple[tuple[str, int], ...]:
        """Take nothing that settings count."""
        return ()

    def code(self, stage: Stage) -> tuple[str, ...]:
        """Return the modules that a stage is made of; what only runs the result is in none."""
        return CODE[stage]

    def tools(self, stage: Stage) -> dict[str, str]:
        """Return the versions that every stage depends on."""
        return {"compiler": self.version()}

    def version(self) -> str:
        """Return e.g. `emulator 0.1.0 (onnxruntime 1.32.0)`; the runtime computes the calibration, so it counts."""
        return f"{self.name} {EMULATOR_VERSION} (onnxruntime {library_version('onnxruntime')})"

    def parse(self, job: ParseJob) -> StageReport:
        """Translate the cut ONNX graph into a HAR of state `hailo_model`."""
        from build_rules.compilers.emulator.parse_onnx import parse
        from build_rules.compilers.emulator.sizes import tell_sizes
        from build_rules.compilers.har_file import write_har
        from build_rules.records.stage_report import StageReport

        har = parse(job, SDK_VERSION)
        write_har(job.output, har)
        return StageReport({}, tell_sizes(har.hn, job.hw_arch))

    def collect(self, job: StatisticsJob) -> None:
        """Observe the float network on every sample of the snapshot."""
        from build_rules.compilers.emulator.collect import collect

        job.output.write_bytes(collect(job))

    def optimize(self, job: OptimizeJob) -> StageReport:
        """Quantize as the model script says, into a HAR of state `quantized_model`."""
        from build_rules.compilers.emulator.optimize import optimize
        from build_rules.compilers.har_file import write_har
        from build_rules.records.stage_report import StageReport

        har = optimize(job)
        write_har(job.output, har)
        done = har.document(".modifications_meta_data.json")
        told = {name: done[name] for name in done if name.startswith(("finetune_", "biases_"))}
        return StageReport({**_left_out(done["not_emulated"]), **told})

    def run_float(self, job: OptimizeJob, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Return the end nodes' tensors of the float network for one sample (C, H, W)."""
        from build_rules.compilers.emulator.optimize import run_float

        return run_float(job, image)

    def compile(self, job: CompileJob) -> StageReport:
        """Write the emulated executable."""
        from build_rules.compilers.emulator.compile import compile_har
        from build_rules.records.stage_report import StageReport

        compiled = compile_har(job)
        job.output.write_bytes(compiled.hef)
        return StageReport(_left_out(compiled.not_emulated))

    def read_back(self, stage: Stage, did: StageReport, log: str, script: str) -> StageReport:
        """Return what the stage says itself; it keeps no log."""
        return did

    def reading_code(self) -> tuple[str, ...]:
        """Return nothing: nothing is read."""
        return ()

    def simulate(self, har: Path, samples: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        """Run the quantized network of a HAR; real values by stream name, [N, H, W, C]."""
        from build_rules.compilers.emulator.run_hef import simulate

        return simulate(har, samples)

    def layer_noise(self, job: NoiseJob) -> tuple[LayerNoise, ...]:
        """Measure what each layer costs alone, loudest first."""
        from build_rules.compilers.emulator.measure_noise import layer_noise

        return layer_noise(job)

    def noise_code(self) -> tuple[str, ...]:
        """Return the modules by which noise is measured, and sets are tried."""
        return NOISE

    def describe(self, har: Path) -> HarDescription:
        """Say what is in a HAR."""
        from build_rules.compilers.describe_har import describe

        return describe(har)

    def open(self, path: Path) -> HostSession:
        """Open a HEF or a quantized HAR to be run on this machine."""
        from build_rules.compilers.emulator.run_hef import HostSession

        return HostSession(path)

    def diagnose(self, requests: tuple[TargetRequest, ...]) -> tuple[Diagnosis, ...]:
        """Say that it works here, and that its files run nowhere else."""
        from build_rules.compilers.protocol import Diagnosis

        return (
            Diagnosis(
                "emulator",
                "ok",
                f"{self.version()} works on this machine; what it makes runs on no device.",
                "For a file that does: download Hailo's Dataflow Compiler, then `doit doctor --install-dfc WHEEL` "
                "(docs/dfc.md).",
            ),
        )

    def checklist(self) -> tuple[str, ...]:
        """Return nothing: whatever it does, this machine can show."""
        return ()
