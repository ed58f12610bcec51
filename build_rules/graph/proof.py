"""The proof of a cut: the removed tail, fed with the endpoint tensors of the cut model, gives the original outputs.

Bit for bit, in onnxruntime with graph optimizations off and one thread, so that nothing but the cut can differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from build_rules.endpoints import ModelInput, Proof
from build_rules.errors import InputError
from build_rules.graph.constants import Array
from build_rules.graph.cut import part_of
from build_rules.graph.view import GraphView

__all__ = ["prove_cut"]

SEED = 20261123


def prove_cut(view: GraphView, cut: onnx.ModelProto, endpoints: Sequence[str], samples: Sequence[Array] = ()) -> Proof:
    """Return the proof over one seeded random image and the given samples (in the shape of the model's input).

    Raises `InputError` naming the output and the largest difference when the tail does not give the original outputs.
    """
    outputs = [name for name in view.outputs if name not in endpoints]
    tail = _tail(view, endpoints, outputs)
    names = [value.name for value in tail.graph.input]
    whole_session, cut_session = _session(view.model, "the model"), _session(cut, "the cut model")
    tail_session = _session(tail, "the removed tail") if outputs else None
    images = [random_image(view.input, view.types[view.input.name]), *samples]
    for image in images:
        feed = {view.input.name: image}
        expected = _run(whole_session, list(view.outputs), feed)
        given = _run(cut_session, list(endpoints), feed)
        found = dict(given)
        if tail_session is not None:
            found.update(_run(tail_session, outputs, {name: given[name] for name in names}))
        for name in view.outputs:
            _compare(name, expected[name], found[name])
    return Proof(max_abs_error=0.0, inputs=len(images))


def random_image(image: ModelInput, kind: int) -> Array:
    """Return the seeded image of the proof: values in [0, 1], or bytes when the input holds bytes."""
    random = np.random.default_rng(SEED)
    if kind == onnx.TensorProto.UINT8:
        return random.integers(0, 256, image.shape, dtype=np.uint8)
    return random.random(image.shape, dtype=np.float32).astype(onnx.helper.tensor_dtype_to_np_dtype(kind))


def _tail(view: GraphView, endpoints: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
    try:
        tail = part_of(view, list(endpoints), outputs)
    except InputError as error:
        raise InputError(
            f"the cut is not complete: {error} ({', '.join(endpoints)}); the split hints do not cover every way from "
            "the image to the outputs, so correct them or export the model again."
        ) from error
    used = {name for node in tail.graph.node for name in node.input}
    kept = [value for value in tail.graph.input if value.name in used]
    del tail.graph.input[:]
    tail.graph.input.extend(kept)
    return tail


def _session(model: onnx.ModelProto, what: str) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other base class
        raise InputError(f"{what} cannot be run by onnxruntime: {_first_line(error)}") from error


def _run(session: Any, names: list[str], feed: dict[str, Array]) -> dict[str, Array]:
    try:
        return dict(zip(names, session.run(names, feed), strict=True))
    except Exception as error:  # onnxruntime's errors share no other base class
        raise InputError(f"the model cannot be run by onnxruntime: {_first_line(error)}") from error


def _compare(name: str, expected: Array, found: Array) -> None:
    if expected.shape == found.shape and expected.dtype == found.dtype and expected.tobytes() == found.tobytes():
        return
    with np.errstate(all="ignore"):
        difference = (
            np.abs(expected.astype(np.float64) - found.astype(np.float64)) if _same(expected, found) else [np.inf]
        )
    raise InputError(
        f"the cut is wrong: the removed tail, fed with the endpoint tensors, differs from the original output '{name}' "
        f"by up to {float(np.max(difference)):g}; please report this model."
    )


def _same(expected: Array, found: Array) -> bool:
    return expected.shape == found.shape


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
