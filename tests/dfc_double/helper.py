"""The double's hands: our emulator, in a process of its own with the Python of the tests.

`python helper.py REQUEST.json` reads what to do, writes the files that the request names, and `RESULT.json` beside it:
`{}` or `{"error": {"type": ..., "message": ...}}`, the exception that the double is to raise.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from build_rules.alls.wide_lines import WideLines
from build_rules.compilers.emulator import compile as compile_module
from build_rules.compilers.emulator.har_members import META_MEMBER, QUANTIZED_MEMBER
from build_rules.compilers.emulator.network import Network, load_network
from build_rules.compilers.emulator.optimize import optimize
from build_rules.compilers.emulator.parse_onnx import parse
from build_rules.compilers.emulator.qdq import float_model
from build_rules.compilers.emulator.quantization_plan import Plan
from build_rules.compilers.emulator.script_settings import Settings, read_settings
from build_rules.compilers.emulator.sessions import open_session, run
from build_rules.compilers.har_file import output_layers, read_har, write_har
from build_rules.compilers.protocol import CompileJob, OptimizeJob, ParseJob
from build_rules.errors import InputError
from build_rules.hef.streams import Stream
from build_rules.hef.writer import HefSpec, write_hef
from tests.dfc_double.ends import Refusal, choose_ends, choose_start, explain_operators, give_shapes

Request = Mapping[str, Any]
Floats = npt.NDArray[np.float32]


def main(path: Path) -> None:
    request: Request = json.loads(path.read_text(encoding="utf-8"))
    error: dict[str, str] | None = None
    try:
        ACTIONS[request["action"]](request)
    except Refusal as refusal:
        error = {"type": refusal.kind, "message": str(refusal)}
    except InputError as wrong:
        error = {"type": "RuntimeError", "message": str(wrong)}
    path.with_name("RESULT.json").write_text(json.dumps({"error": error} if error else {}), encoding="utf-8")


def do_parse(request: Request) -> None:
    """ONNX -> HAR of state `hailo_model`."""
    try:
        model = onnx.load(request["onnx"])
    except Exception as error:  # protobuf's own exception class differs between its implementations
        raise Refusal("RuntimeError", f"Failed to load the ONNX model: {error}") from error
    give_shapes(model, request["input_shapes"] or {})
    ends = choose_ends(model.graph, request["end_nodes"])
    start = choose_start(model.graph, request["start_nodes"])
    explain_operators(model.graph, ends)
    source = Path(request["folder"]) / "model.onnx"
    onnx.save(model, str(source))
    job = ParseJob(source, request["net_name"], request["hw_arch"], ends, Path(request["out"]), start)
    try:
        har = parse(job, request["sdk_version"])
    except InputError as error:
        text = str(error).removeprefix(f"{source}: ")
        raise Refusal("UnsupportedModelError", text) from error
    meta = json.loads(har.member(META_MEMBER))
    meta |= {"start_node_names": request["start_nodes"], "inverse_postprocess_io_map": {}}
    for output, end in zip(output_layers(har.hn), ends, strict=True):
        har.hn["layers"][output.output_layer]["original_names"] = [end]
    members = {**har.members, har.name + META_MEMBER: (json.dumps(meta, indent=1) + "\n").encode()}
    write_har(job.output, replace(har, members=members))


def do_optimize(request: Request) -> None:
    """Parsed HAR, the emulated script and a snapshot -> HAR of state `quantized_model`."""
    folder = Path(request["folder"])
    script = folder / "emulated.alls"
    script.write_text(request["script"], encoding="utf-8")
    job = OptimizeJob(Path(request["har"]), script, Path(request["calibration"]), Path(request["out"]))
    # Hailo's compiler quantizes these, and ends hours later, when its allocator is to place them.
    setattr(WideLines, "check", lambda self: None)  # noqa: B010
    write_har(job.output, optimize(job))


def do_compile(request: Request) -> None:
    """Quantized HAR -> HEF, as it is or as the request spoils it."""

    def write(spec: HefSpec, payload: bytes) -> bytes:
        outputs = tuple(_renamed(stream, request) for stream in spec.outputs)
        inputs = tuple(_renamed(stream, request) for stream in spec.inputs)
        kept = outputs[: len(outputs) - int(request["missing_streams"])]
        return write_hef(replace(spec, inputs=inputs, outputs=kept, hw_arch=request["hw_arch"]), payload)

    compile_module.write_hef = write  # type: ignore[attr-defined,assignment]
    compiled = compile_module.compile_har(CompileJob(Path(request["har"]), Path(request["out"])))
    Path(request["out"]).write_bytes(compiled.hef)


def _renamed(stream: Stream, request: Request) -> Stream:
    return replace(stream, name=request["names"].get(stream.name, stream.name))


def do_infer(request: Request) -> None:
    """Run a HAR's network on the rows of an `.npy`; writes one `.npy` [N, ...] of float32 per output, in order."""
    har = read_har(Path(request["har"]))
    network = load_network(har)
    settings = read_settings(request["script"], "the model script", har.hn)
    rows = np.load(request["dataset"], mmap_mode="r")
    runner = RUNNERS[request["context"]](network, settings, har.members.get(har.name + QUANTIZED_MEMBER, b""))
    order = output_layers(har.hn)
    files: list[npt.NDArray[Any]] = []
    for index in range(len(rows)):
        values = runner(np.asarray(rows[index : index + 1], dtype=np.float32))
        for number, output in enumerate(order):
            value = values[output.producer].reshape(output.shape[1:])
            if index == 0:
                path = Path(request["out"]) / f"{number}.npy"
                shape = (len(rows), *value.shape)
                files.append(np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape))
            files[number][index] = value
    for file in files:
        file.flush()  # type: ignore[attr-defined]


Runner = Callable[[Floats], Mapping[str, Floats]]


def _native(network: Network, settings: Settings, quantized: bytes) -> Runner:
    """The network as it was parsed: without the script's normalization and activations."""
    return _float(network, Plan({}, {}, {}, {}, {}, None, None))


def _fp_optimized(network: Network, settings: Settings, quantized: bytes) -> Runner:
    folded = {name: activation for name, activation in settings.folded.items() if activation != "linear"}
    return _float(network, Plan({}, {}, {}, {}, folded, settings.mean, settings.std))


def _float(network: Network, plan: Plan) -> Runner:
    model = float_model(network, plan)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    session = open_session(model)
    return lambda row: run(session, row)


def _quantized(network: Network, settings: Settings, quantized: bytes) -> Runner:
    """The quantized network; what it delivers is brought back to real values by the grids it carries itself."""
    model = onnx.ModelProto.FromString(quantized)
    session = open_session(model)
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    def real(row: Floats) -> Mapping[str, Floats]:
        delivered = run(session, np.clip(np.rint(row), 0, 255).astype(np.uint8))
        return {
            name: constants[f"{name}/scale"].astype(np.float32)
            * (value.astype(np.float32) - constants[f"{name}/zero"].astype(np.float32))
            for name, value in delivered.items()
        }

    return real


RUNNERS: dict[str, Callable[[Network, Settings, bytes], Runner]] = {
    "sdk_native": _native,
    "sdk_fp_optimized": _fp_optimized,
    "sdk_quantized": _quantized,
}
ACTIONS: dict[str, Callable[[Request], None]] = {
    "parse": do_parse,
    "optimize": do_optimize,
    "compile": do_compile,
    "infer": do_infer,
}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
