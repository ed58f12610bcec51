"""Graphs that cannot be cut: what they are, by structure, and what to export instead."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from build_rules.errors import InputError
from build_rules.graph.attention import find_attention
from build_rules.graph.view import GraphView, nodes_before_outputs

__all__ = ["refuse_uncuttable", "rounded_stride", "uneven_size", "way_ends"]

SUPPRESSION = "NonMaxSuppression"
CONVOLUTIONS = ("Conv", "ConvTranspose")
LARGEST_STRIDE = 32
STRIDES = (2, 4, 8, 16, 32, 64, 128)


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
    height, width = view.input.height, view.input.width
    strides = {name: stride for name in maps if (stride := rounded_stride(view, name)) is not None}
    uneven = [name for name, stride in strides.items() if view.stride(name) != stride]
    if not uneven:
        return None
    step = max(LARGEST_STRIDE, *strides.values())
    wrong = [f"{side} {size}" for side, size in (("height", height), ("width", width)) if size % step]
    fitting = [[fit for fit in (size // step * step, -(-size // step) * step) if fit] for size in (height, width)]
    choices = [" or ".join(map(str, dict.fromkeys(fits))) for fits in fitting]
    verb = "is no multiple" if len(wrong) == 1 else "are no multiples"
    largest = max(uneven, key=lambda name: strides[name])
    return InputError(
        f"the input is {width}x{height} pixels (width x height), and its {' and '.join(wrong)} {verb} of the strides "
        f"of the head: the map '{largest}' {view.shape_text(largest)} (stride {strides[largest]}) has a rounded size, "
        f"and no decoder can tell where its cells lie; export the model at a size of multiples of {step}: height "
        f"{choices[0]}, width {choices[1]} (Ultralytics: imgsz={fitting[0][-1]},{fitting[1][-1]}, the height first)."
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
