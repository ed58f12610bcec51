"""Whether a network that was widened to float computes what its file computes in half precision.

Bit for bit it cannot be: the file rounds every layer to eleven bits (BFLOAT16: eight). So outputs are compared as a
whole, by the root mean square of the difference against their spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from build_rules.errors import InputError
from build_rules.graph.load.constants import Array
from build_rules.graph.load.graph_view import GraphView, nodes_before_outputs
from build_rules.graph.prove.runtime import open_session, run_session

__all__ = ["compare_with_halves"]

TOLERANCE = 0.1
"""Part of its spread by which an output may differ; seven detectors differ by 0.0003 to 0.0013, a wrong cast by 1."""
PICKING = ("ArgMax", "ArgMin", "NonZero", "TopK", "Unique")
"""Operators whose results jump when two values change places, as they do between halves."""


def compare_with_halves(view: GraphView, original: Path, image: Array, expected: Mapping[str, Array]) -> None:
    """Raise `InputError` when outputs of the file `original` are far from `expected`, those of the same net in float.

    What overflowed in half precision is left out, and so are graphs that pick places, and files that onnxruntime does
    not run here (it has no operators for BFLOAT16, and few for halves).
    """
    if any(node.op_type in PICKING for node in nodes_before_outputs(view)):
        return
    try:
        session = open_session(str(original), "the model")
        halves = session.get_inputs()[0].type == "tensor(float16)"
        feed = {view.input.name: image.astype(np.float16) if halves else image}
        in_halves = run_session(session, list(expected), feed)
    except InputError:
        return
    for name, wanted in expected.items():
        difference, spread = _measured(wanted, in_halves[name])
        if difference > TOLERANCE * spread:
            raise InputError(
                f"this export is in half precision, and computed in float its output '{name}' differs by "
                f"{difference:.2g} in the mean of a spread of {spread:.2g}: halves are too coarse for this network, or "
                "it was read wrongly; export the model in float (Ultralytics: half=False)."
            )


def _measured(expected: Array, actual: Array) -> tuple[float, float]:
    """Return the root mean square of the difference and of the spread, over the places where both are finite."""
    first, second = expected.astype(np.float64), actual.astype(np.float64)
    finite = np.isfinite(first) & np.isfinite(second)
    if first.shape != second.shape or not finite.any():
        return 0.0, 0.0
    first, second = first[finite], second[finite]
    # A constant output has no spread; it is then measured against its size.
    spread = float(first.std()) or float(np.abs(first).max())
    return float(np.sqrt(np.mean((first - second) ** 2))), spread
