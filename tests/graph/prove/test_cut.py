from __future__ import annotations

from pathlib import Path

import onnxruntime
from onnx import TensorProto, helper

from build_rules.graph.prove.cut import cut_graph, part_of
from build_rules.onnx_file.write import model_content
from tests.graph.graphs import Builder, detection, image, view_of


def test_outputs_come_in_the_order_asked_for(tmp_path: Path) -> None:
    view = view_of(detection(), tmp_path)
    names = ["score_map_16", "box_map_8", "score_map_8", "box_map_16"]
    cut = cut_graph(view, names)
    assert [value.name for value in cut.graph.output] == names
    assert [value.name for value in cut.graph.input] == ["image"]


def test_keeps_what_a_branch_captures(tmp_path: Path) -> None:
    b = Builder()
    b.conv("image", 3, 2, 8, "map")
    hidden = b.weight([[[[2.0]]]])
    branches = {}
    for name, kind in (("then_branch", "Mul"), ("else_branch", "Add")):
        node = helper.make_node(kind, ["map", hidden], [name], doc_string="trace")
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, 4, 4])
        branches[name] = helper.make_graph([node], name, [], [value])
    b.op("If", b.weight(True, bool), name="chosen", **branches)
    view = view_of(b.model(("chosen", [1, 2, 4, 4])), tmp_path)
    cut = cut_graph(view, ["chosen"])
    assert hidden in {tensor.name for tensor in cut.graph.initializer}
    assert b"trace" not in cut.SerializeToString()
    session = onnxruntime.InferenceSession(model_content(cut, view.files), providers=["CPUExecutionProvider"])
    assert session.run(None, {"image": image()})[0].shape == (1, 2, 4, 4)


def test_leaves_out_operator_sets_that_only_the_tail_needs(tmp_path: Path) -> None:
    model = detection()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    cut = cut_graph(view_of(model, tmp_path), ["box_map_8"])
    assert [(entry.domain, entry.version) for entry in cut.opset_import] == [("", 17)]


def test_old_models_need_not_list_weights_as_inputs(tmp_path: Path) -> None:
    model = detection(opset=11)
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    cut = cut_graph(view_of(model, tmp_path), ["box_map_8"])
    assert (cut.ir_version, [value.name for value in cut.graph.input]) == (4, ["image"])


def test_shapes_become_constants(tmp_path: Path) -> None:
    b = Builder()
    conv = b.conv("image", 3, 2, 8)
    b.op("Reshape", conv, b.op("Shape", b.conv("image", 3, 2, 8)), name="out")
    part = part_of(view_of(b.model(("out", [1, 2, 4, 4])), tmp_path), ["image"], ["out"])
    assert [node.op_type for node in part.graph.node] == ["Conv", "Reshape"]


def test_keeps_element_types(tmp_path: Path) -> None:
    b = Builder()
    b.op("Cast", b.conv("image", 3, 2, 8), to=TensorProto.DOUBLE, name="fine")
    b.op("Cast", "fine", to=TensorProto.FLOAT, name="out")
    cut = cut_graph(view_of(b.model(("out", [1, 2, 4, 4])), tmp_path), ["fine"])
    assert cut.graph.output[0].type.tensor_type.elem_type == TensorProto.DOUBLE
