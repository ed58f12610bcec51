"""The proof of the pixels: the float network on the chip's pixels gives what the exported graph gives on its own input.

`split` has proven that `split.onnx` is the exported graph up to its endpoints, bit for bit, its front included. Here
that graph is fed with a calibration sample as its metadata, `[input]` and the graph say (`feed.json`), and the parsed
network with the sample as it is, through the normalization of the model script. Everything in between has to agree: the
script's numbers, the order of colours, the layers that were taken off the front, and what the compiler read.
"""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from build_rules.calibration.snapshot.safetensors_file import read_header
from build_rules.compilers.exported_graph import ExportedGraph
from build_rules.compilers.protocol import Compiler, OptimizeJob
from build_rules.errors import InputError
from build_rules.records.calibration_json import Feed

__all__ = ["prove_pixels"]

LOOKED_AT = 16
"""Samples of which the most colourful is taken: grey ones would not show that colours are swapped."""
HALF_TOLERANCE = 0.03
"""Difference, as a part of what the values deviate from their mean, that is allowed to graphs of 16-bit floats: the
chip computes more exactly. To others it is what the compiler's own arithmetic makes (`float_tolerance`)."""
Floats = NDArray[np.float32]


def prove_pixels(compiler: Compiler, job: OptimizeJob, exported: Path, feed: Feed) -> None:
    """Compare the float network of `job` with the `exported` graph on one calibration sample.

    Raises `InputError` with the endpoint and the size of the difference when they do not agree.
    """
    graph = ExportedGraph(exported, feed)
    sample = _sample(job.calibration, graph.input)
    names, computed = graph.outputs, graph.run(sample)
    del graph
    delivered = compiler.run_float(job, sample)
    tolerance = compiler.float_tolerance
    for name, expected, actual in zip(names, computed, delivered, strict=True):
        difference = _difference(expected, actual)
        if not difference <= tolerance and _has_halves(exported):
            tolerance = HALF_TOLERANCE
        if not difference <= tolerance:
            raise InputError(
                f"{job.script}: the network does not see the pixels that the model was exported for: on a calibration "
                f"sample the tensor '{name}' differs from that of {exported.name} by {difference:.2g} of its deviation "
                f"(at most {tolerance:g} is rounding). The script's normalization, the order of colours and the layers "
                "taken off the beginning of the graph do not agree with what the graph computes; please report this "
                "model."
            )


def _has_halves(path: Path) -> bool:
    """Say whether a graph computes with 16-bit floats somewhere: it has weights of them, or casts to them."""
    import onnx

    half = onnx.TensorProto.FLOAT16
    graph = onnx.load(str(path), load_external_data=False).graph
    casts = (a.i for node in graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to")
    kinds = (tensor.data_type for tensor in graph.initializer)
    return half in kinds or half in casts or any(v.type.tensor_type.elem_type == half for v in graph.input)


def _sample(snapshot: Path, name: str) -> NDArray[np.uint8]:
    """Return the sample (C, H, W) whose colours differ most, of the first few."""
    entry = next((entry for entry in read_header(snapshot).entries if entry.name == name), None)
    if entry is None or len(entry.shape) != 4 or entry.dtype != "U8":
        raise InputError(f"{snapshot}: has no samples of pixels for {name!r}; the snapshot is another network's.")
    count, size = min(LOOKED_AT, entry.shape[0]), prod(entry.shape[1:])
    with snapshot.open("rb") as file:
        file.seek(entry.begin)
        content = file.read(count * size)
    if count == 0 or len(content) < count * size:
        raise InputError(f"{snapshot}: holds no whole sample; run doit again when it is complete.")
    looked_at = np.frombuffer(content, np.uint8).reshape(count, *entry.shape[1:])
    return max(looked_at, key=lambda sample: float(np.std(sample[0].astype(np.int16) - sample[-1])))


def _difference(expected: Floats, actual: Floats) -> float:
    """Return the root mean square of the difference, as a part of the deviation of the values that are finite."""
    if expected.shape != actual.shape:
        return float("inf")
    first, second = expected.astype(np.float64), actual.astype(np.float64)
    finite = np.isfinite(first) & np.isfinite(second)
    if not np.array_equal(np.isfinite(first), np.isfinite(second)) or not finite.any():
        return 0.0 if np.array_equal(first, second, equal_nan=True) else float("inf")
    error = float(np.sqrt(np.mean((first - second)[finite] ** 2)))
    return error / max(float(np.std(first[finite])), 1e-6 * float(np.abs(first[finite]).max()), 1e-12)
