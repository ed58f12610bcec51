"""Graphs that cannot be cut: what they are, by structure, and what to export instead."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from build_rules.errors import InputError
from build_rules.graph.load.graph_view import GraphView, nodes_before_outputs
from build_rules.graph.load.node_order import node_inputs
from build_rules.graph.tail.attention import find_attention

__all__ = ["no_fixed_shape", "refuse_uncuttable", "rounded_stride", "uneven_size", "way_ends"]

SUPPRESSION = "NonMaxSuppression"
CONVOLUTIONS = ("Conv", "ConvTranspose")
LARGEST_STRIDE = 32
STRIDES = (2, 4, 8, 16, 32, 64, 128)
JOINTS = ("Add", "Concat", "Div", "MatMul", "Mul", "Pow", "Reshape", "Split", "Sub", "Sum", "Where")
"""What always tells the shape of its output, if those of its inputs fit."""


def refuse_uncuttable(view: GraphView) -> None:
    """Raise `InputError` for box suppression inside the graph, transformers' queries, and classifiers."""
    nodes = nodes_before_outputs(view)
    for node in nodes:
        # Plug-ins of other runtimes (EfficientNMS_TRT, BatchedNMS_TRT) do the same under a domain of their own.
        if node.op_type == SUPPRESSION or (node.domain not in ("", "ai.onnx") and "NMS" in node.op_type):
            raise InputError(
                f"the graph suppresses overlapping boxes itself (node '{node.name}', {node.op_type}), which the chip "
                "cannot do; export the model without NMS (Ultralytics: nms=False). The runtime does it."
            )
    if find_attention(nodes_before_outputs(view, CONVOLUTIONS)):
        raise InputError(
            f"its outputs {_listed(view)} come from the queries of a transformer (RT-DETR, DETR), not from a map for "
            "each scale: after the last convolutions there are attention blocks, which cannot be cut off, and no "
            "EdgeFirst decoder reads such boxes; export a YOLO or ModelPack detector."
        )
    shapes = [view.shapes[name] for name in view.outputs if name in view.shapes and name in view.image_tensors]
    if shapes and all(len(shape) <= 2 for shape in shapes):
        raise InputError(
            f"this is no detector: its outputs are {_listed(view)}, one value for each class of the whole image (a "
            "classifier) and nothing for each place; export a detection or segmentation model."
        )


def way_ends(view: GraphView, start: str, node: onnx.NodeProto, tensor: str) -> InputError:
    """Return the error of a way back from the output `start` that ends where no feature map is."""
    where = f"the way back from '{start}' ends at node '{node.name}' ({node.op_type})"
    return InputError(
        f"{where}, whose output '{tensor}' with shape {view.shape_text(tensor)} is no feature map [N, C, H, W] of the "
        f"{view.input.width}x{view.input.height} input: this decode tail is not understood; export the model "
        "without post-processing (no NMS, no end-to-end head)."
    )


def uneven_size(view: GraphView, maps: Iterable[str]) -> InputError | None:
    """Return the error of an input whose sides are no multiples of the strides of `maps`, None when they are.

    A map of such an input has a rounded size, and no decoder knows where its cells lie.
    """
    strides = {name: stride for name in maps if (stride := rounded_stride(view, name)) is not None}
    uneven = [name for name, stride in strides.items() if view.stride(name) != stride]
    if not uneven:
        return None
    largest = max(uneven, key=lambda name: strides[name])
    fault = (
        f"of the strides of the head: the map '{largest}' {view.shape_text(largest)} (stride {strides[largest]}) has a "
        "rounded size, and no decoder can tell where its cells lie"
    )
    return _uneven(view, max(LARGEST_STRIDE, *strides.values()), fault)


def no_fixed_shape(view: GraphView, output: str) -> InputError:
    """Return the error of an output whose shape nothing tells: of an uneven size, another size, or of any."""
    nodes = nodes_before_outputs(view)
    # What becomes of a tensor without a shape is nobody's fault.
    first = next((n for n in nodes if any(name and name not in view.shapes for name in n.output)), None)
    if first is None or not _is_known_joint(view, first):
        return InputError(f"the output '{output}' has no fixed shape; export the model with a static shape.")
    parts = " and ".join(view.shape_text(name) for name in node_inputs(first) if name in view.image_tensors)
    if view.input.height % LARGEST_STRIDE or view.input.width % LARGEST_STRIDE:
        joint = (
            f"of the strides of the head: node '{first.name}' ({first.op_type}) cannot take {parts} of rounded sizes"
        )
        return _uneven(view, LARGEST_STRIDE, joint)
    return InputError(
        f"at {view.input.width}x{view.input.height} pixels (width x height) node '{first.name}' ({first.op_type}) "
        f"cannot take {parts}, so the output '{output}' has no fixed shape: the graph holds numbers for another size, "
        "though its input is open; give the size that it was exported for ([input] shape in model.toml), "
        "or export it at the size that you want."
    )


def _is_known_joint(view: GraphView, node: onnx.NodeProto) -> bool:
    if node.op_type not in JOINTS or not all(name in view.shapes for name in node_inputs(node)):
        return False
    return node.op_type != "Reshape" or view.constant(node.input[1]) is not None


def _uneven(view: GraphView, step: int, fault: str) -> InputError:
    height, width = view.input.height, view.input.width
    wrong = [f"{side} {size}" for side, size in (("height", height), ("width", width)) if size % step]
    fitting = [[fit for fit in (size // step * step, -(-size // step) * step) if fit] for size in (height, width)]
    choices = [" or ".join(map(str, dict.fromkeys(fits))) for fits in fitting]
    verb = "is no multiple" if len(wrong) == 1 else "are no multiples"
    nearest = f"{fitting[0][-1]}, {fitting[1][-1]}"
    return InputError(
        f"the input is {width}x{height} pixels (width x height), and its {' and '.join(wrong)} {verb} {fault}; export "
        f"the model at a size of multiples of {step}: height {choices[0]}, width {choices[1]} (Ultralytics: "
        f"imgsz={nearest.replace(' ', '')}, the height first; open sizes: [input] shape = [{nearest}] in model.toml)."
    )


def rounded_stride(view: GraphView, tensor: str) -> int | None:
    """Return the stride of a map whose sides were rounded up or down, None when it cannot be told."""
    shape = view.shapes.get(tensor, ())
    if len(shape) != 4 or shape[0] != view.batch:
        return None
    sides = ((view.input.height, shape[2]), (view.input.width, shape[3]))
    for stride in STRIDES:
        up = all(-(-size // stride) == part for size, part in sides)
        if up or all(size // stride == part for size, part in sides):
            return stride
    return None


def _listed(view: GraphView) -> str:
    return ", ".join(f"'{name}' {view.shape_text(name)}" for name in view.outputs)
