"""What each stage before the compile asks the DFC to do, and what came of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from build_rules.alls.script import Script, format_script, parse_script, without_comments
from build_rules.compilers.begin_at import begin_at
from build_rules.compilers.dfc.asked import Asked, read_asked
from build_rules.compilers.dfc.calibration_array import write_array
from build_rules.compilers.dfc.dfc_failures import Hints
from build_rules.compilers.dfc.examination import check_before
from build_rules.compilers.dfc.launch import Work
from build_rules.compilers.dfc.layer_origins import layer_origins
from build_rules.compilers.dfc.simulated_arrays import read_simulated
from build_rules.compilers.dfc.work_done import do_work
from build_rules.compilers.har_file import Har, outline_har, output_layers
from build_rules.compilers.protocol import QUIET, OptimizeJob, ParseJob, Surroundings, TargetRequest
from build_rules.compilers.samples import Samples
from build_rules.errors import InputError
from build_rules.records.stage_report import StageReport
from build_rules.regular_file import SCRIPT_BYTES, read_small

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from build_rules.compilers.dfc import Dfc

__all__ = ["bare_script", "hints_of", "optimize", "parse", "read_script", "run_float", "simulate"]

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
        work = Work("parse", settings, {"onnx": onnx}, {"har": job.output}, job.around.log, job.around.kept)
        do_work(dfc, work, job.around.progress, Hints(job.net_name, job.hw_arch))
    return StageReport()


def _begun(job: ParseJob, folder: Path) -> tuple[Path, str, tuple[int, ...]]:
    """Return the graph that the DFC reads, the name of its input and its shape; without the front, if there is one."""
    import onnx

    path, model = job.onnx, onnx.load(str(job.onnx), load_external_data=False)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise InputError(
            f"{job.onnx}: has more than 2 GiB of weights, which lie in a file beside it. No Hailo device takes such a "
            "network, and only the file itself is handed to the Dataflow Compiler; build a smaller one."
        )
    if job.start is not None:
        model, path = begin_at(model, job.start), folder / "begun.onnx"
        onnx.save(model, str(path))
    stored = {value.name for value in model.graph.initializer}
    source = next(value for value in model.graph.input if value.name not in stored)
    return path, source.name, tuple(dim.dim_value for dim in source.type.tensor_type.shape.dim)


def optimize(dfc: Dfc, job: OptimizeJob) -> StageReport:
    """Quantize a parsed network. Raises `InputError` when the snapshot does not fit, or the DFC refuses."""
    har = outline_har(job.har)[0]
    script = read_script(job.script)
    tensor, shape = _input(har)
    asked, count = read_asked(script), Samples(job.calibration, tensor, shape).count
    wanted = _images(asked, count, job)
    pixels = wanted * prod(shape)
    request = TargetRequest(har.name, har.hw_arch or "", asked.level or 0, count, asked.finetune_images or 0)
    check_before(dfc, request, pixels >> 20, job.around.warn)
    with _folder(job.output) as folder:
        array = folder / "calibration.npy"
        job.around.progress(f"{wanted} calibration images are handed over")
        write_array(job.calibration, tensor, shape, wanted, array)
        inputs = {"har": job.har, "script": bare_script(script, job.script, folder), "calibration": array}
        work = Work("optimize", {}, inputs, {"har": job.output}, job.around.log, job.around.kept)
        do_work(dfc, work, job.around.progress, hints_of(har, job.around, job.script, script))
    return StageReport()


def _images(asked: Asked, count: int, job: OptimizeJob) -> int:
    """Return how many images are handed over. Raises `InputError` when the script asks for more than there are."""
    if asked.most_images is None:
        return count
    if asked.most_images > count:
        raise InputError(
            f"{job.script}, line {asked.most_images_line}: asks for {asked.most_images} images, the snapshot holds "
            f"{count}; calibrate with more images, or ask for fewer in the lines of your own ([alls] in model.toml)."
        )
    return asked.most_images


def run_float(dfc: Dfc, job: OptimizeJob, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
    """Return what the float network makes of one sample (C, H, W), in the order of the end nodes, as ONNX has it."""
    har, text = outline_har(job.har)[0], read_script(job.script)
    pixels = tuple(each for each in parse_script(text, str(job.script)).statements if each.command in PIXEL_COMMANDS)
    with _folder(job.output) as folder:
        script = bare_script(format_script(Script(pixels)), job.script, folder)
        samples = np.ascontiguousarray(image.transpose(1, 2, 0)[None])
        inputs = {"har": job.har, "script": script}
        around = replace(job.around, log=None)
        hints = hints_of(har, around, job.script, text)
        outputs = output_layers(har.hn)
        values = read_simulated(_simulate(dfc, inputs, "fp_optimized", samples, folder, around, hints), outputs, 1)
    return tuple(_as_onnx(values[output.producer]) for output in outputs)


def _as_onnx(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2)) if values.ndim == 4 else values


def simulate(dfc: Dfc, har: Path, samples: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
    """Run the quantized network of a HAR on samples [N, H, W, C]; real values by stream name."""
    outline = outline_har(har)[0]
    if outline.state not in ("quantized_model", "compiled_model"):
        raise InputError(
            f"{har}: is a {outline.state}, in which nothing is quantized yet; run the model.har of a target."
        )
    with tempfile.TemporaryDirectory() as folder:
        hints = hints_of(outline, QUIET)
        arrays = _simulate(dfc, {"har": har}, "quantized", samples, Path(folder), QUIET, hints)
        return read_simulated(arrays, output_layers(outline.hn), len(samples))


def _simulate(
    dfc: Dfc,
    inputs: Mapping[str, Path],
    context: str,
    samples: NDArray[np.uint8],
    folder: Path,
    around: Surroundings,
    hints: Hints,
) -> Path:
    array, arrays = folder / "samples.npy", folder / "arrays.npz"
    np.save(array, samples)
    settings = {"context": context, "batch_size": min(BATCH, len(samples))}
    work = Work("simulate", settings, {**inputs, "samples": array}, {"arrays": arrays}, None, around.kept)
    do_work(dfc, work, around.progress, hints)
    return arrays


def hints_of(har: Har, around: Surroundings, script: Path | None = None, text: str = "") -> Hints:
    """Return what an error of a stage may tell of the network that it works on."""
    name = "" if script is None else str(script)
    return Hints(har.name, har.hw_arch or "", around.preset, name, text, origins=layer_origins(har.hn))


def bare_script(text: str, source: Path | None, folder: Path) -> Path:
    """Write a script as it is handed over, without the comments, of which no public document of the DFC speaks."""
    bare = folder / "script.alls"
    bare.write_text(format_script(without_comments(parse_script(text, str(source)))), encoding="utf-8")
    return bare


def read_script(path: Path) -> str:
    """Return the text of a model script."""
    return read_small(path, SCRIPT_BYTES, "a model script").decode("utf-8")


def _input(har: Har) -> tuple[str, tuple[int, ...]]:
    """Return the name of a network's input in the ONNX graph, and its shape, [1, H, W, C]."""
    try:
        source = next(layer for layer in har.hn["layers"].values() if layer["type"] == "input_layer")
        return str(source["original_names"][0]), (1, *map(int, source["output_shapes"][0][1:]))
    except (StopIteration, KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"the HAR of {har.name!r}: its HN has no input layer as it should be ({error!r}).") from error


@contextmanager
def _folder(output: Path) -> Iterator[Path]:
    """Make a folder beside a draft, on the disk that has the room, and remove it again."""
    with tempfile.TemporaryDirectory(prefix=".dfc-", dir=output.parent) as folder:
        yield Path(folder)
