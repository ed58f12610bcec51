"""The float network that gives what is to be known of its tensors instead of the tensors.

YOLOv8n at 640x640 has 100 MB of them for each sample: reduced where they are made, they need neither be held until the
network has run nor be copied out of the layout that its convolutions work in.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from build_rules.compilers.emulator.network import Floats, Network
from build_rules.compilers.emulator.qdq import float_model
from build_rules.compilers.emulator.quantization_plan import Plan

__all__ = ["Reduced", "observing_model", "read_reduced", "step_over"]

LOW, HIGH, SOME, MEANS = "low", "high", "some", "means"


@dataclass(frozen=True)
class Reduced:
    """What is known of one tensor on one sample; of one that is only read by layers with a kernel, the means alone.

    `means` are along axis 1; a NaN anywhere makes one of them NaN.
    """

    low: float | None
    high: float | None
    some: Floats | None
    means: Floats


def observing_model(
    network: Network, plan: Plan, names: Sequence[str], whole: Collection[str], keep: int
) -> onnx.ModelProto:
    """Return a network that takes an image and a shift, and gives a `Reduced` of each tensor (`read_reduced`).

    Of those that are not in `whole` it gives the means alone.
    """
    model = float_model(network, plan, names, delivers=False)
    graph = model.graph
    del graph.output[:]
    graph.input.append(helper.make_tensor_value_info(_shift(network), onnx.TensorProto.INT64, [1]))
    flat = f"{network.name}/seen/flat"
    graph.initializer.append(numpy_helper.from_array(np.asarray([-1], np.int64), flat))
    for number, name in enumerate(names):
        place, shape = _place(network, number), network.graph.shapes[name]
        # What has no planes is small.
        _add(graph, "GlobalAveragePool" if len(shape) == 4 else "Identity", [name], f"{place}/{MEANS}")
        graph.output.append(onnx.ValueInfoProto(name=f"{place}/{MEANS}"))
        if name in whole:
            _add(graph, "Reshape", [name, flat], f"{place}/flat")
            _reduce(graph, place, prod(shape), keep, _shift(network))
    return model


def _reduce(graph: onnx.GraphProto, place: str, size: int, keep: int, shift: str) -> None:
    _add(graph, "ReduceMin", [f"{place}/flat"], f"{place}/{LOW}", keepdims=1)
    _add(graph, "ReduceMax", [f"{place}/flat"], f"{place}/{HIGH}", keepdims=1)
    numbers = {"end": size, "axis": 0, "step": step_over(size, keep)}
    for name, number in numbers.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray([number], np.int64), f"{place}/{name}"))
    _add(graph, "Mod", [shift, f"{place}/step"], f"{place}/begin")
    _add(graph, "Slice", [f"{place}/{part}" for part in ("flat", "begin", *numbers)], f"{place}/{SOME}")
    graph.output.extend(onnx.ValueInfoProto(name=f"{place}/{part}") for part in (LOW, HIGH, SOME))


def read_reduced(
    network: Network, session: Any, names: Sequence[str], image: npt.NDArray[np.uint8], shift: int
) -> dict[str, Reduced]:
    """Run an opened observing model of the tensors `names`."""
    outputs = [output.name for output in session.get_outputs()]
    feeds = {network.input_name: image, _shift(network): np.asarray([shift], np.int64)}
    given: dict[str, Floats] = dict(zip(outputs, session.run(outputs, feeds), strict=True))
    reduced = {}
    for number, name in enumerate(names):
        place = _place(network, number)
        means = _means(given[f"{place}/{MEANS}"])
        if f"{place}/{LOW}" in given:
            low, high = (float(given[f"{place}/{part}"][0]) for part in (LOW, HIGH))
            reduced[name] = Reduced(low, high, given[f"{place}/{SOME}"], means)
        else:
            reduced[name] = Reduced(None, None, None, means)
    return reduced


def _means(value: Floats) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        means = value.mean(axis=tuple(axis for axis in range(value.ndim) if axis != 1))
    return np.asarray(means, dtype=np.float32).reshape(-1)


def step_over(size: int, keep: int) -> int:
    """Return the step that leaves about `keep` of `size` values.

    An odd step walks through all channels and columns instead of hitting the same ones again and again.
    """
    return max(1, size // keep) | 1


def _shift(network: Network) -> str:
    return f"{network.name}/seen/shift"


def _place(network: Network, number: int) -> str:
    return f"{network.name}/seen/{number}"


def _add(graph: onnx.GraphProto, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
    graph.node.append(helper.make_node(kind, inputs, [output], **attributes))
