"""ONNX -> HN: which nodes become which layers, and which graphs are refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from build_rules.compilers.emulator import SDK_VERSION, Emulator
from build_rules.compilers.har_file import output_layers, read_har
from build_rules.compilers.protocol import ParseJob
from build_rules.errors import InputError
from tests.compilers.nets import Build, Net, attention, detector
from tests.shared import corpus_model, needs_shared


def parsed(folder: Path, net: Net, *ends: str) -> dict[str, Any]:
    build = Build(folder, net.model(ends), [net.node(end) for end in ends]).parse()
    return dict(read_har(build.parsed).hn["layers"])


def test_detector_layers(tmp_path: Path) -> None:
    har = read_har(Build(tmp_path, *detector()).parse().parsed)
    kinds = {name.split("/")[1]: (layer["type"], layer.get("params", {}).get("activation")) for name, layer in
             har.hn["layers"].items()}  # fmt: skip
    assert kinds["conv1"] == ("conv", "silu")
    assert kinds["dw1"] == ("dw", "silu")
    assert kinds["ew_add1"] == ("ew_add", "linear")
    assert {"feature_splitter1", "concat3", "maxpool1", "resize1", "output_layer3"} < set(kinds)
    assert "sigmoid1" not in kinds
    assert har.sdk_version == SDK_VERSION
    assert "emulated" in har.sdk_version
    assert (har.state, har.hw_arch) == ("hailo_model", "hailo8l")


def test_hn_links_and_shapes(tmp_path: Path) -> None:
    layers = read_har(Build(tmp_path, *detector()).parse().parsed).hn["layers"]
    for name, layer in layers.items():
        if layer["type"] != "output_layer":
            assert len(layer["output"]) == len(layer["output_shapes"])
        assert all(name in layers[user]["input"] for user in layer["output"])
        assert all(name in layers[source]["output"] for source in layer["input"])
    assert layers["net/input_layer1"]["output_shapes"] == [[-1, 32, 32, 3]]
    assert layers["net/conv1"]["output_shapes"][0] == [-1, 16, 16, 16]
    assert layers["net/conv1"]["params"]["kernel_shape"] == [3, 3, 3, 16]


def test_equal_shapes_resolve_by_origin(tmp_path: Path) -> None:
    model, ends = detector(scores=64, boxes=64)
    swapped = [ends[1], ends[0], ends[2]]
    hn = read_har(Build(tmp_path, model, swapped).parse().parsed).hn
    found = output_layers(hn)
    assert found[0].shape == found[1].shape
    assert [each.original_names[0] for each in found[:2]] == swapped[:2]
    # The end named by its activation belongs to the convolution it was fused into.
    assert found[2].original_names[-1] == ends[2]
    assert found[2].original_names[0].endswith("/Conv")


def test_activation_stays_apart_when_the_raw_tensor_is_used(tmp_path: Path) -> None:
    net = Net()
    raw = net.conv("images", (3, 8))
    layers = parsed(tmp_path, net, net.op("Add", net.silu(raw), raw))
    assert layers["net/conv1"]["params"]["activation"] == "linear"
    assert "net/activation1" in layers


@pytest.mark.parametrize(
    ("op", "attributes", "name"),
    [
        ("Relu", {}, "relu"),
        ("LeakyRelu", {"alpha": 0.1}, "leaky"),
        ("Sigmoid", {}, "sigmoid"),
        ("HardSwish", {}, "hardswish"),
    ],
)
def test_simple_activations(tmp_path: Path, op: str, attributes: dict[str, Any], name: str) -> None:
    net = Net()
    layers = parsed(tmp_path, net, net.op(op, net.conv("images", (3, 8)), **attributes))
    assert layers["net/conv1"]["params"]["activation"] == name
    assert len(layers) == 3


def test_batch_norm_and_identity_are_fused(tmp_path: Path) -> None:
    net = Net()
    norm = [net.constant(net.rng.uniform(0.5, 1.5, 8)) for _ in range(4)]
    normal = net.op("BatchNormalization", net.conv("images", (3, 8)), *norm)
    layers = parsed(tmp_path, net, net.op("Identity", net.silu(normal)))
    assert layers["net/conv1"]["params"] | {"batch_norm": True, "activation": "silu"} == layers["net/conv1"]["params"]
    assert len(layers["net/conv1"]["original_names"]) == 5


def test_shape_arithmetic_is_no_layer(tmp_path: Path) -> None:
    net = Net()
    x = net.conv("images", (3, 8))
    size = net.op("Gather", net.op("Shape", x), net.constant(1, np.int64), axis=0)
    half = net.op("Div", net.op("Unsqueeze", size, net.constant([0], np.int64)), net.constant([2], np.int64))
    end = net.op("Slice", x, net.constant([0], np.int64), half, net.constant([1], np.int64))
    layers = parsed(tmp_path, net, end)
    assert [layer["type"] for layer in layers.values()] == ["input_layer", "conv", "slice", "output_layer"]


def test_attention_layers(tmp_path: Path) -> None:
    types = {layer["type"] for layer in read_har(Build(tmp_path, *attention()).parse().parsed).hn["layers"].values()}
    assert {"matmul", "softmax", "spatial_splitter", "format_conversion", "normalization", "ew_add"} <= types


def test_deconvolution_and_weights(tmp_path: Path) -> None:
    net = Net()
    weight = net.rng.normal(size=(3, 5, 2, 2)).astype(np.float32)
    end = net.op("ConvTranspose", "images", net.constant(weight), strides=[2, 2], kernel_shape=[2, 2])
    har = read_har(Build(tmp_path, net.model([end]), [net.node(end)]).parse().parsed)
    assert har.hn["layers"]["net/deconv1"]["output_shapes"] == [[-1, 64, 64, 5]]
    kernel = np.load(io.BytesIO(har.member(".npz")))["net/deconv1/kernel:0"]
    np.testing.assert_array_equal(kernel, weight.transpose(2, 3, 0, 1))


def test_graph_outputs_may_be_named_instead_of_nodes(tmp_path: Path) -> None:
    model, ends = detector()
    tensors = [output.name for output in model.graph.output]
    by_tensor = read_har(Build(tmp_path / "a", model, tensors).parse().parsed)
    by_node = read_har(Build(tmp_path / "b", model, ends).parse().parsed)
    assert by_tensor.hn == by_node.hn


def test_unsupported_operator_names_node_and_operator(tmp_path: Path) -> None:
    net = Net()
    flat = net.op("Reshape", net.conv("images", (3, 8)), net.constant([1, -1], np.int64))
    values, _ = net.op("TopK", flat, net.constant([5], np.int64), outputs=2)
    build = Build(tmp_path, net.model([values]), [net.node(values)])
    with pytest.raises(InputError, match=r"split\.onnx.*/TopK'.*operator TopK cannot run"):
        build.parse()


def test_wrong_end_node_and_wrong_file(tmp_path: Path) -> None:
    model, _ = detector()
    with pytest.raises(InputError, match="'/nowhere'"):
        Build(tmp_path, model, ["/nowhere"]).parse()
    (tmp_path / "junk.onnx").write_bytes(b"\xff\xfejunk")
    with pytest.raises(InputError, match="junk"):
        Emulator().parse(ParseJob(tmp_path / "junk.onnx", "net", "hailo8", ("a",), tmp_path / "x.har"))


def test_two_ends_of_one_layer_are_refused(tmp_path: Path) -> None:
    model, ends = detector()
    with pytest.raises(InputError, match="one layer, 'net/conv6'"):
        Build(tmp_path, model, [ends[0], ends[0]]).parse()


def test_dynamic_input_is_refused(tmp_path: Path) -> None:
    model, ends = detector()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    with pytest.raises(InputError, match="fixed sizes"):
        Build(tmp_path, model, ends).parse()


def test_nan_weights_are_refused(tmp_path: Path) -> None:
    model, ends = detector()
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights.flat[0] = np.nan
    name = model.graph.initializer[0].name
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, name))
    with pytest.raises(InputError, match="NaN"):
        Build(tmp_path, model, ends).parse()


def test_same_bytes_twice(tmp_path: Path) -> None:
    first = Build(tmp_path / "a", *detector()).parse().parsed.read_bytes()
    assert first == Build(tmp_path / "b", *detector()).parse().parsed.read_bytes()


@needs_shared
def test_sixty_four_classes_beside_sixty_four_box_channels(tmp_path: Path) -> None:
    model = onnx.load(str(corpus_model("yolov8n_nc64")))
    ends = [f"/model.22/cv{kind}.{scale}/cv{kind}.{scale}.2/Conv" for kind in (2, 3) for scale in range(3)]
    found = output_layers(read_har(Build(tmp_path, model, ends).parse().parsed).hn)
    assert [each.original_names for each in found] == [(end,) for end in ends]
    assert {each.shape[-1] for each in found} == {64}
