"""A quantized network that is to be run: whether it can be opened, and runs within bounds, whoever made it.

What optimizing has written is opened here before it is kept, what a HEF brings before it is run.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from build_rules.compilers.emulator.sessions import MAX_RUN_BYTES, open_session, run
from build_rules.compilers.emulator.stored import read_stored
from build_rules.errors import InputError
from build_rules.inference import Session, load_onnxruntime

__all__ = ["Tensors", "open_network", "run_network"]

OUTPUT_TYPES = ("tensor(uint8)", "tensor(uint16)")
MAX_INPUT_BYTES = 1 << 28
MAX_OUTPUT_BYTES = 1 << 28
"""Of all outputs for one image; those of YOLOv8 at 1280x1280 have 10 MB."""
MAX_OUTPUTS = 256
"""A HEF has at most as many streams."""
MAX_NODES = 100_000
MAX_SECONDS = 600.0
"""For one image, on one core; YOLOv8n at 640x640 takes 0.4 s."""

Tensors = dict[str, npt.NDArray[Any]]


def open_network(data: bytes, bounded: bool) -> Session:
    """Open a serialized network; `bounded` ones get a limited amount of memory to run in.

    Raises `InputError`, a clause without advice, when it cannot be opened, is none of the emulator's, or does not take
    one picture of a fixed size and deliver such tensors as a device does.
    """
    model = read_stored(data)
    _refuse_endless(model)
    try:
        session = open_session(model, bounded)
    except Exception as error:  # onnxruntime's errors share no other base class
        raise InputError(f"its network cannot be run ({_first_line(error)})") from error
    _check_ends(session)
    return session


def run_network(session: Session, image: npt.NDArray[np.uint8]) -> Tensors:
    """Return the outputs for one image [1, H, W, C]. Raises `InputError`, a clause, when it fails or takes too long."""
    options, results, errors = load_onnxruntime().RunOptions(), list[Tensors](), list[Exception]()

    def work() -> None:
        try:
            results.append(run(session, image, options))
        except Exception as error:  # onnxruntime's errors share no other base class
            errors.append(error)

    # A single operator cannot be interrupted, only left behind.
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(MAX_SECONDS)
    if worker.is_alive():
        options.terminate = True
        raise InputError(f"its network takes more than {MAX_SECONDS:g} seconds for one image")
    if errors:
        told = _first_line(errors[0])
        if "Available memory" in told:
            told = f"it wants more than {MAX_RUN_BYTES >> 30} GiB of memory"
        raise InputError(f"its network cannot be run ({told})") from errors[0]
    return results[0]


def _refuse_endless(model: onnx.ModelProto) -> None:
    """Refuse what no network of the emulator has, and what could compute for ever or before there is an image.

    Those hold nodes that hang on the image, without branches or loops, and weights that are brought back to floats.
    """
    if len(model.graph.node) > MAX_NODES or model.functions:
        raise InputError(f"its network has local functions or more than {MAX_NODES} nodes")
    from_image = {value.name for value in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if any(item.HasField("g") or item.graphs for item in node.attribute):
            raise InputError(
                f"node '{node.name}' ({node.op_type}) has a graph inside, a loop or a branch, which no network of the "
                "emulator has"
            )
        # What is only made of the image's size, onnxruntime computes before there is an image.
        if node.op_type in ("Shape", "Size") or (
            node.op_type != "DequantizeLinear" and from_image.isdisjoint(node.input)
        ):
            raise InputError(
                f"node '{node.name}' ({node.op_type}) computes something without the image, which no network of the "
                "emulator does"
            )
        if not from_image.isdisjoint(node.input):
            from_image.update(node.output)


def _check_ends(session: Session) -> None:
    inputs = [(value.type, value.shape) for value in session.get_inputs()]
    if len(inputs) != 1 or inputs[0][0] != "tensor(uint8)" or not _is_picture(inputs[0][1]):
        told = ", ".join(f"{kind} {list(shape)}" for kind, shape in inputs) or "nothing"
        raise InputError(f"its network takes {told}, not one image [1, H, W, C] of uint8")
    outputs = session.get_outputs()
    if len(outputs) > MAX_OUTPUTS:
        raise InputError(f"its network has {len(outputs)} outputs; no device has more than {MAX_OUTPUTS}")
    sizes = [prod(size if isinstance(size, int) else 1 for size in value.shape) for value in outputs]
    if sum(sizes) > MAX_OUTPUT_BYTES:
        raise InputError(f"its network delivers {sum(sizes)} values for one image, more than any device")
    for value in outputs:
        if value.type not in OUTPUT_TYPES:
            raise InputError(f"its network delivers '{value.name}' as {value.type}, not as uint8 or uint16")


def _is_picture(shape: Sequence[Any]) -> bool:
    fixed = len(shape) == 4 and all(isinstance(size, int) and size > 0 for size in shape)
    return fixed and shape[0] == 1 and prod(shape) <= MAX_INPUT_BYTES


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
