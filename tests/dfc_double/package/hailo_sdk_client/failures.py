"""The failures that people report of the DFC, by a short name each: the exception, its text, and what the logs say.

Texts as public threads and repositories quote them; what is not quoted anywhere is kept to the words that are.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from . import logs
from .exceptions import make

__all__ = ["FAILURES", "fail"]


class Failure(NamedTuple):
    """`lines` are written with the level error before the exception is raised, into the log named `file`."""

    exception: str
    message: str
    lines: tuple[str, ...] = ()
    file: str = logs.ALLOCATOR


_PARTITION = (
    "Compiler could not find a valid partition to contexts. Most common error is: Automri finished with too many "
    "resources on context_1."
)
FAILURES = {
    "agent_infeasible": Failure(
        "BackendAllocatorException",
        "Compilation failed: No successful assignments: concat21 errors:\n\tAgent infeasible",
        (
            "Mapping Failed (allocation time: 1m 44s)",
            "No successful assignments: concat21 errors:",
            "\tAgent infeasible",
        ),
    ),
    "no_context": Failure(
        "BackendAllocatorException",
        "Compilation failed: No successful assignment for: format_conversion1, NO_CONTEXT_ENABLED",
        ("Mapping Failed (allocation time: 12s)", "NO_CONTEXT_ENABLED"),
    ),
    "no_partition": Failure(
        "BackendAllocatorException",
        f"Compilation failed: {_PARTITION}",
        ("Mapping Failed (allocation time: 6m 3s)", _PARTITION),
    ),
    "two_apus": Failure(
        "BackendAllocatorException",
        "Compilation failed: Layer softmax1 has 2 APUs but max allowed is 1",
        ("Layer softmax1 has 2 APUs but max allowed is 1",),
    ),
    "recommendation": Failure(
        "ParsingWithRecommendationException",
        "Parsing failed. The errors found in the graph are:\n UnsupportedOperationError in op /model.22/TopK: TopK "
        "operation is unsupported\nPlease try to parse the model again, using these end node names: "
        "/model.22/cv2.0/cv2.0.2/Conv, /model.22/cv3.0/cv3.0.2/Conv",
        (),
        logs.CLIENT,
    ),
    "misspelled": Failure(
        "MisspellNodeError",
        "Unable to find end node names: ['Conv_253'], please verify and try again.",
        (),
        logs.CLIENT,
    ),
    "unsupported_layer": Failure(
        "UnsupportedShuffleLayerError",
        "Failed to determine type of layer to create in node /model.22/Reshape_3",
        (),
        logs.CLIENT,
    ),
    "unknown_layer": Failure("HailoNNException", "The layer named conv70 doesn't exist in the HN", (), logs.CLIENT),
    "script": Failure(
        "AllocatorScriptParserException", "No argument named 'calib_size' in model_optimization_config", (), logs.CLIENT
    ),
    "slope": Failure(
        "NegativeSlopeExponentNonFixable",
        "Quantization failed in layer net/conv1 due to unsupported required slope. Desired shift is 9.0, but op has "
        "only 8 data bits. This error raises when the data or weight range are not balanced. Mostly happens when using "
        "random calibration-set/weights, the calibration-set is not normalized properly or batch-normalization was not "
        "used during training.",
        (),
        logs.ACCELERAS,
    ),
    "shift_delta": Failure(
        "AccelerasUnsupportedError", "layer net/ew_add1 does not support shift delta", (), logs.ACCELERAS
    ),
    "bad_shape": Failure(
        "BadInputsShape",
        "Data shape (3, 640, 640) for layer net/input_layer1 doesn't match network's input shape (640, 640, 3)",
        (),
        logs.ACCELERAS,
    ),
    "nan": Failure("UnsupportedModelError", "Unsupported NaN values in kernel of layer net/conv1", (), logs.CLIENT),
    "gpu_memory": Failure(
        "ResourceExhaustedError",
        "Graph execution error: OOM when allocating tensor with shape[8,64,320,320]: GPU memory has been exhausted",
        ("ResourceExhaustedError: GPU memory has been exhausted, lower the batch size",),
        logs.ACCELERAS,
    ),
    "crash": Failure(
        "BackendAllocatorException",
        "Compilation failed with unexpected crash",
        ("hailo_allocator: compile/allocator.cpp:812: Assertion `agent != nullptr' failed.",),
    ),
    "assertion": Failure("AssertionError", "Assertion failed: cluster != nullptr", ("Assertion `cluster' failed.",)),
    "latency": Failure(
        "BackendAllocatorException",
        "Compilation failed: Latency simulation reached timeout",
        ("Watchdog expired after 1h 0m 0s",),
    ),
    "unheard_of": Failure(
        "RuntimeError", "the flux capacitor is out of plutonium", ("an error nobody has seen before",)
    ),
}


def fail(kind: str) -> None:
    """Say what the logs say, and raise. `symbol_lookup` ends the process as the dynamic linker does."""
    if kind == "symbol_lookup":
        sys.stderr.write(f"{sys.executable}: symbol lookup error: libhailo_allocator.so: undefined symbol: _ZN5hailo\n")
        sys.stderr.flush()
        raise SystemExit(127)
    failure = FAILURES[kind]
    for line in failure.lines:
        logs.log("error", line, failure.file)
    if not failure.lines:
        logs.log("error", failure.message, failure.file)
    raise make(failure.exception, failure.message)
