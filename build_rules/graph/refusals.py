"""Graphs that cannot be cut: what they are, by structure, and what to export instead."""

from __future__ import annotations

import onnx

from build_rules.errors import InputError
from build_rules.graph.attention import find_attention
from build_rules.graph.view import GraphView, nodes_before_outputs

__all__ = ["refuse_uncuttable", "way_ends"]

SUPPRESSION = "NonMaxSuppression"
CONVOLUTIONS = ("Conv", "ConvTranspose")


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
    shapes = [view.shapes[name] for name in view.outputs if name in view.shapes]
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


def _listed(view: GraphView) -> str:
    return ", ".join(f"'{name}' {view.shape_text(name)}" for name in view.outputs)
