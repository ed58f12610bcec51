"""What users append: understood as they meant it, or refused with the place and the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from build_rules.alls.own_lines import NOT_FOR_USERS, OwnLines, level_of, read_own_lines
from build_rules.alls.script import Script, format_script, parse_script
from build_rules.errors import InputError
from tests.alls.test_layers import LAYERS


def read(*lines: str, samples: int = 64) -> list[str]:
    own = OwnLines("\n".join(lines), "extra.alls", "the user's")
    return format_script(Script(read_own_lines([own], LAYERS, samples))).splitlines()


def test_layers_are_translated_wherever_they_stand() -> None:
    assert read(
        "# mine",
        "quantization_param([onnx:/model.0/conv/Conv, conv2], precision_mode=a16_w16)  # both",
        "pre_quantization_optimization(activation_clipping, layers=[[onnx:/model.1/conv/Conv]], mode=percentile, "
        "clipping_values=[0.1, 99.9])",
        'shortcut("onnx:/model.0/conv/Conv", conv_slice3)',
    ) == [
        "# the user's",
        "quantization_param([net/conv1, conv2], precision_mode=a16_w16)",
        "pre_quantization_optimization(activation_clipping, layers=[[net/conv2]], mode=percentile, "
        "clipping_values=[0.1, 99.9])",
        "shortcut(net/conv1, conv_slice3)",
    ]


def test_what_a_line_adds_later_ones_may_name() -> None:
    adds = "a1 = post_quantization_optimization(finetune)"
    assert read(adds, "quantization_param(a1, precision_mode=a8_w8)")
    with pytest.raises(InputError, match=r"extra\.alls, line 1: layer 'a1' doesn't exist"):
        read("quantization_param(a1, precision_mode=a8_w8)", adds)


def test_what_a_line_of_the_placement_adds_is_not_there_while_the_network_is_quantized() -> None:
    assert read("a1, a2 = defuse(conv1, 2)", "place(0, [a1, a2])")
    with pytest.raises(InputError, match=r"extra\.alls, line 2: layer 'a1' doesn't exist"):
        read("a1, a2 = defuse(conv1, 2)", "quantization_param(a1, precision_mode=a8_w8)")


@pytest.mark.parametrize("layers", ["softmax1", "[conv1, net/matmul1]", "{*}", "onnx:/attn/Softmax"])
def test_no_line_brings_a_softmax_or_a_product_to_16_bits(layers: str) -> None:
    attention = replace(
        LAYERS, origins={**LAYERS.origins, "net/softmax1": ("/attn/Softmax",), "net/matmul1": ("/attn/MatMul",)}
    )
    line = f"quantization_param({layers}, precision_mode=a16_w16)"
    back = "quantization_param([softmax1, matmul1], precision_mode=a8_w8)"
    with pytest.raises(InputError, match=r"extra\.alls, line 2: net/(softmax|matmul)1 cannot have 16 bits"):
        read_own_lines([OwnLines(f"# wide\n{line}", "extra.alls", "")], attention, 64)
    places = [OwnLines(line, "extra.alls", ""), OwnLines(back, "model.toml", "")]
    assert len(read_own_lines(places, attention, 64)) == 2


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("quantization_param(conv3, precision_mode=a16_w16)", "layer 'conv3' doesn't exist in the HN of 'net'"),
        ("quantization_param({dw*}, precision_mode=a16_w16)", "matches no layer"),
        ("quantization_param([conv1, onnx:zzz], precision_mode=a16_w16)", "no layer comes from an ONNX node 'zzz'"),
        ("shortcut(onnx:/split, conv1)", "2 layers come from"),
        ("pre_quantization_optimization(equalization, layers=[conv3])", "layer 'conv3' doesn't exist"),
        ("post_quantization_optimization(finetune, loss_layer_names=[conv3])", "layer 'conv3' doesn't exist"),
        ("quantisation_param(conv1, precision_mode=a16_w16)", "did you mean quantization_param?"),
        ("resource_param(max_utilization=0.8)", "did you mean resources_param?"),
        ("performance_param(compiler_optimisation_level=max)", "No argument named 'compiler_optimisation_level'"),
        ("performance_param(compiler_optimization_level=5)", "choose one of: 0, 1, 2, max"),
        ("context_switch_param(mode=alowed)", "mode=alowed is not possible; choose one of: allowed, enabled"),
        ("quantization_param(conv1, precision_mode=a16_w1)", "choose one of: a8_w8, a8_w4, a16_w16, a8_w8_a16"),
        ("quantization_param(conv1, precision_mod=a16_w16)", "No argument named 'precision_mod'"),
        ("model_optimization_flavor(optimization_level=1, optimization_level=2)", "is given twice"),
        (
            "model_optimization_config(calibration, calibset_size=1e3)",
            "calibset_size=1000.0 is not possible; choose a whole",
        ),
        ("model_optimization_config(calibration, calibset_size=65)", "calibset_size=65 asks for more than the 64"),
        ("post_quantization_optimization(finetune, dataset_size=1024)", "dataset_size=1024 asks for more than the 64"),
        ("quantization_param(conv1", "expected"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(line: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        read("# a comment", line)
    assert str(caught.value).startswith("extra.alls, line 2: ")
    assert told in str(caught.value)


def test_a_range_is_not_decided_twice() -> None:
    line = OwnLines("quantization_param({conv*}, force_range_out=[0.0, 1.0])", "extra.alls", "")
    assert read_own_lines([line], LAYERS, 64)
    with pytest.raises(InputError, match=r"extra\.alls, line 1: net/conv2 has its activation folded into the chip"):
        read_own_lines([line], LAYERS, 64, folded=["net/conv2"])


def test_where_nobody_knows_more_than_the_table_what_is_not_in_it_is_refused() -> None:
    for line in ("frobnicate(conv1)", "post_quantization_optimization(frobnicate)", "hef_param(frobnicate=1)"):
        own = OwnLines(line, "extra.alls", "")
        assert read_own_lines([own], LAYERS, 64)
        with pytest.raises(InputError, match=r"extra\.alls, line 1: .*'frobnicate'.*; known are: "):
            read_own_lines([own], LAYERS, 64, known_only=True)


@pytest.mark.parametrize("command", NOT_FOR_USERS)
def test_what_the_build_promises_is_not_for_a_line_to_change(command: str) -> None:
    with pytest.raises(InputError) as caught:
        read(f"{command}(conv1, sigmoid)")
    assert f"extra.alls, line 1: {command} is not for a line of your own: {NOT_FOR_USERS[command]}." == str(
        caught.value
    )


def test_a_command_that_is_like_no_known_one_is_left_to_the_compiler() -> None:
    """A newer compiler may have it."""
    assert read("frobnicate(conv99)")[-1] == "frobnicate(conv99)"


def test_sizes_that_the_data_bears() -> None:
    assert read("model_optimization_config(calibration, calibset_size=64)")


def test_the_level_that_is_asked_for() -> None:
    assert level_of(parse_script("model_optimization_flavor(compression_level=1)").statements) is None
    text = "model_optimization_flavor(optimization_level=3)\nmodel_optimization_flavor(optimization_level=0)"
    assert level_of(parse_script(text).statements) == 0


def test_comments_stay_with_the_user() -> None:
    """One that is edited must not quantize a network again."""
    line = "quantization_param(conv1, precision_mode=a8_w8)"
    assert read("# one", f"{line}  # two") == read(line) == ["# the user's", line]


def test_what_nobody_writes_is_refused_in_time_and_in_few_words() -> None:
    with pytest.raises(InputError, match=r"extra\.alls: 4097 lines of a model script; at most 4096 are read"):
        read(*(f"f{number}()" for number in range(4097)))
    for line in ("quantization_param(onnx:{}, a=1)", "quantization_param({}, a=1)", "quantization_param({{{}}}, a=1)"):
        with pytest.raises(InputError) as caught:
            read(line.format("x" * 1_000_000))
        assert len(str(caught.value)) < 600


def test_no_lines() -> None:
    assert read("", "# nothing") == []
