"""Graph outputs that are maps already: prototypes, segmentation maps, raw anchor grids.

Such an output is one feature map, perhaps with its channels moved last, resized to the input, activated, or reduced to
its best class. The endpoint is the map below those; what was peeled off remains in the tail.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import onnx

from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.tail.network_arithmetic import ACTIVATIONS
from build_rules.graph.tail.walk import Beginning
from build_rules.records.roles import ANCHOR, DETECTION, PROTOS, SEGMENTATION
from build_rules.trainer.document import TrainerDocument

__all__ = ["LAYOUT", "WholeOutput", "peel_output", "role_of_whole"]

PEELED = ("Transpose", "Identity", "Cast", "Resize", "Sigmoid", "Softmax", "ArgMax", "Squeeze")
OF_CLASSES = frozenset(("ArgMax", "Softmax", "Resize"))
LAYOUT = ("Transpose", "Identity", "Cast")
CHANNELS_LAST = [0, 2, 3, 1]
GRID_NAMES = ("detection_grid", DETECTION)
"""What EdgeFirst calls the raw grid of an anchor head: in split hints, and in `outputs[]`."""


@dataclass(frozen=True)
class WholeOutput:
    """An output, the map it is made of, and the operators between them."""

    output: str
    map: Beginning
    peeled: tuple[str, ...]


def peel_output(view: GraphView, output: str) -> WholeOutput | None:
    """Return the map that an output is, None when it is made in another way."""
    tensor, peeled = output, []
    while (node := view.producer(tensor)) is not None and _is_peeled(view, node, _moved(view, tensor)):
        peeled.append(node.op_type)
        tensor = node.input[0]
    if node is None or view.stride(tensor) is None or tensor not in view.image_tensors:
        return None
    # What stands right behind the map is applied to it first; only layout may lie between.
    first = next((kind for kind in reversed(peeled) if kind not in LAYOUT), "")
    channels = (0, view.shapes[tensor][1])
    activation = ACTIVATIONS.get(first)
    beginning = Beginning(tensor, node.name, node.op_type, channels, activation, False)
    return WholeOutput(output, replace(beginning, activations=frozenset([activation])), tuple(peeled))


def _moved(view: GraphView, tensor: str) -> bool:
    """Say whether the channels of a tensor were moved last: a transpose lies before it, layout and values aside."""
    while (node := view.producer(tensor)) is not None and node.op_type in PEELED:
        if node.op_type == "Transpose":
            return True
        tensor = node.input[0]
    return False


def _is_peeled(view: GraphView, node: onnx.NodeProto, moved: bool) -> bool:
    """Say whether a node may be peeled off; `moved`: its channels are the last axis."""
    if node.op_type not in PEELED or node.input[0] not in view.image_tensors:
        return False
    if node.op_type == "Softmax":
        axis = next((a.i for a in node.attribute if a.name == "axis"), -1 if view.opset >= 13 else 1)
        return axis % 4 == (3 if moved else 1)
    if node.op_type == "Transpose":
        return any(list(a.ints) == CHANNELS_LAST for a in node.attribute if a.name == "perm")
    return True


def role_of_whole(
    whole: WholeOutput, trainer: TrainerDocument, called: str | None, coefficients: Collection[int]
) -> str | None:
    """Return the role of a map, None when nothing tells it.

    The document's `outputs[]` says it, or the hint that names it (`called`). Without a word: prototypes, when the model
    has mask coefficients of as many channels (`coefficients`); a segmentation, when its tail picks or compares classes,
    or brings them to another size.
    """
    for output in trainer.outputs:
        if output.name == whole.output and output.type is not None:
            return ANCHOR if output.is_anchor_grid else output.type
    if called is not None:
        return ANCHOR if called in GRID_NAMES else called
    if whole.map.channels[1] in coefficients:
        return PROTOS
    return SEGMENTATION if OF_CLASSES.intersection(whole.peeled) else None
