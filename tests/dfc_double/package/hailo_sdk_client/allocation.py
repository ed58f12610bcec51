"""How a network is put on a chip: contexts, utilization, `.auto.alls` and the profile. None of it is an allocation.

Every number is derived from the sizes of the network's layers by the rules below, which are the double's own; they only
behave as real ones do: more weights and operations take more contexts and time, a Hailo-8L half of a Hailo-8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, prod
from typing import Any, NamedTuple

from . import logs
from .exceptions import make
from .logs import ALLOCATOR
from .script_parser import Statement

__all__ = ["Allocation", "allocate", "automatic_script", "is_placed", "profile", "refuse_wide", "tell"]

WEIGHTS_PER_CONTEXT = {"hailo8": 3_000_000, "hailo8r": 3_000_000, "hailo8l": 1_500_000}
OPERATIONS_PER_SECOND = {"hailo8": 13e12, "hailo8r": 13e12, "hailo8l": 6.5e12}
CLUSTERS = {"hailo8": 8, "hailo8r": 8, "hailo8l": 4}
_WEIGHTED = ("conv", "dw", "deconv", "dense")


class Allocation(NamedTuple):
    """The layers of every context, in order, and the share of a chip that each takes."""

    contexts: tuple[tuple[str, ...], ...]
    weights: int
    operations: int
    utilization: float


def allocate(hn: Mapping[str, Any], hw_arch: str, contexts: int | None = None) -> Allocation:
    """Divide the layers into contexts, each with an equal share of the weights; `contexts` overrides how many."""
    sizes = {name: _weights(layer) for name, layer in hn["layers"].items() if not layer["type"].endswith("put_layer")}
    total = sum(sizes.values())
    count = contexts or max(1, ceil(total / WEIGHTS_PER_CONTEXT.get(hw_arch, 3_000_000)))
    groups: list[list[str]] = [[] for _ in range(count)]
    seen = 0
    for name, size in sizes.items():
        groups[min(count * seen // max(total, 1), count - 1)].append(name)
        seen += size
    share = total / (count * WEIGHTS_PER_CONTEXT.get(hw_arch, 3_000_000))
    operations = sum(_operations(layer) for layer in hn["layers"].values())
    return Allocation(tuple(map(tuple, groups)), total, operations, min(share, 1.0))


def _weights(layer: Mapping[str, Any]) -> int:
    shape = layer.get("params", {}).get("kernel_shape")
    return int(prod(shape)) if shape and layer["type"] in _WEIGHTED else 0


def _operations(layer: Mapping[str, Any]) -> int:
    outputs = layer.get("output_shapes") or [[0]]
    groups = layer.get("params", {}).get("groups", 1) if layer["type"] == "conv" else 1
    return int(2 * _weights(layer) * prod(outputs[0][1:-1]) // max(groups, 1))


def refuse_wide(hn: Mapping[str, Any], layers: Sequence[str]) -> None:
    """Fail as the allocator does when a softmax or a product of two tensors was given 16 bits."""
    for name in layers:
        kind = hn["layers"].get(name, {}).get("type")
        if kind in ("softmax", "matmul"):
            short = name.rpartition("/")[2]
            text = f"Layer {short} has 2 APUs but max allowed is 1" if kind == "softmax" else "unexpected crash"
            logs.log("error", f"Mapping Failed: {text}", ALLOCATOR)
            raise make("BackendAllocatorException", f"Compilation failed: {text}")


def automatic_script(found: Allocation) -> str:
    """Return the `.auto.alls`: a line per context with its layers. It belongs to one network and chip."""
    lines = []
    for number, layers in enumerate(found.contexts):
        if layers:
            lines.append(f"context_{number} = context([{', '.join(layers)}])")
    lines.append("allocator_param(enable_auto_spatial_reshapes=False)")
    return "\n".join(lines) + "\n"


def is_placed(hn: Mapping[str, Any], statements: Sequence[Statement]) -> bool:
    """Say whether a script places every layer already, as the `.auto.alls` of this network does."""
    placed = {
        str(name)
        for statement in statements
        if statement.command == "context"
        for value in statement.arguments
        for name in (value if isinstance(value, list) else [value])
    }
    layers = {name for name, layer in hn["layers"].items() if not layer["type"].endswith("put_layer")}
    return bool(layers) and layers <= placed


def tell(hn: Mapping[str, Any], hw_arch: str, found: Allocation, placed: bool, maximal: bool) -> None:
    """Write what the allocator writes on its way to an allocation."""
    count = len(found.contexts)
    if not maximal:
        logs.info(
            'To achieve optimal performance, set the compiler_optimization_level to "max" by adding '
            "performance_param(compiler_optimization_level=max) to the model script. Note that this may increase "
            "compilation time."
        )
    for line in (
        "Loading network parameters",
        "Starting Hailo allocation and compilation flow",
        "Building optimization options for network layers...",
        "Successfully built optimization options - 1s 862ms",
    ):
        logs.info(line, ALLOCATOR)
    if count == 1:
        logs.info("Trying to compile the network in a single context", ALLOCATOR)
        logs.info("Using Single-context flow", ALLOCATOR)
    elif not placed:
        _tell_search(count)
    limits = (
        *("control_utilization", "compute_utilization", "compute_16bit_utilization"),
        *("memory_utilization (weights)", "input_aligner_utilization", "apu_utilization"),
    )
    told = ", ".join(f"max_{name}=60%" for name in limits)
    logs.info(f"Resources optimization params: {told}", ALLOCATOR)
    if count > 1:
        logs.info(f"Applying selected partition to {count} contexts...", ALLOCATOR)
    _tell_utilization(hw_arch, found)
    logs.info("Successful Mapping (allocation time: 1m 14s)", ALLOCATOR)
    for number in range(count):
        logs.info(f"Compiling context_{number}...", ALLOCATOR)
    logs.info("Building HEF...", ALLOCATOR)
    logs.info("Successful Compilation (compilation time: 4s)", ALLOCATOR)


def _tell_search(count: int) -> None:
    logs.info("Trying to compile the network in a single context", ALLOCATOR)
    logs.info("Single context flow failed: Recoverable single context error", ALLOCATOR)
    logs.info("Using Multi-context flow", ALLOCATOR)
    logs.info("Finding the best partition to contexts...", ALLOCATOR)
    logs.bare(f"Found valid partition to {count} contexts")
    logs.info("Searching for a better partition...", ALLOCATOR)
    logs.bare(f"Found valid partition to {count} contexts, Performance improved by 12.2%")
    logs.info("Searching for a better partition...", ALLOCATOR)
    logs.info("Partitioner finished after 27 iterations, Time it took: 1m 2s 215ms", ALLOCATOR)


def _tell_utilization(hw_arch: str, found: Allocation) -> None:
    for number in range(len(found.contexts)):
        logs.info(f"context_{number} utilization:" if len(found.contexts) > 1 else "Resources utilization:", ALLOCATOR)
        rule = "+-----------+---------------------+---------------------+--------------------+"
        rows = [rule, "| Cluster   | Control Utilization | Compute Utilization | Memory Utilization |", rule]
        share = 100 * found.utilization
        half, whole = f"{share / 2:.1f}%", f"{share:.1f}%"
        clusters = [*(f"cluster_{i}" for i in range(CLUSTERS.get(hw_arch, 8))), "Total"]
        rows += [f"| {cluster:<9} | {half:<19} | {whole:<19} | {whole:<18} |" for cluster in clusters]
        for row in [*rows, rule]:
            logs.info(row, ALLOCATOR)


def profile(hn: Mapping[str, Any], hw_arch: str, found: Allocation) -> dict[str, Any]:
    """Return what the profiler returns. The numbers follow from the network's operations by a rule of the double's."""
    seconds = found.operations / OPERATIONS_PER_SECOND.get(hw_arch, 13e12) + 1e-4 * len(found.contexts)
    edges = {"input_layer": 0, "output_layer": 0}
    for layer in hn["layers"].values():
        if layer["type"] in edges:
            edges[layer["type"]] += prod(layer["output_shapes"][0][1:])
    stats = {
        "model_name": hn["name"],
        "hw_arch": hw_arch,
        "fps": round(1 / seconds, 3),
        "number_of_contexts": len(found.contexts),
        "total_ops_per_frame": found.operations,
        "total_weights": found.weights,
        "input_bandwidth_bytes_per_second": round(edges["input_layer"] / seconds),
        "output_bandwidth_bytes_per_second": round(edges["output_layer"] / seconds),
        "emulated": True,
    }
    return {"stats": stats, "latency_data": {"overall_latency_ms": round(1000 * seconds, 4)}, "accuracy_data": {}}
