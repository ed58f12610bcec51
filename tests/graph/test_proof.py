from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from build_rules.errors import InputError
from build_rules.graph.cut import cut_graph, part_of
from build_rules.graph.proof import prove_cut, random_image
from build_rules.graph.source import load_source
from build_rules.graph.view import GraphView, view_graph
from tests.graph.graphs import detection, save

MAPS = ["box_map_8", "box_map_16", "score_map_8", "score_map_16"]


@pytest.fixture
def view(tmp_path: Path) -> GraphView:
    source = load_source(save(detection(), tmp_path))
    return view_graph(source.model, source.input)


def test_accepts_the_right_cut(view: GraphView) -> None:
    assert prove_cut(view, cut_graph(view, MAPS), MAPS).inputs == 1


def test_refuses_a_cut_that_computes_something_else(view: GraphView) -> None:
    cut = cut_graph(view, MAPS)
    weight = onnx.numpy_helper.to_array(cut.graph.initializer[-1])
    cut.graph.initializer[-1].CopyFrom(onnx.numpy_helper.from_array(weight + 1, cut.graph.initializer[-1].name))
    with pytest.raises(InputError, match=r"differs from the original output 'output0' by up to 0\.\d+"):
        prove_cut(view, cut, MAPS)


def test_refuses_the_smallest_difference(view: GraphView) -> None:
    cut = cut_graph(view, MAPS)
    weight = onnx.numpy_helper.to_array(cut.graph.initializer[0]).copy()
    weight.flat[0] = np.nextafter(weight.flat[0], np.float32(9), dtype=np.float32) + 1e-3
    cut.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, cut.graph.initializer[0].name))
    with pytest.raises(InputError, match="the cut is wrong"):
        prove_cut(view, cut, MAPS)


def test_refuses_an_incomplete_cut(view: GraphView) -> None:
    with pytest.raises(InputError, match="the cut is not complete"):
        prove_cut(view, cut_graph(view, MAPS[:3]), MAPS[:3])


def test_the_random_image_is_always_the_same(view: GraphView) -> None:
    first, second = (random_image(view.input, onnx.TensorProto.FLOAT) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert first.min() >= 0
    assert first.max() <= 1
    assert random_image(view.input, onnx.TensorProto.UINT8).dtype == np.uint8


def test_a_part_lies_between_its_inputs_and_outputs(view: GraphView) -> None:
    part = part_of(view, ["score_map_8", "score_map_16", "box_map_8", "box_map_16"], ["output0"])
    assert "Conv" in {node.op_type for node in part.graph.node}
    assert not any(node.name in MAPS for node in part.graph.node)
    onnx.checker.check_model(part)
