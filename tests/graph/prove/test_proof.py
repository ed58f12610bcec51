from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from build_rules.errors import InputError
from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.prove.cut import cut_graph, part_of
from build_rules.graph.prove.proof import prove_cut, random_image
from build_rules.onnx_file.write import write_model
from build_rules.records.split_json import Proof
from tests.graph.graphs import CLASSES, Builder, detection, view_of

MAPS = ["box_map_8", "box_map_16", "score_map_8", "score_map_16"]


@pytest.fixture
def view(tmp_path: Path) -> GraphView:
    return view_of(detection(), tmp_path)


def prove(view: GraphView, endpoints: list[str], change: Callable[[onnx.ModelProto], None] = lambda _: None) -> Proof:
    """Prove a cut at `endpoints` whose written model was changed."""
    written = view.files.folder / "cut.onnx"
    write_model(cut_graph(view, endpoints), view.files, written)
    model = onnx.load(written)
    change(model)
    onnx.save(model, written)
    return prove_cut(view, view.files.folder / "model.onnx", written, endpoints)


def changed_weight(index: int, by: float, everywhere: bool = False) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        stored = model.graph.initializer[index]
        weight = onnx.numpy_helper.to_array(stored).copy()
        weight.flat[slice(None) if everywhere else 0] += np.float32(by)
        stored.CopyFrom(onnx.numpy_helper.from_array(weight, stored.name))

    return change


def test_accepts_the_right_cut(view: GraphView) -> None:
    assert prove(view, MAPS).inputs == 1


def test_refuses_a_cut_that_computes_something_else(view: GraphView) -> None:
    with pytest.raises(InputError) as caught:
        prove(view, MAPS, changed_weight(-1, 1.0, everywhere=True))
    assert "differs from the original output 'output0' in 20 of 180 values, most at [0, " in str(caught.value)
    assert re.search(r"\[0, [4-8], \d+\]: 0\.\d+ became [01]", str(caught.value))


def test_refuses_the_smallest_difference(view: GraphView) -> None:
    with pytest.raises(InputError, match="the cut is wrong"):
        prove(view, MAPS, changed_weight(0, 1e-3))


def test_refuses_an_incomplete_cut(view: GraphView) -> None:
    with pytest.raises(InputError, match="the cut is not complete"):
        prove(view, MAPS[:3])


def test_does_not_run_what_would_exhaust_the_machine(tmp_path: Path) -> None:
    b = Builder()
    scores = b.conv("image", 3, CLASSES, 8, "map")
    big = b.op("Expand", b.reshape(scores, 1, CLASSES, -1, 1), b.integers(1, CLASSES, 16, 1 << 28))
    b.op("ReduceMax", big, axes=[3], keepdims=0, name="output0")
    view = view_of(b.model("output0"), tmp_path)
    with pytest.raises(InputError, match=r"computes \d+ values for one image.*proof = false"):
        prove(view, ["map"])


def test_does_not_run_what_has_no_size(tmp_path: Path) -> None:
    b = Builder()
    chosen = b.op("NonZero", b.conv("image", 3, CLASSES, 8, "map"))
    b.op("Cast", chosen, to=1, name="output0")
    view = view_of(b.model(("output0", [4, 80])), tmp_path)
    with pytest.raises(InputError, match=r"the size of 'nonzero_\d+' depends on the image.*proof = false"):
        prove(view, ["map"])


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
