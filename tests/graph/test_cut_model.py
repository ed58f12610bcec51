"""The whole room on small hand-made heads: what it finds, what it writes, what it proves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from build_rules.errors import InputError
from build_rules.graph import split_model
from build_rules.records.split_json import Endpoint
from build_rules.trainer.read_document import read_document
from tests.graph import graphs
from tests.graph.graphs import (
    BINS,
    CLASSES,
    DETECTION,
    WRITINGS,
    Builder,
    cut_of,
    detection,
    document,
    hint,
    save,
    split,
)


def tensors(path: Path) -> dict[str, str]:
    return {endpoint.name: endpoint.tensor for endpoint in split(path).endpoints}


MAPS = {"boxes_0": "box_map_8", "boxes_1": "box_map_16", "scores_0": "score_map_8", "scores_1": "score_map_16"}


@pytest.mark.parametrize(("kind", "opset", "order"), WRITINGS)
def test_ends_at_the_last_layer_of_every_scale(tmp_path: Path, kind: str, opset: int, order: str) -> None:
    found = split(save(detection(kind, opset, order), tmp_path))
    encoding = "direct" if kind == "direct" else "dfl"
    width = 4 if kind == "direct" else 4 * BINS
    assert found.endpoints == (
        Endpoint("boxes_0", "boxes", 0, 8, "box_map_8", "box_map_8", (1, width, 4, 4), encoding, None),
        Endpoint("boxes_1", "boxes", 1, 16, "box_map_16", "box_map_16", (1, width, 2, 2), encoding, None),
        Endpoint("scores_0", "scores", 0, 8, "score_map_8", "score_map_8", (1, CLASSES, 4, 4), None, "sigmoid"),
        Endpoint("scores_1", "scores", 1, 16, "score_map_16", "score_map_16", (1, CLASSES, 2, 2), None, "sigmoid"),
    )
    assert found.proof is not None
    assert found.proof.max_abs_error == 0.0


def test_role_follows_from_the_data_flow_not_from_the_channel_count(tmp_path: Path) -> None:
    same = document(hint(("boxes", 0, 4), ("scores", 4, 4 + 4 * BINS)))
    path = save(detection(classes=4 * BINS, metadata=same), tmp_path)
    assert tensors(path) == MAPS


def test_boundary_order_is_the_order_of_the_document(tmp_path: Path) -> None:
    b = Builder()
    maps = {name: [b.conv("image", 3, 2, s, f"{name}_{s}") for s in (16, 8)] for name in ("late", "early")}
    joined = [b.op("Concat", *(b.reshape(m, 1, 2, -1) for m in names), axis=2) for names in maps.values()]
    b.op("Concat", joined[1], joined[0], axis=1, name="output0")
    path = save(b.model("output0", document=document(hint(("early", 0, 2), ("late", 2, 4)))), tmp_path)
    assert list(tensors(path)) == ["early_0", "early_1", "late_0", "late_1"]
    assert list(tensors(path).values()) == ["early_8", "early_16", "late_8", "late_16"]


def test_cut_model_computes_the_endpoints_and_nothing_else(tmp_path: Path) -> None:
    path = save(detection(), tmp_path)
    split(path)
    model = cut_of(path)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Conv"] * 4
    assert len(model.graph.initializer) == 4
    assert [value.name for value in model.graph.output] == list(MAPS.values())
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"image": graphs.image()})
    assert [output.shape for output in outputs] == [(1, 16, 4, 4), (1, 16, 2, 2), (1, 5, 4, 4), (1, 5, 2, 2)]


def test_metadata_of_the_source_leaves_no_trace(tmp_path: Path) -> None:
    plain, noisy = detection(), detection()
    noisy.producer_name, noisy.producer_version, noisy.doc_string = "other", "9", "text"
    noisy.model_version, noisy.domain, noisy.graph.name, noisy.graph.doc_string = 7, "here", "other", "text"
    described = json.dumps({**DETECTION, "description": "another", "host": {"session": "t-1"}})
    onnx.helper.set_model_props(noisy, {"edgefirst": described, "author": "someone"})
    for node in noisy.graph.node:
        node.doc_string = "trace"
        node.metadata_props.add(key="stack", value="trace")
    for tensor in noisy.graph.initializer:
        tensor.doc_string = "weights"
    noisy.graph.input[0].doc_string = "image"
    noisy.graph.metadata_props.add(key="k", value="v")
    first, second = save(plain, tmp_path, "a.onnx"), save(noisy, tmp_path, "b.onnx")
    assert split(first) == split(second)
    assert first.with_suffix(".cut").read_bytes() == second.with_suffix(".cut").read_bytes()


def test_external_weights_give_the_same_cut(tmp_path: Path) -> None:
    model = detection()
    inside, cut = save(model, tmp_path), tmp_path / "outside.cut"
    expected = split_model(inside, "m", tmp_path / "inside.cut")
    onnx.save_model(
        model, tmp_path / "outside.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    outside = split_model(tmp_path / "outside.onnx", "m", cut)
    assert outside.split == expected.split
    assert cut.read_bytes() == (tmp_path / "inside.cut").read_bytes()
    assert (outside.external_files, expected.external_files) == ((tmp_path / "weights.bin",), ())


def test_nodes_without_names_get_one(tmp_path: Path) -> None:
    model = detection()
    for node in model.graph.node:
        node.name = ""
    endpoints = split(save(model, tmp_path)).endpoints
    assert [endpoint.node for endpoint in endpoints] == list(MAPS.values())


def test_unsorted_nodes_are_sorted(tmp_path: Path) -> None:
    model = detection()
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert tensors(save(model, tmp_path)) == MAPS


def test_further_samples_are_proved_too(tmp_path: Path) -> None:
    path = save(detection(), tmp_path)
    proof = split(path, samples=lambda image, facts: [graphs.image(1), np.zeros(image.shape, np.float32)]).proof
    assert proof is not None
    assert proof.inputs == 3
    with pytest.raises(InputError, match="cannot be run"):
        split(path, samples=lambda image, facts: [np.zeros((1, 3, 8, 8), np.float32)])


def test_local_functions_are_inlined(tmp_path: Path) -> None:
    model = detection()
    silu = onnx.helper.make_function(
        "local",
        "SiLU",
        ["x"],
        ["y"],
        [onnx.helper.make_node("Sigmoid", ["x"], ["s"]), onnx.helper.make_node("Mul", ["x", "s"], ["y"])],
        [onnx.helper.make_opsetid("", 17)],
    )
    model.functions.append(silu)
    model.opset_import.append(onnx.helper.make_opsetid("local", 1))
    model.graph.node.insert(0, onnx.helper.make_node("SiLU", ["image"], ["activated"], domain="local", name="f"))
    for node in model.graph.node[1:]:
        if node.op_type == "Conv" and node.input[0] == "image":
            node.input[0] = "activated"
    path = save(model, tmp_path)
    assert tensors(path) == MAPS
    assert not cut_of(path).functions


def test_image_with_channels_last(tmp_path: Path) -> None:
    b = Builder(image=(1, 32, 32, 3))
    moved = b.op("Transpose", "image", perm=[0, 3, 1, 2])
    b.op("Sigmoid", b.conv(moved, 3, 2, 8, "map"), name="output0")
    found = split(save(b.model("output0", document=document(hint(("scores", 0, 2)))), tmp_path))
    assert (found.input.layout, found.input.height, found.input.channels) == ("nhwc", 32, 3)
    assert [endpoint.name for endpoint in found.endpoints] == ["scores"]


def test_error_names_the_file(tmp_path: Path) -> None:
    b = Builder()
    b.op("Tanh", b.reshape(b.conv("image", 3, 2, 8), 1, 2, -1), name="output0")
    path = save(b.model("output0"), tmp_path)
    with pytest.raises(InputError) as caught:
        split(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: there is no way to tell where to cut")
    assert "'output0' [1, 2, 16]" in message


def test_document_of_a_bare_model_is_empty(tmp_path: Path) -> None:
    source = read_document(save(detection(metadata=None), tmp_path))
    assert (source.content, source.labels, source.key) == ({}, (), None)
