"""Running ONNX models so that the same input gives the same bits, however many threads share the work.

Every session computes with one thread; several samples run at once, and their results are combined in sample order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import onnx

from build_rules.compilers.in_order import in_order
from build_rules.inference import Session, load_onnxruntime, new_session, session_options

__all__ = ["each_sample", "map_samples", "open_session", "run", "sum_samples"]

MAX_RUN_BYTES = 4 << 30
"""What a network of unknown origin may hold in memory while it runs; YOLOv8n at 640x640 holds 40 MB."""

Result = TypeVar("Result")
Sums = dict[str, npt.NDArray[Any]]


def open_session(model: onnx.ModelProto | bytes, bounded: bool = False) -> Session:
    """Open a single-threaded CPU session; all `bounded` ones together get no more than `MAX_RUN_BYTES` of memory.

    Quantize-dequantize pairs are executed as written: the fused integer kernels saturate on processors without VNNI,
    so their results would depend on the machine.
    """
    options = session_options()
    # What frees memory is computed as soon as it can be: a network that is observed needs half as much.
    options.execution_order = load_onnxruntime().ExecutionOrder.PRIORITY_BASED
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.add_session_config_entry("session.load_model_format", "ONNX")  # what was checked, not what it looks like
    if bounded:
        _register_bounded_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return new_session(data, options)


@cache
def _register_bounded_memory() -> None:
    """Give this process an allocator of onnxruntime that refuses to grow beyond the bound."""
    onnxruntime = load_onnxruntime()
    kind, memory = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    place = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, memory)
    grow_as_asked = 1
    arena = onnxruntime.OrtArenaCfg({"max_mem": MAX_RUN_BYTES, "arena_extend_strategy": grow_as_asked})
    onnxruntime.create_and_register_allocator(place, arena)


def map_samples(work: Callable[[int], Result], samples: Sequence[int], workers: int | None = None) -> list[Result]:
    """Return `[work(sample) for sample in samples]`, computed by a few threads.

    `work` must reduce what it computes: all returned values are held at once, activations must not be.
    """
    return list(in_order(work, samples, workers))


def sum_samples(work: Callable[[int], Sums], samples: Sequence[int], workers: int | None = None) -> Sums:
    """Return the element-wise sum of `work(sample)` over the samples, in float64 and in sample order."""
    total: Sums = {}
    for part in in_order(work, samples, workers):
        for key, value in part.items():
            total[key] = total[key] + value if key in total else value.astype(np.float64)
    return total


def each_sample(
    work: Callable[[int], Result], samples: Sequence[int], doing: str, progress: Callable[[str], None] | None = None
) -> Iterator[Result]:
    """Yield `work(sample)` in the order of the samples, and tell how far that is and what time is left."""
    began = time.monotonic()
    for number, result in enumerate(in_order(work, samples), start=1):
        yield result
        if progress is not None:
            left = (time.monotonic() - began) / number * (len(samples) - number)
            progress(f"{doing} {number} of {len(samples)} samples, {left:.0f} s left")


def run(session: Session, image: npt.NDArray[Any], options: Any = None) -> dict[str, npt.NDArray[Any]]:
    """Feed the only input of `session` and return every output by its name."""
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {session.get_inputs()[0].name: image}, options)
    return dict(zip(names, values, strict=True))
