"""Local functions become plain nodes: exporters keep a module as one, the walk and the compilers want its operators.

What is rewritten is covered by the proof of the cut, which runs the file as it was exported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx
import onnx.inliner

from build_rules.errors import InputError

__all__ = ["MAX_NODES", "inline_functions"]

MAX_NODES = 100_000
"""Nodes of the largest graph that is worked on; the largest detectors have some thousands."""
NODES_PER_BRANCH = 100
"""An `If` counts as so many nodes: its branches are graphs of their own, each of which is looked at by itself."""
LOOPS = ("Loop", "Scan", "SequenceMap")


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without local functions.

    Raises `InputError` for functions that call themselves, for loops, and for graphs of absurd size.
    """
    _check_size(model)
    return _inlined(model) if model.functions else model


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.inliner.inline_local_functions(model)
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"the local functions cannot be inlined: {first}") from error


def _check_size(model: onnx.ModelProto) -> None:
    """Refuse graphs that inlining would blow up, before it does."""
    functions = {(function.domain, function.name, _overload(function)): function for function in model.functions}
    weights: dict[tuple[str, str, str], int] = {}
    open_calls: set[tuple[str, str, str]] = set()
    pending = list(functions)
    while pending:
        key = pending[-1]
        calls = [call for call in _calls(functions[key].node) if call in functions]
        missing = [call for call in calls if call not in weights]
        if key in weights or not missing:
            pending.pop()
            open_calls.discard(key)
            weights.setdefault(key, _weight(functions[key].node, weights))
            continue
        if key in open_calls:
            raise InputError(f"the local function '{key[1]}' calls itself; export the model again.")
        open_calls.add(key)
        pending += missing
    total = _weight(model.graph.node, weights)
    if total > MAX_NODES:
        raise InputError(
            f"the graph has over {MAX_NODES} nodes (an If counts as {NODES_PER_BRANCH}), which no detector needs; "
            "export the model again."
        )


def _weight(nodes: Iterable[onnx.NodeProto], weights: Mapping[tuple[str, str, str], int]) -> int:
    own = (weights.get(call, NODES_PER_BRANCH if call[1] == "If" else 1) for call in _calls(nodes))
    return min(sum(own), MAX_NODES + 1)


def _calls(nodes: Iterable[onnx.NodeProto]) -> list[tuple[str, str, str]]:
    """Return domain, name and overload of every operator used, in subgraphs too."""
    calls: list[tuple[str, str, str]] = []
    waiting = [nodes]
    while waiting:
        for node in waiting.pop():
            if node.op_type in LOOPS:
                raise InputError(
                    f"node '{node.name}' ({node.op_type}) is a loop, which no chip of this kind runs; export the model "
                    "with a static shape and without post-processing (no NMS)."
                )
            calls.append((node.domain, node.op_type, _overload(node)))
            waiting += [attribute.g.node for attribute in node.attribute if attribute.HasField("g")]
            waiting += [graph.node for attribute in node.attribute for graph in attribute.graphs]
    return calls


def _overload(item: onnx.NodeProto | onnx.FunctionProto) -> str:
    return str(getattr(item, "overload", ""))  # since IR version 10
