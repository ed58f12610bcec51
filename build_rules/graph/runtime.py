"""Running models in onnxruntime so that nothing but the model decides: no optimizations, one thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import onnxruntime as ort

from build_rules.errors import InputError
from build_rules.graph.constants import Array
from build_rules.graph.order import node_inputs
from build_rules.graph.view import GraphView, nodes_before_outputs

__all__ = ["check_runnable", "open_session", "run_session"]

MAX_ELEMENTS = 1 << 32
"""Elements of all tensors of a graph together; YOLOv8l at 1280x1280 has a third."""
MAX_LIVE = 1 << 29
"""Elements that are in use at one time, 2 GiB in float."""
WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
"""onnxruntime's name for where the references of a model in memory lead."""
OFF = "write proof = false into [split] of model.toml to go without the proof"


def check_runnable(view: GraphView) -> None:
    """Raise `InputError` for what would exhaust the machine; inference has told every size there is."""
    produced = (name for node in nodes_before_outputs(view) for name in node.output)
    unknown = [name for name in produced if name in view.image_tensors and name not in view.shapes]
    if unknown:
        raise InputError(
            f"the size of '{unknown[0]}' depends on the image, so the cut cannot be proven; export the model without "
            f"post-processing (no NMS), or {OFF}."
        )
    total, live = sum(prod(shape) for shape in view.shapes.values()), _largest_live(view)
    if total > MAX_ELEMENTS or live > MAX_LIVE:
        raise InputError(
            f"the graph computes {total} values for one image and holds {live} of them at one time, too many to be run "
            f"here; {OFF}."
        )


def _largest_live(view: GraphView) -> int:
    """Return the largest number of elements in use at one time, when nodes run in order and free what is not needed."""
    nodes = nodes_before_outputs(view)
    last = {name: index for index, node in enumerate(nodes) for name in node_inputs(node)}
    last |= dict.fromkeys(view.outputs, len(nodes))
    live = largest = 0
    for index, node in enumerate(nodes):
        live += sum(prod(view.shapes.get(name, ())) for name in node.output if name)
        largest = max(largest, live)
        produced = {name for name in (*node_inputs(node), *node.output) if name in view.producers}
        live -= sum(prod(view.shapes.get(name, ())) for name in produced if last.get(name, index) == index)
    return largest


def open_session(model: str | bytes, what: str, weights: Path | None = None) -> Any:
    """Return a session of a model file or of a model in memory whose references lie in `weights`.

    Raises `InputError`, naming `what`, when onnxruntime does not take it.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if isinstance(model, bytes) and weights is not None:
        options.add_session_config_entry(WEIGHTS_FOLDER, str(weights.absolute()))
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other base class
        raise InputError(f"{what} cannot be run by onnxruntime: {_first_line(error)}") from error


def run_session(session: Any, names: Sequence[str], feed: Mapping[str, Array]) -> dict[str, Array]:
    """Return the named outputs. Raises `InputError` when onnxruntime fails."""
    try:
        return dict(zip(names, session.run(list(names), feed), strict=True))
    except Exception as error:  # onnxruntime's errors share no other base class
        raise InputError(f"the model cannot be run by onnxruntime: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
