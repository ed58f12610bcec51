"""Graph outputs without a split hint: prototypes, segmentation maps, raw anchor grids.

Such an output is one feature map already, perhaps with its channels moved last, resized to the input, or activated. The
endpoint is the map below those; what was peeled off remains in the tail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx

from build_rules.errors import InputError
from build_rules.graph.view import GraphView
from build_rules.graph.walk import Beginning

__all__ = ["whole_output"]

PEELED = {"Transpose": None, "Identity": None, "Resize": None, "Sigmoid": "sigmoid", "Softmax": "softmax"}
CHANNELS_LAST = [0, 2, 3, 1]


def whole_output(view: GraphView, output: str, document: Mapping[str, Any]) -> tuple[str, str | None, Beginning]:
    """Return the role, the encoding and the tensor of an unsplit output.

    Raises `InputError` when it is no feature map.
    """
    tensor, activation = output, None
    while (node := view.producer(tensor)) is not None and _is_peeled(view, node):
        # The first operator after the cut is the last one peeled; only layout may lie between.
        activation = activation if node.op_type in ("Transpose", "Identity") else PEELED[node.op_type]
        tensor = node.input[0]
    if node is None or view.stride(tensor) is None:
        raise InputError(
            f"the output '{output}' with shape {view.shape_text(output)} has no split hint and is no feature map "
            f"[1, C, H, W] of the {view.input.width}x{view.input.height} input; add a split hint for it, or export the "
            "model without it."
        )
    role, encoding = _role(document, output)
    channels = view.shapes[tensor][1]
    return role, encoding, Beginning(tensor, node.name, node.op_type, (0, channels), activation, False)


def _is_peeled(view: GraphView, node: onnx.NodeProto) -> bool:
    if node.op_type not in PEELED or node.input[0] not in view.image_tensors:
        return False
    if node.op_type == "Transpose":
        return any(list(a.ints) == CHANNELS_LAST for a in node.attribute if a.name == "perm")
    return True


def _role(document: Mapping[str, Any], output: str) -> tuple[str, str | None]:
    """Return role and encoding from the document's `outputs[]` entry of that name; `protos` when there is none."""
    outputs = document.get("outputs")
    for entry in outputs if isinstance(outputs, list) else ():
        if isinstance(entry, dict) and entry.get("name") == output and isinstance(entry.get("type"), str):
            if entry.get("encoding") == "anchor":
                return "anchor", "anchor"
            return entry["type"], None
    return "protos", None
