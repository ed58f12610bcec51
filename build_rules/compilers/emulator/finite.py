"""Where a float network ceases to give numbers, and where it may: the masks of attention.

A mask adds -infinity, or a large negative number, to what a softmax makes zero of: that is no fault. One is a NaN, an
infinity of the other sign, or an output that is not finite; from there the way is gone back to where it began.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import onnx

from build_rules.compilers.emulator.graph import Graph
from build_rules.compilers.emulator.network import Floats, Network
from build_rules.compilers.emulator.qdq import float_model
from build_rules.compilers.emulator.quantization_plan import Plan
from build_rules.compilers.emulator.sessions import open_session, run
from build_rules.compilers.protocol import SampleError

__all__ = ["maskable", "not_finite"]

CHUNK = 64
MOVES = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


def not_finite(network: Network, plan: Plan, image: npt.NDArray[np.uint8], sample: int) -> SampleError:
    """Return the error of a network that gives what is no number: it names the node where that begins, and the sample.

    The float network is run again on the image, with all its tensors looked at.
    """
    graph = network.graph
    tensors = [name for node in graph.nodes for name in node.output if name]
    seen: dict[str, str] = {}
    # A few at a time: all tensors of a large network at once would need several times the memory that running it does.
    for begin in range(0, len(tensors), CHUNK):
        part = tensors[begin : begin + CHUNK]
        values = run(open_session(float_model(network, plan, part)), image)
        seen |= {name: fault for name in part if (fault := _fault(values[name]))}
    harmful = [name for name in seen if seen[name] != "-infinity" or name in graph.outputs]
    first = _origin(graph, (harmful or list(seen))[0], seen)
    node = graph.nodes[graph.producer[first]]
    return SampleError(
        f"node '{node.name or first}' ({node.op_type}) gives {seen[first]} for calibration sample {sample}, so no "
        "range can be taken. Look at what it reads (a root or a logarithm of what may be negative or zero, a division "
        "by zero, an exponential or weights that overflow), mend it in the model and export it again.",
        sample,
    )


def _fault(value: Floats) -> str:
    """Return what a tensor holds besides finite values, nothing when it holds none."""
    if value.dtype.kind != "f" or np.isfinite(value).all():
        return ""
    return "NaN" if np.isnan(value).any() else "infinity" if (value == np.inf).any() else "-infinity"


def _origin(graph: Graph, tensor: str, seen: Mapping[str, str]) -> str:
    """Return where the way to a tensor that is not finite ceased to be."""
    while before := [name for name in graph.data_inputs(graph.producer[tensor]) if name in seen]:
        tensor = before[0]
    return tensor


def maskable(network: Network) -> frozenset[str]:
    """Return the tensors that nothing but a softmax reads, as they are or moved: low values are zero behind it."""
    graph, masked_only = network.graph, set[str]()
    for node in reversed(graph.nodes):
        for name in filter(None, node.output):
            users = [graph.nodes[index] for index in graph.consumers.get(name, ())]
            if users and name not in graph.outputs and all(_hides(user, masked_only) for user in users):
                masked_only.add(name)
    return frozenset(masked_only)


def _hides(node: onnx.NodeProto, masked_only: Collection[str]) -> bool:
    return node.op_type == "Softmax" or (
        node.op_type in MOVES and all(name in masked_only for name in node.output if name)
    )
