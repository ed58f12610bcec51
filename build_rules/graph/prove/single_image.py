"""A cut graph that was exported for several images at once, for one image: that is what a chip computes.

Convolutions do not know how many images there are; only sizes that are written down do (the targets of `Reshape`,
`Expand` and `Resize`). The image axis is the outermost one, so it is held by the first axis of such a target that is
larger than one, perhaps folded with others (the heads of an attention block).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx.numpy_helper import from_array

from build_rules.errors import InputError
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.load.shapes import infer_once

__all__ = ["mixed_images", "one_image"]

TARGETS = {"Reshape": 1, "Expand": 1, "Resize": 3}
"""Operators whose input of that index is a size of their output."""


def one_image(view: GraphView, cut: onnx.ModelProto) -> onnx.ModelProto:
    """Return the cut graph with one image at its input and in every output.

    Raises `InputError` when the graph mixes its images.
    """
    for node in cut.graph.node:
        place = TARGETS.get(node.op_type)
        if place is None or len(node.input) <= place or not node.input[place]:
            continue
        if node.input[0] not in view.image_tensors:
            continue
        target = view.constant(node.input[place])
        if target is None:
            raise _mixed(view, node.name)
        written = [int(size) for size in target.ravel()]
        name = f"{node.output[0]}_one_image"
        sizes = _without_batch(view, node, written)
        cut.graph.initializer.append(from_array(np.array(sizes, dtype=np.int64), name))
        node.input[place] = name
    _drop_unused(cut.graph)
    return _with_shapes(view, cut)


def _without_batch(view: GraphView, node: onnx.NodeProto, target: Sequence[int]) -> list[int]:
    shape = view.shapes.get(node.output[0], ())
    axis = next((axis for axis, size in enumerate(shape) if size > 1), None)
    if axis is None or len(shape) != len(target) or shape[axis] % view.batch:
        raise _mixed(view, node.name)
    sizes = list(target)
    if sizes[axis] > 0:
        sizes[axis] = shape[axis] // view.batch
    return sizes


def _with_shapes(view: GraphView, cut: onnx.ModelProto) -> onnx.ModelProto:
    """Write the new shapes of inputs and outputs, and check them."""
    del cut.graph.value_info[:]
    ends = [value.name for value in cut.graph.output]
    cut.graph.input[0].CopyFrom(_value(view, view.input.name))
    del cut.graph.output[:]
    cut.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ends)
    shapes = infer_once(cut).shapes
    for name in ends:
        if shapes.get(name) != (1, *view.shapes[name][1:]):
            raise _mixed(view, name)
    del cut.graph.output[:]
    cut.graph.output.extend(_value(view, name) for name in ends)
    return cut


def _value(view: GraphView, name: str) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, view.types[name], (1, *view.shapes[name][1:]))


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove the constants that only the old sizes used."""
    nodes = list(graph.node)
    used = {value.name for value in graph.output}
    kept = []
    for node in reversed(nodes):
        if used.intersection(node.output):
            used.update(node.input)
            kept.append(node)
    stored = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:]
    del graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(stored)


def _mixed(view: GraphView, where: str) -> InputError:
    return mixed_images(view, f"cannot be taken apart at '{where}'")


def mixed_images(view: GraphView, what: str) -> InputError:
    """Return the error of a graph whose images cannot be taken apart."""
    return InputError(
        f"the graph was exported for {view.batch} images at once and {what}; export the model with batch 1."
    )
