"""Running models in onnxruntime so that nothing but the model decides: no optimizations, one thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from build_rules.errors import InputError
from build_rules.graph.load.constants import Array
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.prove.cut import tail_of
from build_rules.graph.prove.run_limits import check_runnable
from build_rules.inference import load_onnxruntime, new_session, session_options
from build_rules.onnx_file.write import model_content

__all__ = ["open_session", "run_session", "run_tail"]

WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
"""onnxruntime's name for where the references of a model in memory lead."""


def open_session(model: str | bytes, what: str, weights: Path | None = None) -> Any:
    """Return a session of a model file or of a model in memory whose references lie in `weights`.

    Raises `InputError`, naming `what`, when onnxruntime does not take it.
    """
    options = session_options()
    options.graph_optimization_level = load_onnxruntime().GraphOptimizationLevel.ORT_DISABLE_ALL
    if isinstance(model, bytes) and weights is not None:
        options.add_session_config_entry(WEIGHTS_FOLDER, str(weights.absolute()))
    try:
        return new_session(model, options)
    except Exception as error:  # onnxruntime's errors share no other base class
        raise InputError(f"{what} cannot be run by onnxruntime: {_first_line(error)}") from error


def run_session(session: Any, names: Sequence[str], feed: Mapping[str, Array]) -> dict[str, Array]:
    """Return the named outputs. Raises `InputError` when onnxruntime fails."""
    try:
        return dict(zip(names, session.run(list(names), feed), strict=True))
    except Exception as error:  # onnxruntime's errors share no other base class
        raise InputError(f"the model cannot be run by onnxruntime: {_first_line(error)}") from error


def run_tail(view: GraphView, maps: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
    """Return outputs of the model, given all its endpoint tensors, which are brought into the types they have there.

    Raises `InputError` when onnxruntime fails, and for graphs too large to be run.
    """
    check_runnable(view, maps)
    tail = tail_of(view, list(maps), outputs)
    kinds = {value.name: onnx.helper.tensor_dtype_to_np_dtype(view.types[value.name]) for value in tail.graph.input}
    feed = {name: maps[name].astype(kind) for name, kind in kinds.items()}
    return run_session(open_session(model_content(tail, view.files), "the tail"), outputs, feed)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
