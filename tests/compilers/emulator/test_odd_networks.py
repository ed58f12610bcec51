"""Networks that are valid and unusual: names like the emulator's own, inputs left out, weights in bytes, masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from safetensors.numpy import save_file

from build_rules.compilers.emulator import qdq
from build_rules.compilers.emulator.fresh_names import reserved
from build_rules.compilers.emulator.run_hef import HostSession
from build_rules.compilers.protocol import SampleError
from build_rules.errors import InputError
from build_rules.hef import read_hef
from tests.compilers.nets import NORMAL, SIZE, Build, Net, detector, images

FAST = NORMAL + "model_optimization_flavor(optimization_level=1, compression_level=0)\n"


def renamed(model: onnx.ModelProto, names: Mapping[str, str]) -> onnx.ModelProto:
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    return model


# n0_0 is the first convolution, n1_0 its sigmoid, n2_0 their product; c0 and c1 are its kernel and bias.
NAMES = {
    "rounded": {"n4_0": "n2_0/rounded"},
    "all of a grid": {"n4_0": "n2_0/quantized", "n5_0": "n2_0/quantized/scale", "n6_0": "n2_0/quantized/zero"},
    "one of one of one": {"n4_0": "n2_0/rounded", "n5_0": "n2_0/rounded/rounded", "n6_0": "_n2_0/rounded_"},
    "layers": {"n2_0": "net/conv2", "n4_0": "net/conv1", "n5_0": "net/ew_mult1"},
    "stored": {"c0": "net/conv1/kernel", "c1": "n2_0/rounded", "c2": "net/conv1/folded_bias"},
    "outputs": {"n28_0": "net/conv1/kernel_real"},
}


@pytest.mark.parametrize("case", NAMES)
def test_tensors_may_have_any_name(tmp_path: Path, case: str) -> None:
    model, ends = detector()
    known = {name for node in model.graph.node for name in (*node.input, *node.output)}
    build = Build(tmp_path, renamed(model, {old: new for old, new in NAMES[case].items() if old in known}), ends)
    assert any(new in {n for node in build.model.graph.node for n in (*node.input, *node.output)}
               for new in NAMES[case].values())  # fmt: skip
    assert max(build.all(FAST).errors()) < 0.06


@pytest.mark.parametrize("name", ["net/input_layer1", "n2_0/rounded", "net/conv1"])
def test_the_image_may_have_any_name(tmp_path: Path, name: str) -> None:
    model, ends = detector()
    build = Build(tmp_path, renamed(model, {"images": name}), ends)
    save_file({name: images(24)}, str(build.snapshot))
    build.all(FAST)
    assert read_hef(build.hef).network_groups[0].inputs[0].original_names == (name,)


def test_a_node_may_be_called_like_a_tensor_of_another(tmp_path: Path) -> None:
    model, ends = detector()
    box, score = (next(node for node in model.graph.node if node.name == end) for end in ends[:2])
    other = next(node for node in model.graph.node if node.op_type == "MaxPool")
    other.name = box.output[0]
    score.name = ""
    ends[1] = score.output[0]
    assert max(Build(tmp_path, model, ends).all(FAST).errors()) < 0.06


def test_names_that_do_not_clash_stay() -> None:
    graph = detector()[0].graph
    graph.node[0].output[0] = "a/rounded"
    assert reserved(graph, "net") == {}


def _without_bias(net: Net) -> str:
    kernel = net.constant(net.rng.normal(0, 0.3, (8, 3, 3, 3)))
    made: str = net.op("Conv", "images", kernel, "", kernel_shape=[3, 3], pads=[1] * 4)
    return made


def _norm(net: Net, x: str) -> str:
    values = [net.constant(net.rng.uniform(0.5, 1.5, 8)) for _ in range(4)]
    made: str = net.op("BatchNormalization", x, *values)
    return made


def _deconvolution(net: Net) -> str:
    kernel = net.constant(net.rng.normal(0, 0.2, (8, 8, 2, 2)))
    made: str = net.op("ConvTranspose", _without_bias(net), kernel, "", kernel_shape=[2, 2], strides=[2, 2])
    return made


def _dense(net: Net) -> str:
    pooled = net.op("Flatten", net.op("GlobalAveragePool", _without_bias(net)))
    made: str = net.op("Gemm", pooled, net.constant(net.rng.normal(0, 0.5, (8, 6))), "")
    return net.op("Reshape", made, net.constant([1, 6, 1, 1], np.int64))  # type: ignore[no-any-return]


def _resize(net: Net, *given: str) -> str:
    mode: dict[str, Any] = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    made: str = net.op("Resize", _without_bias(net), *given, **mode)
    return made


EMPTY: dict[str, Callable[[Net], str]] = {
    "Conv": _without_bias,
    "Conv and normalization": lambda net: _norm(net, _without_bias(net)),
    "ConvTranspose": _deconvolution,
    "ConvTranspose and normalization": lambda net: _norm(net, _deconvolution(net)),
    "Gemm": _dense,
    "Clip without a lower bound": lambda net: net.op("Clip", _without_bias(net), "", net.constant(0.8)),
    "Clip without an upper bound": lambda net: net.op("Clip", _without_bias(net), net.constant(-0.2), ""),
    "Clip without bounds": lambda net: net.op("Clip", _without_bias(net), "", ""),
    "Resize by sizes": lambda net: _resize(net, "", "", net.constant([1, 8, 64, 64], np.int64)),
    "Resize by scales": lambda net: _resize(net, "", net.constant([1, 1, 2, 2]), ""),
    "Dropout": lambda net: net.op("Dropout", _without_bias(net), "", ""),
    "Slice": lambda net: net.op(
        "Slice", _without_bias(net), net.constant([0], np.int64), net.constant([16], np.int64), "", ""
    ),
}


@pytest.mark.parametrize("case", EMPTY)
def test_inputs_left_out(tmp_path: Path, case: str) -> None:
    net = Net()
    out = EMPTY[case](net)
    assert any("" in node.input for node in net.nodes)
    if case not in ("Gemm",):
        out = net.conv(out, (8, 4), k=1)
    assert max(Build(tmp_path, net.model([out]), [net.node(out)]).all(FAST).errors()) < 0.06


def test_a_bias_computed_from_the_image_is_refused(tmp_path: Path) -> None:
    net = Net()
    bias = net.op("Flatten", net.op("GlobalAveragePool", "images"))
    bias = net.op("Reshape", bias, net.constant([3], np.int64))
    out = net.op("Conv", "images", net.constant(np.ones((3, 3, 1, 1))), bias)
    with pytest.raises(InputError, match="computed from the image"):
        Build(tmp_path, net.model([out]), [net.node(out)]).parse()


def test_weights_in_bytes_are_the_floats_they_stand_for(tmp_path: Path) -> None:
    """Weight-only quantization: the kernels are stored in bytes, per tensor or per channel, and brought back."""
    model, ends = detector()
    plain, packed = onnx.ModelProto(), onnx.ModelProto()
    plain.CopyFrom(model)
    packed.CopyFrom(model)
    used = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    for index, tensor in enumerate(model.graph.initializer):
        if tensor.name not in used:
            continue
        values = numpy_helper.to_array(tensor)
        axes = (1, 2, 3) if index % 2 else None
        scales = (np.abs(values).max(axis=axes) / 127).astype(np.float32)
        shaped = scales.reshape(-1, 1, 1, 1) if index % 2 else scales
        whole = np.rint(values / shaped).astype(np.int8)
        plain.graph.initializer[index].CopyFrom(numpy_helper.from_array(whole * shaped, tensor.name))
        packed.graph.initializer[index].CopyFrom(numpy_helper.from_array(whole, f"{tensor.name}_bytes"))
        packed.graph.initializer.append(numpy_helper.from_array(scales, f"{tensor.name}_scales"))
        inputs = [f"{tensor.name}_bytes", f"{tensor.name}_scales"]
        packed.graph.node.insert(0, helper.make_node("DequantizeLinear", inputs, [tensor.name], axis=0))
    first, second = (Build(tmp_path / str(n), each, ends).all(FAST) for n, each in enumerate((plain, packed)))
    assert max(second.errors()) < 0.06
    image = np.ascontiguousarray(images(1, seed=5)[0].transpose(1, 2, 0))
    wanted = HostSession(first.hef).run(image)
    for name, value in HostSession(second.hef).run(image).items():
        np.testing.assert_array_equal(value, wanted[name])


def masked(value: float, half: bool = True) -> tuple[onnx.ModelProto, list[str]]:
    """Attention over eight columns, half of which are masked by `value`."""
    net = Net()
    x = net.op("Reshape", net.conv("images", (3, 8), stride=4), net.constant([1, 8, 64], np.int64))
    keys = net.op("Transpose", x, perm=[0, 2, 1])
    scores = net.op("Mul", net.op("MatMul", keys, x), net.constant(1.0))
    mask = np.zeros((1, 1, 64), dtype=np.float32)
    mask[..., 32 if half else 0 :] = value
    weights = net.op("Softmax", net.op("Add", scores, net.constant(mask)), axis=-1)
    seen = net.op("MatMul", x, net.op("Transpose", weights, perm=[0, 2, 1]))
    out = net.conv(net.op("Reshape", seen, net.constant([1, 8, 8, 8], np.int64)), (8, 4), k=1)
    return net.model([out]), [net.node(out)]


@pytest.mark.parametrize("value", [-np.inf, -1e4, -65504.0, -1e9, float(np.finfo(np.float32).min)])
def test_masks_are_no_fault(tmp_path: Path, value: float) -> None:
    assert max(Build(tmp_path, *masked(value)).all(FAST).errors()) < 0.03


def test_where_everything_is_masked_is_told(tmp_path: Path) -> None:
    model, ends = masked(-np.inf, half=False)
    with pytest.raises(SampleError, match=r"/Add' \(Add\) gives -infinity for calibration sample 0"):
        Build(tmp_path, model, ends).parse().optimize(FAST)


FAULTS: dict[str, tuple[Callable[[Net, str], str], str]] = {
    "root": (lambda net, x: net.op("Sqrt", x), r"/Sqrt' \(Sqrt\) gives NaN"),
    "logarithm": (lambda net, x: net.op("Log", net.op("Relu", x)), r"/Log' \(Log\) gives -infinity"),
    "division": (lambda net, x: net.op("Div", x, net.op("Relu", net.op("Neg", net.op("Abs", x)))), r"/Div' \(Div\)"),
    "exponential": (lambda net, x: net.op("Exp", net.op("Mul", x, net.constant(1e4))), r"/Exp' \(Exp\) gives infinity"),
    "weights": (
        lambda net, x: net.op("Mul", net.op("Mul", x, net.constant(3e38)), net.constant(1e4)),
        r"/Mul' \(Mul\) gives infinity",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
@pytest.mark.parametrize("masks", [False, True])
def test_where_numbers_cease_is_told(tmp_path: Path, case: str, masks: bool) -> None:
    make, told = FAULTS[case]
    net = Net()
    x = net.conv("images", (3, 8), stride=4)
    if masks:
        tokens = net.op("Reshape", x, net.constant([1, 8, 64], np.int64))
        mask = net.constant(np.where(np.arange(64) < 9, -np.inf, 0))
        x = net.op(
            "Reshape", net.op("Softmax", net.op("Add", tokens, mask), axis=-1), net.constant([1, 8, 8, 8], np.int64)
        )
        x = net.op("Sub", x, net.constant(0.01))
    out = net.conv(make(net, x), (8, 4), k=1)
    with pytest.raises(SampleError, match=told) as caught:
        Build(tmp_path, net.model([out]), [net.node(out)]).parse().optimize(FAST)
    assert caught.value.sample == 0


def test_the_sample_is_named(tmp_path: Path) -> None:
    net = Net()
    # Only where a pixel is white, the root is taken of less than nothing.
    bright = net.op("GlobalMaxPool", net.op("Sub", net.constant(0.999), "images"))
    low = net.op("Neg", net.op("GlobalMaxPool", net.op("Neg", net.op("Sub", net.constant(0.999), "images"))))
    out = net.conv(net.op("Add", net.op("Mul", "images", bright), net.op("Sqrt", low)), (3, 4), k=1)
    build = Build(tmp_path, net.model([out]), [net.node(out)])
    pixels = np.minimum(images(24), 250)
    pixels[7, 0, 3, 3] = 255
    save_file({"images": pixels}, str(build.snapshot))
    with pytest.raises(SampleError, match=r"/Sqrt' \(Sqrt\) gives NaN for calibration sample 7") as caught:
        build.parse().optimize(FAST)
    assert caught.value.sample == 7


def test_what_cannot_be_run_fails_where_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = Build(tmp_path, *detector()).parse()
    monkeypatch.setattr(qdq, "DOMAIN", "com.unheard")
    with pytest.raises(InputError, match=r"parsed\.har: the network was quantized, but its network cannot be run"):
        build.optimize(FAST)
    assert not build.har.exists()


def test_a_network_of_bytes_is_measured_on_a_black_image(tmp_path: Path) -> None:
    net = Net()
    x = net.op("Cast", "images", to=onnx.TensorProto.FLOAT)
    size = net.op("Concat", net.op("Shape", x, end=2), net.constant([SIZE * SIZE], np.int64), axis=0)
    flat = net.op("Reshape", net.op("Mul", x, net.constant(1 / 255)), size)
    out = net.conv(net.op("Reshape", flat, net.op("Shape", x)), (3, 4), k=1)
    model = net.model([out])
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    build = Build(tmp_path, model, [net.node(out)]).parse().optimize(FAST.removeprefix(NORMAL)).compile()
    assert HostSession(build.hef).run(np.zeros((SIZE, SIZE, 3), np.uint8))
