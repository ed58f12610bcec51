"""What each stage asks the DFC to do, and what came of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from build_rules.alls.script import Script, format_script, parse_script
from build_rules.compilers.begin_at import begin_at
from build_rules.compilers.dfc.calibration_array import write_array
from build_rules.compilers.dfc.failures import Hints, explain
from build_rules.compilers.dfc.launch import Done, Work, WorkerFailure, run_worker
from build_rules.compilers.dfc.log_facts import Asked, read_log, report
from build_rules.compilers.dfc.log_progress import Follower
from build_rules.compilers.dfc.outside import check_same
from build_rules.compilers.har_file import outline_har, output_layers
from build_rules.compilers.protocol import CompileJob, OptimizeJob, ParseJob, Surroundings
from build_rules.compilers.samples import Samples
from build_rules.errors import InputError
from build_rules.records.stage_report import StageReport

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from build_rules.compilers.dfc import Dfc

__all__ = ["compile_har", "optimize", "parse", "run_float", "simulate"]

HOUR = 3600.0
PIXEL_COMMANDS = ("normalization", "input_conversion")
"""What the model script does to pixels, before the first layer."""
BATCH = 8


def parse(dfc: Dfc, job: ParseJob) -> StageReport:
    """Translate a cut graph. Raises `InputError` when the DFC refuses it."""
    with _folder(job.output) as folder:
        onnx, name, shape = _begun(job, folder)
        settings: dict[str, Any] = {
            "net_name": job.net_name,
            "hw_arch": job.hw_arch,
            "end_nodes": list(job.end_nodes),
            "input_shapes": {name: list(shape)},
        }
        work = Work("parse", settings, {"onnx": onnx}, {"har": job.output})
        done = _do(dfc, work, job.around, "parse", Hints(endpoints=job.end_nodes))
    return report(read_log(done.log), Asked())


def _begun(job: ParseJob, folder: Path) -> tuple[Path, str, tuple[int, ...]]:
    """Return the graph that the DFC reads, the name of its input and its shape; without the front, if there is one."""
    import onnx

    path, model = job.onnx, onnx.load(str(job.onnx), load_external_data=job.start is not None)
    if job.start is not None:
        model, path = begin_at(model, job.start), folder / "begun.onnx"
        onnx.save(model, str(path))
    stored = {value.name for value in model.graph.initializer}
    source = next(value for value in model.graph.input if value.name not in stored)
    return path, source.name, tuple(dim.dim_value for dim in source.type.tensor_type.shape.dim)


def optimize(dfc: Dfc, job: OptimizeJob) -> StageReport:
    """Quantize a parsed network. Raises `InputError` when the snapshot does not fit, or the DFC refuses."""
    script = _read_script(job.script)
    tensor, shape = _input(job.har)
    count = Samples(job.calibration, tensor, shape).count
    asked = _asked(script, count, job)
    with _folder(job.output) as folder:
        array = folder / "calibration.npy"
        write_array(job.calibration, tensor, shape, asked.images or count, array)
        inputs = {"har": job.har, "script": job.script, "calibration": array}
        work = Work("optimize", {}, inputs, {"har": job.output})
        done = _do(dfc, work, job.around, "optimize", Hints(script=job.script, har=job.har))
    return report(read_log(done.log), asked)


def _asked(script: Script, count: int, job: OptimizeJob) -> Asked:
    """Return what a script asks of the optimization. Raises `InputError` when that is more images than there are."""
    asked = Asked()
    for statement in script.statements:
        options = dict(statement.keywords)
        for key in ("calibset_size", "dataset_size"):
            size = options.get(key)
            if isinstance(size, int) and size > count:
                raise InputError(
                    f"{job.script}, line {statement.line}: {key}={size}, but the snapshot holds {count} images; "
                    "calibrate with more images, or ask for fewer."
                )
            if isinstance(size, int):
                asked = replace(asked, images=max(asked.images or 0, size))
        level = options.get("optimization_level")
        if statement.command == "model_optimization_flavor" and isinstance(level, int):
            asked = replace(asked, level=level)
    return asked


def run_float(dfc: Dfc, job: OptimizeJob, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
    """Return what the float network makes of one sample (C, H, W), in the order of the end nodes, as ONNX has it."""
    pixels = tuple(each for each in _read_script(job.script).statements if each.command in PIXEL_COMMANDS)
    outputs = output_layers(outline_har(job.har)[0].hn)
    with _folder(job.output) as folder:
        script = folder / "pixels.alls"
        script.write_text(format_script(Script(pixels)), encoding="utf-8")
        around = Surroundings(job.around.progress, None, job.around.kept)
        samples = np.ascontiguousarray(image.transpose(1, 2, 0)[None])
        values = _simulate(dfc, {"har": job.har, "script": script}, "fp_optimized", samples, folder, around)
    return tuple(_as_onnx(values[output.producer]) for output in outputs)


def _as_onnx(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2)) if values.ndim == 4 else values


def simulate(dfc: Dfc, har: Path, samples: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
    """Run the quantized network of a HAR on samples [N, H, W, C]; real values by stream name."""
    with tempfile.TemporaryDirectory() as folder:
        return _simulate(dfc, {"har": har}, "quantized", samples, Path(folder), Surroundings())


def _simulate(
    dfc: Dfc, inputs: Mapping[str, Path], context: str, samples: NDArray[np.uint8], folder: Path, around: Surroundings
) -> Mapping[str, NDArray[np.float32]]:
    array, arrays = folder / "samples.npy", folder / "arrays.npz"
    np.save(array, samples)
    work = Work(
        "simulate",
        {"context": context, "batch_size": min(BATCH, len(samples))},
        {**inputs, "samples": array},
        {"arrays": arrays},
    )
    _do(dfc, work, around, "simulate", Hints(har=inputs["har"], script=inputs.get("script")))
    with np.load(arrays, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def compile_har(dfc: Dfc, job: CompileJob) -> StageReport:
    """Compile a quantized network. Raises `InputError` when the DFC finds no way to."""
    inputs = {"har": job.har}
    if job.script is not None:
        inputs["script"] = job.script
    work = Work("compile", {}, inputs, {"hef": job.output})
    done = _do(dfc, work, job.around, "compile", Hints(har=job.har, script=job.script))
    return report(read_log(done.log), Asked())


def _do(dfc: Dfc, work: Work, around: Surroundings, stage: str, hints: Hints) -> Done:
    """Have a piece of work done. Raises `InputError` in our own words when it fails."""
    follower = Follower()

    def follow(line: str) -> None:
        if (text := follower.feed(line)) is not None:
            around.progress(text)

    work = replace(work, log=around.log, kept=around.kept, limit=dfc.time_limit * HOUR)
    try:
        done = run_worker(dfc, work, follow)
    except WorkerFailure as failure:
        raise explain(failure, stage, hints) from failure
    check_same(dfc, dict(dfc.found), done)
    return done


def _input(har: Path) -> tuple[str, tuple[int, ...]]:
    """Return the name of a network's input in the ONNX graph, and its shape, [1, H, W, C]."""
    layers = outline_har(har)[0].hn["layers"]
    source = next(layer for layer in layers.values() if layer["type"] == "input_layer")
    return str(source["original_names"][0]), (1, *source["output_shapes"][0][1:])


def _read_script(path: Path) -> Script:
    return parse_script(path.read_text(encoding="utf-8"), str(path))


@contextmanager
def _folder(output: Path) -> Iterator[Path]:
    """Make a folder beside a draft, on the disk that has the room, and remove it again."""
    with tempfile.TemporaryDirectory(prefix=".dfc-", dir=output.parent) as folder:
        yield Path(folder)
