"""One step backwards through the decode tail.

The tail is what a detection head does after its last layer: it reshapes, joins the scales, applies sigmoids, averages
over bins (DFL: softmax, then a product with 0, 1, 2, ...), does arithmetic with grid positions and strides, and perhaps
picks the best cells. `step_back` says for one node which parts of its inputs a part of its output comes from, or None
where the tail begins: at a layer of the network (convolution, activation, upsampling, ...), whose output is what the
chip has to deliver.

`reach.py`: what the tail does with a part of a tensor. `layout.py`, `arithmetic.py`, `selection.py`: the operators.
`network_arithmetic.py`: which arithmetic belongs to the network although it looks like decoding. The other
files of this room are in the table of `graph/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx

from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.tail.arithmetic import ARITHMETIC
from build_rules.graph.tail.layout import LAYOUT
from build_rules.graph.tail.reach import Place, Reach, Steps
from build_rules.graph.tail.selection import SELECTION

__all__ = ["Reach", "step_back"]

_HANDLERS: dict[str, Callable[[Place], Steps]] = {**LAYOUT, **ARITHMETIC, **SELECTION}
_SEVERAL_INPUTS = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Concat", "MatMul", "Conv", *SELECTION)


def step_back(view: GraphView, node: onnx.NodeProto, tensor: str, reach: Reach) -> Steps:
    """Return the inputs (tensor, use) that `reach` of the node's output `tensor` comes from, or None to stop here.

    Raises `InputError` for a node that belongs to the tail but cannot be followed.
    """
    handler = _HANDLERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if handler is None:
        return None
    place = Place(view, node, tensor, reach)
    if unknown := [name for name in (tensor, *place.data) if name not in view.shapes]:
        raise place.lost(f"the shape of '{unknown[0]}' is unknown")
    if node.op_type not in _SEVERAL_INPUTS and place.data != [place.source]:
        raise place.lost("how it works depends on the image")
    try:
        return handler(place)
    except (IndexError, KeyError, ValueError) as error:
        raise place.lost(f"its attributes do not fit its inputs ({error})") from error
