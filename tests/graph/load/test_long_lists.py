from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from build_rules.errors import InputError
from tests.graph.graphs import detection, view_of


def ranged(length: int) -> list[onnx.NodeProto]:
    return [
        *(
            helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.int64(number)))
            for name, number in (("start", 0), ("end", length), ("step", 1))
        ),
        helper.make_node("Range", ["start", "end", "step"], ["long"], name="long"),
    ]


def doubled(times: int) -> list[onnx.NodeProto]:
    first = helper.make_node("Constant", [], ["c0"], value=numpy_helper.from_array(np.zeros(2, np.int64)))
    joins = [helper.make_node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0, name="long") for i in range(times)]
    return [first, *joins, helper.make_node("Identity", [f"c{times}"], ["long"])]


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(("short", "long"), [(ranged(1000), ranged(1 << 34)), (doubled(8), doubled(33))])
def test_lists_that_nobody_could_hold(
    tmp_path: Path, inside: bool, short: list[onnx.NodeProto], long: list[onnx.NodeProto]
) -> None:
    def holding(nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
        model = detection()
        if inside:
            value = helper.make_tensor_value_info("long", TensorProto.INT64, None)
            branch = helper.make_graph(nodes, "branch", [], [value])
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(True), "yes"))
            nodes = [helper.make_node("If", ["yes"], ["out_of_if"], then_branch=branch, else_branch=branch)]
        model.graph.node.extend(nodes)
        return model

    view_of(holding(short), tmp_path)
    with pytest.raises(InputError, match=r"node '(long|c20)' \((Range|Concat)\) makes a list of \d+ whole numbers"):
        view_of(holding(long), tmp_path)
