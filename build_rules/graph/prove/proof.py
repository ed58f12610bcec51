"""The proof of a cut: the removed tail, fed with the endpoint tensors of the cut model, gives the original outputs.

Bit for bit, in onnxruntime with graph optimizations off and one thread, so that nothing but the cut can differ. The
original is the file itself, as it was exported; the cut model is the file that was written. Of an export in half
precision the original is the model in float, which is compared with the file within the rounding of halves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from build_rules.errors import InputError
from build_rules.graph.load.constants import Array
from build_rules.graph.load.graph_view import GraphView, nodes_before_outputs
from build_rules.graph.prove.check_halves import compare_with_halves
from build_rules.graph.prove.cut import part_of, tail_of
from build_rules.graph.prove.run_limits import check_runnable
from build_rules.graph.prove.runtime import open_session, run_session
from build_rules.onnx_file.write import model_content
from build_rules.records.split_json import ModelInput, Proof

__all__ = ["prove_cut"]

SEED = 20261123


def prove_cut(
    view: GraphView,
    original: Path,
    cut: Path,
    endpoints: Sequence[str],
    samples: Sequence[Array] = (),
    beside: bool = False,
    widened: bool = False,
) -> Proof:
    """Return the proof over one seeded random image and the given samples, each one image as the network takes it.

    `original` is the exported ONNX file, `cut` the written one. Where weights lie `beside` the former, onnxruntime
    would not read small ones, so the view's model, which holds those, is run in its place. A `widened` model is
    compared with itself in float, and that with the file as closely as halves can tell. Raises `InputError` naming the
    output, the place and both values when the tail does not give the original outputs, and for graphs too large to be
    run.
    """
    check_runnable(view)
    outputs = [name for name in view.outputs if name not in endpoints]
    tail = _tail(view, endpoints, outputs) if outputs else None
    names = [] if tail is None else [value.name for value in tail.graph.input]
    whole: str | bytes = view.model.SerializeToString() if beside else str(original)
    if widened or len(nodes_before_outputs(view)) < len(view.nodes):
        # What no output needs could be of any size; onnxruntime would compute it all the same.
        whole = model_content(part_of(view, [view.input.name], view.outputs), view.files)
    whole_session = open_session(whole, "the model", view.files.folder)
    cut_session = open_session(str(cut), "the cut model")
    tail_session = None if tail is None else open_session(model_content(tail, view.files), "the removed tail")
    kind = view.types[view.input.name]
    # To a network of bytes, which normalizes pixels itself, a sample that was normalized before would be black.
    real = [image for image in samples if kind != onnx.TensorProto.UINT8 or _are_bytes(image)]
    images = [random_image(view.input, kind), *(_batch(view, image) for image in real)]
    for image in images:
        feed = {view.input.name: image}
        expected = run_session(whole_session, view.outputs, feed)
        given = _endpoint_tensors(cut_session, view.input.name, image, endpoints)
        actual = dict(given)
        if tail_session is not None:
            actual.update(run_session(tail_session, outputs, {name: given[name] for name in names}))
        for name in view.outputs:
            _compare(name, expected[name], actual[name])
        if widened:
            compare_with_halves(view, original, image, expected)
    return Proof(max_abs_error=0.0, inputs=len(images))


def random_image(image: ModelInput, kind: int) -> Array:
    """Return the seeded image of the proof: values in [0, 1], or bytes when the input holds bytes."""
    random = np.random.default_rng(SEED)
    if kind == onnx.TensorProto.UINT8:
        return random.integers(0, 256, image.shape, dtype=np.uint8)
    return random.random(image.shape, dtype=np.float32).astype(onnx.helper.tensor_dtype_to_np_dtype(kind))


def _are_bytes(image: Array) -> bool:
    with np.errstate(invalid="ignore"):
        return np.array_equal(image, image.astype(np.uint8))


def _batch(view: GraphView, image: Array) -> Array:
    kind = onnx.helper.tensor_dtype_to_np_dtype(view.types[view.input.name])
    return np.repeat(image.astype(kind), view.batch, axis=0)


def _tail(view: GraphView, endpoints: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
    try:
        return tail_of(view, endpoints, outputs)
    except InputError as error:
        raise InputError(
            f"the cut is not complete: {error} ({', '.join(endpoints)}); these do not cover every way from the image "
            "to the outputs: name what is missing, leave out the outputs that need it ([split] outputs), or export the "
            "model again."
        ) from error


def _endpoint_tensors(session: Any, name: str, images: Array, endpoints: Sequence[str]) -> dict[str, Array]:
    """Return the endpoint tensors of all images, which the cut model computes one by one."""
    runs = [run_session(session, endpoints, {name: images[i : i + 1]}) for i in range(len(images))]
    return {endpoint: np.concatenate([run[endpoint] for run in runs]) for endpoint in endpoints}


def _compare(name: str, expected: Array, actual: Array) -> None:
    if expected.shape == actual.shape and expected.dtype == actual.dtype and expected.tobytes() == actual.tobytes():
        return
    differs = f"the removed tail, fed with the endpoint tensors, differs from the original output '{name}'"
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        kinds = f"{expected.dtype}{list(expected.shape)} and {actual.dtype}{list(actual.shape)}"
        raise _wrong_cut(f"{differs} in type or shape ({kinds})")
    with np.errstate(all="ignore"):
        first, second = expected.astype(np.float64), actual.astype(np.float64)
        same = (first == second) | (np.isnan(first) & np.isnan(second))
        difference = np.nan_to_num(np.abs(first - second), nan=np.inf)
        difference[same] = 0
    place = tuple(int(i) for i in np.unravel_index(int(difference.argmax()), difference.shape))
    raise _wrong_cut(
        f"{differs} in {np.count_nonzero(~same)} of {same.size} values, most at {list(place)}: "
        f"{first[place]:g} became {second[place]:g}"
    )


def _wrong_cut(facts: str) -> InputError:
    return InputError(f"the cut is wrong: {facts}; please report this model.", facts=facts)
