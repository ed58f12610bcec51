"""What a script asks of the outputs of a network, and what the quantization has made of it."""

from __future__ import annotations

import pytest

from build_rules.alls.script import parse_script
from build_rules.compilers.asked_outputs import asked_outputs, find_demoted
from build_rules.compilers.describe_har import HarDescription, HarLayer, HarOutput


@pytest.mark.parametrize(
    ("lines", "bits"),
    [
        ("", 8),
        ("quantization_param(output_layer1, precision_mode=a16_w16)", 16),
        ("quantization_param(net/output_layer1, precision_mode=a16_w16)", 16),
        ("quantization_param([conv7, output_layer1], precision_mode=a16_w16)", 16),
        ("quantization_param({output*}, precision_mode=a8_w8_a16)", 16),
        ("quantization_param({net/output*}, precision_mode=a16_w16)", 16),
        ("quantization_param({*}, precision_mode=a16_w16)\nquantization_param(output_layer1, precision_mode=a8_w8)", 8),
        ("quantization_param(output_layer11, precision_mode=a16_w16)", 8),
        ("quantization_param(conv1, precision_mode=a16_w16)", None),
        ("quantization_param(conv1, precision_mode=a8_w4)", 8),
        ("quantization_param(output_layer1, precision_mode=a16_w16_more)", None),
        ("quantization_param(output_layer1, bias_mode=double_scale_initialization)", 8),
    ],
)
def test_the_bits_that_a_script_asks_for(lines: str, bits: int | None) -> None:
    output = HarOutput("net/conv1", "net/output_layer1", ("/a/Conv",), (1, 4, 4, 8), None, None)
    har = HarDescription("quantized_model", "3.33.0", "hailo8", "net", None, (output,), (), None)
    (one,) = asked_outputs(har, parse_script(f"{lines}\n", "model.alls"))
    assert one.bits == bits


@pytest.mark.parametrize(
    ("lines", "activation"),
    [
        ("change_output_activation(conv1, sigmoid)", "sigmoid"),
        ("change_output_activation(net/conv1, sigmoid)\nchange_output_activation(conv1, linear)", "linear"),
        ("change_output_activation(conv2, sigmoid)", None),
    ],
)
def test_the_activation_that_a_script_folds(lines: str, activation: str | None) -> None:
    output = HarOutput("net/conv1", "net/output_layer1", ("/a/Conv",), (1, 4, 4, 8), None, None)
    har = HarDescription("quantized_model", "3.33.0", "hailo8", "net", None, (output,), (), None)
    assert asked_outputs(har, parse_script(f"{lines}\n", "model.alls"))[0].activation == activation


@pytest.mark.parametrize(
    ("output_bits", "producer_bits", "demoted"), [(16, 8, 0), (8, 8, 1), (None, 8, 0), (None, None, 0)]
)
def test_an_output_that_the_quantization_has_in_fewer_bits(
    output_bits: int | None, producer_bits: int | None, demoted: int
) -> None:
    output = HarOutput("net/conv1", "net/output_layer1", ("/a/Conv",), (1, 4, 4, 8), output_bits or producer_bits, None)
    layers = (
        HarLayer("net/conv1", "conv", (), ("/a/Conv",), (1, 4, 4, 8), producer_bits, None),
        HarLayer("net/output_layer1", "output_layer", ("net/conv1",), (), (1, 4, 4, 8), output_bits, None),
    )
    har = HarDescription("quantized_model", "3.33.0", "hailo8", "net", None, (output,), layers, None)
    script = parse_script("quantization_param(output_layer1, precision_mode=a16_w16)\n", "model.alls")
    told = find_demoted(har, script)
    assert len(told) == demoted
    assert all("net/conv1 (ONNX node /a/Conv) is quantized to 8 bits, and the script asks for 16" in t for t in told)
    assert find_demoted(har, parse_script("", "model.alls")) == ()
