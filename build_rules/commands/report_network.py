"""What a network and its removed tail are made of, for the picture of the cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from build_rules.errors import InputError
from build_rules.regular_file import find_fault
from build_rules.report_page.told import Network, Stage

if TYPE_CHECKING:
    import onnx

__all__ = ["tell_network"]

FURNITURE = ("input_layer", "output_layer", "const_input", "postprocess")
"""Layers of the HN that compute nothing."""


def tell_network(export: Path, split: Path, parsed: Sequence[Path], height: int) -> Network | None:
    """Return what is in the cut graph `split` and what of `export` was removed; None when one cannot be read.

    The stages are told by the first HAR of `parsed` that is there; `height` is that of the input in pixels.
    """
    from build_rules.onnx_file.skeleton import read_skeleton

    try:
        whole, cut = read_skeleton(export).graph, read_skeleton(split).graph
    except (InputError, OSError):
        return None
    tail = Counter(node.op_type for node in whole.node if node.op_type != "Constant")
    tail.subtract(node.op_type for node in cut.node if node.op_type != "Constant")
    kinds = sorted(((kind, count) for kind, count in tail.items() if count > 0), key=lambda item: (-item[1], item[0]))
    return Network(
        stages=_stages(parsed, height),
        parameters=sum(prod(tensor.dims) for tensor in cut.initializer),
        nodes=sum(node.op_type != "Constant" for node in cut.node),
        tail_nodes=sum(count for _, count in kinds),
        tail_operators=tuple(kinds),
        outputs=tuple((value.name, _shape(value)) for value in whole.output),
    )


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(int(dim.dim_value) for dim in value.type.tensor_type.shape.dim)


def _stages(parsed: Sequence[Path], height: int) -> tuple[Stage, ...]:
    """Return how many layers work at each size, the largest first."""
    from build_rules.compilers.describe_har import describe

    for har in parsed:
        try:
            layers = describe(har).layers if find_fault(har) is None else ()
        except (InputError, OSError):
            continue
        count: Counter[int] = Counter()
        convolutions: Counter[int] = Counter()
        for layer in layers:
            if layer.shape is None or layer.kind in FURNITURE or layer.shape[1] < 1:
                continue
            stride = max(1, round(height / layer.shape[1]))
            count[stride] += 1
            convolutions[stride] += "conv" in layer.kind
        if count:
            return tuple(Stage(stride, count[stride], convolutions[stride]) for stride in sorted(count))
    return ()
