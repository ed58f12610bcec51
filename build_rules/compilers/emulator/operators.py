"""Which ONNX operators a chip has a layer for, under which conditions, and where that is to be seen.

Hailo publishes no such list for everybody. A row says which public thing shows the operator on the chip:

=========  ==========================================================================================================
`BRIEF`    "Hailo Dataflow Compiler Product Brief", release 3.7.0 (April 2021), chapters 2.4 and 3, as published
`ZOO`      networks of github.com/hailo-ai/hailo_model_zoo (`docs/public_models`) that consist of it, and the layers
           that their scripts name (`reduce_max_softmax1`, `ew_sub1_layer_normalization2`, `format_conversion1`)
`WIKI`     developer.ridgerun.com, "Hailo Model Scripts"
=========  ==========================================================================================================

What is in no row is refused, with a reason where one is known. The compiler itself may know more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, NoReturn

import numpy as np
import onnx

from build_rules.compilers.emulator.graph import Graph, attribute
from build_rules.errors import InputError

__all__ = ["REASONS", "SUPPORTED", "check_known", "check_operators"]

BRIEF, ZOO, WIKI = "product brief 3.7.0", "hailo_model_zoo", "developer.ridgerun.com"
IMAGE_RANK = 4
SHUFFLED_RANK = 6
"""Of the tensors between the Reshape and the Transpose by which exporters shuffle channels or pixels."""
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)

Condition = Callable[[Graph, onnx.NodeProto], "str | None"]
"""Returns what about a node no chip does; None when it can be done."""


class Operator(NamedTuple):
    """A row: where the operator is seen, what must hold of a node, and which of its inputs must be constant.

    `constant` are places of inputs; -1 stands for all but the first.
    """

    source: str
    conditions: tuple[Condition, ...] = ()
    constant: tuple[int, ...] = ()


def check_known(nodes: Iterable[onnx.NodeProto]) -> None:
    """Raise `InputError` for the first of these nodes whose operator is in no row: it is better not even run."""
    for node in nodes:
        if node.domain not in ("", "ai.onnx"):
            _refuse(node, f"it is none of ONNX's own but one of {node.domain!r}")
        if node.op_type not in SUPPORTED:
            told = "no public document and no public network shows a layer of the chip for it"
            _refuse(node, REASONS.get(node.op_type, told))


def check_operators(graph: Graph) -> None:
    """Raise `InputError` for the first node, in the order of the graph, that no chip has a layer for."""
    check_known(graph.nodes)
    for node in graph.nodes:
        row = SUPPORTED[node.op_type]
        for condition in (_has_constants, _has_rank, *row.conditions):
            if (reason := condition(graph, node)) is not None:
                _refuse(node, reason)


def _refuse(node: onnx.NodeProto, reason: str) -> NoReturn:
    raise InputError(
        f"node {node.name or node.output[0]!r}: operator {node.op_type} cannot run on the device "
        f"(UnsupportedOperation): {reason}; end the network before it ([split] endpoints in model.toml), or export it "
        "without this operator."
    )


def _has_constants(graph: Graph, node: onnx.NodeProto) -> str | None:
    places = SUPPORTED[node.op_type].constant
    for place in range(1, len(node.input)) if places == (-1,) else places:
        if place < len(node.input) and node.input[place] and node.input[place] not in graph.constants:
            return f"its input {place} ({node.input[place]!r}) is computed from the image, and must be constant"
    return None


def _has_rank(graph: Graph, node: onnx.NodeProto) -> str | None:
    most = SHUFFLED_RANK if node.op_type in ("Reshape", "Transpose") else IMAGE_RANK
    for tensor in (*node.input, *node.output):
        shape = graph.shapes.get(tensor)
        if shape is None or tensor in graph.constants:
            continue
        if len(shape) > most:
            return f"tensor {tensor!r} has {len(shape)} axes, and layers work on images, which have 4"
    return None


def _data_rank(graph: Graph, node: onnx.NodeProto) -> int:
    data = next((name for name in node.input if name in graph.shapes and name not in graph.constants), node.output[0])
    return len(graph.shapes[data])


def _axes(graph: Graph, node: onnx.NodeProto) -> tuple[int, ...]:
    """Return the axes that a node names by attribute or second input, counted from the front; empty for none."""
    axes = attribute(node, "axes", None)
    if axes is None and len(node.input) > 1 and node.input[1]:
        axes = graph.constant(node.input[1]).reshape(-1).tolist()
    if axes is None and (axis := attribute(node, "axis", None)) is not None:
        axes = [axis]
    rank = _data_rank(graph, node)
    return tuple(int(axis) % rank for axis in axes or ())


def _one_image(graph: Graph, node: onnx.NodeProto) -> str | None:
    """The axis of the batch holds images, one after the other; no layer works along it."""
    if node.op_type in ("Concat", "Split", "Softmax", "ArgMax") or node.op_type.startswith("Reduce"):
        default = {"Split": 0, "Softmax": -1}.get(node.op_type)
        rank = _data_rank(graph, node)
        axis = attribute(node, "axis", default)
        axes = _axes(graph, node) if node.op_type.startswith("Reduce") else () if axis is None else (axis % rank,)
        if 0 in axes or (node.op_type.startswith("Reduce") and not axes):
            return "it works along the axis of the batch, which holds one image after the other"
    return None


def _turns_in_image(graph: Graph, node: onnx.NodeProto) -> str | None:
    order = attribute(node, "perm", list(range(_data_rank(graph, node)))[::-1])
    return None if order[0] == 0 else f"it moves the axis of the batch (perm={list(order)})"


def _keeps_batch(graph: Graph, node: onnx.NodeProto) -> str | None:
    axes = _axes(graph, node)
    return "it takes the axis of the batch away" if 0 in axes or not axes else None


def _kernel_in_image(graph: Graph, node: onnx.NodeProto) -> str | None:
    rank = _data_rank(graph, node)
    if rank not in (3, 4):
        return f"it slides over {rank - 2} axes, and layers slide over the two of an image"
    return None


def _plain_gemm(graph: Graph, node: onnx.NodeProto) -> str | None:
    if attribute(node, "transA", 0) or attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0:
        return "it turns or weights its operands (transA, alpha, beta), and a dense layer is x * W + b"
    return None


def _plain_pool(graph: Graph, node: onnx.NodeProto) -> str | None:
    if len(node.output) > 1 and node.output[1]:
        return "it delivers where the largest values are, and a layer delivers values alone"
    if any(each != 1 for each in attribute(node, "dilations", [1])):
        return "its window has holes (dilations)"
    return None


def _plain_normalization(graph: Graph, node: onnx.NodeProto) -> str | None:
    if len([name for name in node.output if name]) > 1 or attribute(node, "training_mode", 0):
        return "it delivers statistics too, as in training; export the network for inference"
    return None


def _zero_padding(graph: Graph, node: onnx.NodeProto) -> str | None:
    mode = attribute(node, "mode", b"constant").decode()
    if mode != "constant":
        return f"it pads with what is in the image (mode {mode!r}), and layers pad with one value"
    if len(node.input) > 2 and node.input[2] and not np.isfinite(graph.constant(node.input[2])).all():
        return "it pads with a value that is no number"
    return None


def _plain_resize(graph: Graph, node: onnx.NodeProto) -> str | None:
    mode = attribute(node, "mode", b"nearest").decode()
    if mode not in ("nearest", "linear"):
        return f"it resizes with mode {mode!r}, and layers do so to the nearest pixel or linearly"
    if attribute(node, "coordinate_transformation_mode", b"") == b"tf_crop_and_resize" or attribute(
        node, "antialias", 0
    ):
        return "it crops or smooths while it resizes"
    if (
        attribute(node, "axes", None) is not None
        or attribute(node, "keep_aspect_ratio_policy", b"stretch") != b"stretch"
    ):
        return (
            "it names axes or keeps a ratio, which only newer exports do; give it the sizes or scales of all four axes"
        )
    before, after = graph.shapes[node.input[0]], graph.shapes[node.output[0]]
    if attribute(node, "coordinate_transformation_mode", b"") == b"align_corners" and not _to_whole_pixels(graph, node):
        return (
            "it aligns corners by scales that lead to no whole number of pixels, where programs differ; give it sizes"
        )
    if before[:2] != after[:2] and not graph.input_is_nhwc:
        return "it resizes the channels, and layers resize height and width"
    return None


def _to_whole_pixels(graph: Graph, node: onnx.NodeProto) -> bool:
    if len(node.input) < 3 or not node.input[2] or not (scales := graph.constant(node.input[2])).size:
        return True
    return bool(np.allclose(scales * graph.shapes[node.input[0]], graph.shapes[node.output[0]]))


def _forward(graph: Graph, node: onnx.NodeProto) -> str | None:
    if len(node.input) > 4 and node.input[4] and (graph.constant(node.input[4]) < 1).any():
        return "it walks backwards (steps below 1)"
    return None


def _to_float(graph: Graph, node: onnx.NodeProto) -> str | None:
    return None if attribute(node, "to", 1) in FLOATS else "it makes whole numbers or truth values of activations"


def _plain_dropout(graph: Graph, node: onnx.NodeProto) -> str | None:
    if len(node.input) > 2 and node.input[2] and bool(graph.constant(node.input[2]).any()):
        return "it drops values at random, as in training; export the network for inference"
    return None


_MOVES = Operator(ZOO, (_one_image,))
_ACTIVATION = Operator(BRIEF)
_REDUCTION = Operator(ZOO, (_one_image,), (1,))

SUPPORTED: Mapping[str, Operator] = {
    "Conv": Operator(BRIEF, (_kernel_in_image,), (1, 2)),
    "ConvTranspose": Operator(BRIEF, (_kernel_in_image,), (1, 2)),
    "Gemm": Operator(BRIEF, (_plain_gemm,), (2,)),
    "MatMul": Operator(ZOO),
    "BatchNormalization": Operator(BRIEF, (_plain_normalization,), (-1,)),
    "LayerNormalization": Operator(ZOO, (_plain_normalization,), (-1,)),
    "MaxPool": Operator(BRIEF, (_kernel_in_image, _plain_pool)),
    "AveragePool": Operator(BRIEF, (_kernel_in_image, _plain_pool)),
    "GlobalAveragePool": Operator(BRIEF, (_kernel_in_image,)),
    "GlobalMaxPool": Operator(ZOO, (_kernel_in_image,)),
    "Add": Operator(BRIEF),
    "Sub": Operator(ZOO),
    "Mul": Operator(BRIEF),
    "Div": Operator(ZOO),
    "Pow": Operator(ZOO, (), (1,)),
    **dict.fromkeys(("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Exp", "Sqrt"), _ACTIVATION),
    **dict.fromkeys(("HardSigmoid", "HardSwish", "Gelu", "Mish", "Softplus", "Swish", "Erf"), Operator(ZOO)),
    **dict.fromkeys(("Abs", "Neg", "Log"), Operator(ZOO)),
    "PRelu": Operator(BRIEF, (), (1,)),
    "Clip": Operator(BRIEF, (), (-1,)),
    "Softmax": Operator(BRIEF, (_one_image,)),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax"), _REDUCTION),
    "Concat": Operator(BRIEF, (_one_image,)),
    "Split": Operator(ZOO, (_one_image,), (1,)),
    "Slice": Operator(BRIEF, (_forward,), (-1,)),
    "Pad": Operator(BRIEF, (_zero_padding,), (-1,)),
    "Reshape": Operator(BRIEF, (), (1,)),
    "Flatten": Operator(BRIEF),
    "Squeeze": Operator(ZOO, (_keeps_batch,), (1,)),
    "Unsqueeze": Operator(ZOO, (), (1,)),
    "Transpose": Operator(ZOO, (_turns_in_image,)),
    "Resize": Operator(BRIEF, (_plain_resize,), (-1,)),
    "Upsample": Operator(BRIEF, (_plain_resize,), (1,)),
    "DepthToSpace": Operator(BRIEF),
    "SpaceToDepth": Operator(BRIEF),
    "Identity": Operator(ZOO),
    "Dropout": Operator(ZOO, (_plain_dropout,), (1, 2)),
    "Cast": Operator(ZOO, (_to_float,)),
}


def _because(reason: str, *operators: str) -> Iterable[tuple[str, str]]:
    return ((operator, reason) for operator in operators)


REASONS: Mapping[str, str] = dict(
    (
        *_because("it keeps a state from one step to the next", "LSTM", "GRU", "RNN", "Scan", "Loop", "If"),
        *_because(
            "it selects values by where others are, and on the chip every value goes the same way for every image",
            *("ArgMax", "ArgMin", "Compress", "Gather", "GatherElements", "GatherND", "GridSample", "MaxRoiPool"),
            *("MaxUnpool", "NonMaxSuppression", "NonZero", "OneHot", "RoiAlign", "Scatter", "ScatterElements"),
            *("ScatterND", "TopK", "Unique", "Where", "DeformConv", "AffineGrid"),
        ),
        *_because(
            "it decides between true and false",
            *("And", "Or", "Xor", "Not", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "IsNaN", "IsInf"),
        ),
        *_because("it is a rounding, and values are rounded by the quantization", "Ceil", "Floor", "Round", "Mod"),
        *_because(
            "it is quantization of another tool, and the compiler quantizes by itself; export the float network",
            *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"),
            *("QLinearConv", "QLinearMatMul"),
        ),
        *_because("it draws at random", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"),
        *_because("it copies values, and layers that need them twice read them twice", "Tile", "Expand"),
    )
)
"""Why there is no row for an operator, where that can be said in general."""
