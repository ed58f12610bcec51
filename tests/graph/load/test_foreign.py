"""What no compiler of float networks takes is refused where its node is known; what only looks like it is cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from build_rules.errors import InputError
from build_rules.graph import split_model
from build_rules.records.choices import EndpointGroup, SplitChoice
from tests.graph.graphs import STRIDES, cut_of, detection, save, split

MICROSOFT = "com.microsoft"
Nodes = Sequence[onnx.NodeProto]


def node(kind: str, inputs: str, output: str, domain: str = "", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), output.split(), name=f"/{kind}", domain=domain, **attributes)


def constants() -> list[onnx.TensorProto]:
    values = {
        "scale": np.float32(0.1), "zero": np.uint8(128), "weights": np.ones((3, 3, 1, 1), np.int8),
        "zero_weight": np.int8(0), "two": np.float32(2), "low": np.float32(0), "fine": np.float64(2),
        "stem_weight": np.full((3, 3, 1, 1), 0.3, np.float32), "kernel": np.full((3, 3, 1, 1), 0.3, np.float32),
    }  # fmt: skip
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]


def with_layers(*layers: onnx.NodeProto, source: onnx.ModelProto | None = None) -> onnx.ModelProto:
    """A detector behind whose first convolution, `stem`, there are `layers`, the last of which gives `made`."""
    model = source or detection()
    for each in model.graph.node:
        each.input[:] = ["made" if name == "image" else name for name in each.input]
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(
        [helper.make_node("Conv", ["image", "stem_weight"], ["stem"], name="/stem"), *layers, *rest]
    )
    model.graph.initializer.extend(constants())
    if any(each.domain for each in layers):
        model.opset_import.append(helper.make_opsetid(next(each.domain for each in layers if each.domain), 1))
    return model


QUANTIZE = node("QuantizeLinear", "stem scale zero", "q")
DEQUANTIZE = node("DequantizeLinear", "q2 scale zero", "made")
QUANTIZED: dict[str, tuple[Nodes, str]] = {
    "qdq": ([QUANTIZE, node("DequantizeLinear", "q scale zero", "made")], "/QuantizeLinear"),
    "qoperator": (
        [QUANTIZE, node("QLinearConv", "q scale zero weights scale zero_weight scale zero", "q2"), DEQUANTIZE],
        "/QuantizeLinear",
    ),
    "dynamic": (
        [
            node("DynamicQuantizeLinear", "stem", "q s z"),
            node("ConvInteger", "q weights z", "whole"),
            node("Cast", "whole", "real", to=1),
            node("Mul", "real s", "made"),
        ],
        "/DynamicQuantizeLinear",
    ),
    "qdq of onnxruntime": (
        [
            node("QuantizeLinear", "stem scale zero", "q", MICROSOFT),
            node("DequantizeLinear", "q scale zero", "made", MICROSOFT),
        ],
        "/QuantizeLinear",
    ),
    "operators of onnxruntime": ([node("DynamicQuantizeMatMul", "stem weights scale", "made", MICROSOFT)], "/Dynamic"),
    "weights in four bits": ([node("MatMulNBits", "stem weights scale", "made", MICROSOFT, bits=4)], "/MatMulNBits"),
    "weights of onnxruntime": (
        [node("DequantizeLinear", "weights scale zero_weight", "w", MICROSOFT), node("Conv", "stem w", "made")],
        "/DequantizeLinear",
    ),
    "training": ([node("Quant", "stem scale low two", "made", "onnx.brevitas")], "/Quant"),
}


@pytest.mark.parametrize("case", QUANTIZED)
def test_quantized_graphs(tmp_path: Path, case: str) -> None:
    layers, first = QUANTIZED[case]
    with pytest.raises(InputError, match=rf"quantized already: node '{first}.*export the float model"):
        split(save(with_layers(*layers), tmp_path))


def test_quantized_graphs_are_refused_with_endpoints_by_hand(tmp_path: Path) -> None:
    maps = tuple(f"box_map_{stride}" for stride in STRIDES)
    choice = SplitChoice(prove=False, groups=(EndpointGroup("raw", maps),))
    path = save(with_layers(*QUANTIZED["qdq"][0]), tmp_path)
    with pytest.raises(InputError, match="quantized already"):
        split_model(path, "m", tmp_path / "cut.onnx", choice)


def test_a_quantized_head_alone(tmp_path: Path) -> None:
    model = with_layers(node("Relu", "stem", "made"))
    place = next(i for i, each in enumerate(model.graph.node) if each.name == "box_map_8")
    model.graph.node[place].output[0] = "before"
    for index, (kind, inputs, output) in enumerate(
        (("QuantizeLinear", "before scale zero", "q"), ("DequantizeLinear", "q scale zero", "box_map_8"))
    ):
        model.graph.node.insert(place + 1 + index, node(kind, inputs, output))
    with pytest.raises(InputError, match="quantized already: node '/QuantizeLinear'"):
        split(save(model, tmp_path))


@pytest.mark.parametrize("kinds", [("FusedConv",), ("QuickGelu", "BiasGelu"), ("SkipLayerNormalization", "Gelu")])
def test_files_of_a_runtimes_optimizer(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    layers = [node(kind, name, made, MICROSOFT) for kind, name, made in zip(kinds, ("stem", "a"), ("a", "b"))]  # noqa: B905
    layers[-1].output[0] = "made"
    with pytest.raises(InputError) as caught:
        split(save(with_layers(*layers), tmp_path))
    assert f"({', '.join(kinds)}; the first is node '/{kinds[0]}')" in str(caught.value)
    assert "give the file from before the optimization" in str(caught.value)


TYPES: dict[str, tuple[Nodes, str, str]] = {
    "double": ([node("Cast", "stem", "d", to=11), node("Cast", "d", "made", to=1)], "/Cast", "DOUBLE"),
    "double arithmetic": (
        [node("Cast", "stem", "d", to=11), node("Mul", "d fine", "e"), node("Cast", "e", "made", to=1)],
        "/Cast",
        "DOUBLE",
    ),
    "integers": ([node("Cast", "stem", "i", to=7), node("Cast", "i", "made", to=1)], "/Cast", "INT64"),
    "comparison": ([node("Greater", "stem low", "b"), node("Cast", "b", "made", to=1)], "/Greater", "BOOL"),
    "choice": ([node("Greater", "stem low", "b"), node("Where", "b stem low", "made")], "/Greater", "BOOL"),
}


@pytest.mark.parametrize("case", TYPES)
def test_other_types_between_layers(tmp_path: Path, case: str) -> None:
    layers, first, told = TYPES[case]
    with pytest.raises(InputError, match=rf"node '{first}' .*{told} .*float32"):
        split(save(with_layers(*layers), tmp_path))


def _double_tail() -> onnx.ModelProto:
    model = with_layers(node("Relu", "stem", "made"))
    last = model.graph.node[-1]
    last.output[0] = "before"
    model.graph.node.append(node("Cast", "before", "wide", to=11))
    model.graph.node.append(node("Mul", "wide fine", "twice"))
    model.graph.node.append(node("Div", "twice fine", "back"))
    model.graph.node.append(node("Cast", "back", "output0", to=1))
    for index, each in enumerate(model.graph.node):
        each.name = f"{each.name}{index}"
    return model


def _shape_arithmetic() -> onnx.ModelProto:
    shape = node("Shape", "stem", "whole")
    return with_layers(shape, node("Cast", "whole", "same", to=7), node("Reshape", "stem same", "made"))


def _weights_in_bytes() -> onnx.ModelProto:
    return with_layers(
        node("DequantizeLinear", "weights scale zero_weight", "wide_weight"), node("Conv", "stem wide_weight", "made")
    )


def _unused_mask() -> onnx.ModelProto:
    return with_layers(node("Dropout", "stem", "made mask"))


@pytest.mark.parametrize("make", [_double_tail, _shape_arithmetic, _weights_in_bytes, _unused_mask])
def test_what_is_no_fault(tmp_path: Path, make: Callable[[], onnx.ModelProto]) -> None:
    path = save(make(), tmp_path)
    found = split(path)
    assert [e.tensor for e in found.endpoints] == [f"{role}_map_{s}" for role in ("box", "score") for s in STRIDES]
    assert {value.type.tensor_type.elem_type for value in cut_of(path).graph.output} == {TensorProto.FLOAT}
