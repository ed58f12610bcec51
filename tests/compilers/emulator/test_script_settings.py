"""What each command of a model script asks for: each command, feature and mode that is known, levels to their end."""

from __future__ import annotations

from typing import Any

import pytest

from build_rules.compilers.emulator.script_settings import MODES, Finetune, Precision, Settings, read_settings
from build_rules.errors import InputError

HN: dict[str, Any] = {
    "name": "net",
    "layers": {
        "net/input_layer1": {"type": "input_layer", "output": ["net/conv1"], "output_shapes": [[-1, 8, 8, 3]]},
        "net/conv1": {"type": "conv", "output": ["net/conv2"]},
        "net/conv2": {"type": "conv", "output": ["net/output_layer1"]},
        "net/output_layer1": {"type": "output_layer", "output": []},
    },
}
PLACED = [
    "allocator_param",
    "resources_param",
    "performance_param",
    "context_switch_param",
    "compilation_param",
    "platform_param",
    "hef_param",
    "logger_param",
    "buffer_calc_param",
    "buffers",
    "place",
    "strategy",
    "defuse",
    "defuse_block",
    "shortcut",
    "shortcut.split",
    "portal",
    "l3_portal",
    "l4_portal",
    "mux_demux",
    "format_conversion",
    "concat",
    "feature_splitter",
]
BEFORE = [
    "ew_add_fusing",
    "ew_add_to_conv",
    "matmul_correction",
    "matmul_equalization",
    "weights_clipping",
    "layer_decomposition",
    "dead_channels_removal",
    "zero_static_channels",
    "se_optimization",
    "smart_softmax_stats",
    "conv_a16_w16",
    "switch_concat_with_add",
    "split_ew_mult_by_bit_significance",
    "global_avgpool_reduction",
    "defuse",
    "quarot",
    "negative_exponent",
    "layer_norm_decomposition",
    "resolution_reduction",
]
CONFIGURED = [
    "checker_cfg",
    "compression_params",
    "globals",
    "negative_exponent",
    "mixed_precision_search",
    "precision_change",
]


def read(*lines: str) -> Settings:
    return read_settings("".join(f"{line}\n" for line in lines), "model.alls", HN)


@pytest.mark.parametrize("command", PLACED)
def test_where_and_how_the_device_computes_changes_nothing(command: str) -> None:
    assert read(f"{command}(conv1)") == Settings()


@pytest.mark.parametrize(
    ("command", "feature"),
    [
        *(("pre_quantization_optimization", feature) for feature in BEFORE),
        *(("model_optimization_config", feature) for feature in CONFIGURED),
        *(("post_quantization_optimization", feature) for feature in ("adaround", "mix_precision_search")),
    ],
)
def test_what_has_no_counterpart_is_noted_once(command: str, feature: str) -> None:
    assert read(f"{command}({feature})", f"{command}({feature})").skipped == (f"{command}({feature})",)


def test_a_seed_is_noted_since_nothing_is_drawn_here() -> None:
    assert read("set_seed(seed=5)").skipped == ("set_seed",)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("bias_mode", "single_scale_decomposition"),
        ("quantization_groups", "4"),
        ("gpu_policy", "data_parallelization"),
        ("null_channels_cutoff_factor", "1e-4"),
    ],
)
def test_options_that_are_accepted_and_not_performed_are_told(option: str, value: str) -> None:
    found = read(f"quantization_param(conv1, {option}={value}, precision_mode=a8_w8)")
    assert found.skipped == (f"quantization_param: {option}",)


@pytest.mark.parametrize(
    ("mode", "bits"),
    [("a8_w8", (8, 8, 8)), ("a8_w4", (8, 4, 8)), ("a16_w16", (16, 16, 16)), ("a8_w8_a16", (8, 8, 16))],
)
def test_the_precision_of_layers_and_of_outputs(mode: str, bits: tuple[int, int, int]) -> None:
    found = read(f"quantization_param({{*1}}, precision_mode={mode})")
    assert found.precision == {name: Precision(*bits) for name in ("net/input_layer1", "net/conv1")}
    assert found.output_bits == {"net/output_layer1": bits[2]}


@pytest.mark.parametrize("activation", ["linear", "relu", "sigmoid", "tanh"])
def test_activations_that_can_be_folded_into_an_output(activation: str) -> None:
    assert read(f"change_output_activation(conv2, {activation})").folded == {"net/conv2": activation}


@pytest.mark.parametrize(("optimization", "compression"), [(0, 0), (4, 5), (2, 1)])
def test_levels(optimization: int, compression: int) -> None:
    levels = f"optimization_level={optimization}, compression_level={compression}, batch_size=8"
    found = read(f"model_optimization_flavor({levels})")
    assert (found.optimization_level, found.compression_level) == (optimization, compression)
    assert found.bias_correction == (optimization >= 1)
    assert (found.finetune is not None) == (optimization == 2)
    alone = read("model_optimization_flavor(optimization_level=3)")
    assert (alone.optimization_level, alone.compression_level) == (3, 0)
    assert read("model_optimization_flavor(batch_size=8)") == Settings()


@pytest.mark.parametrize("level", ["optimization_level=5", "compression_level=6", "optimization_level=-1"])
def test_levels_beyond_the_last(level: str) -> None:
    with pytest.raises(InputError, match=r"model\.alls, line 1: .*from 0 to [45]"):
        read(f"model_optimization_flavor({level})")


def test_a_line_overrules_what_the_level_implies() -> None:
    level, command = "model_optimization_flavor(optimization_level=2)", "post_quantization_optimization"
    off = read(level, f"{command}(finetune, policy=disabled)", f"{command}(bias_correction, policy=disabled)")
    assert (off.finetune, off.bias_correction) == (None, False)
    on = read(f"{command}(finetune, policy=enabled, dataset_size=1)", f"{command}(bias_correction)")
    assert (on.finetune, on.bias_correction) == (Finetune(1), True)
    left = read(level, f"{command}(finetune, policy=allowed)", f"{command}(adaround, policy=disabled)")
    assert (left.finetune, left.skipped) == (Finetune(None), ())


@pytest.mark.parametrize(("size", "fits"), [(1, True), (0, False)])
def test_sizes_of_sets(size: int, fits: bool) -> None:
    line = f"model_optimization_config(calibration, calibset_size={size}, batch_size=2)"
    tuning = f"post_quantization_optimization(finetune, dataset_size={size})"
    if fits:
        assert read(line).calibset_size == size
        return
    for wrong in (line, tuning):
        with pytest.raises(InputError, match="at least 1"):
            read(wrong)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("normalization([0, 0, 0])", "takes 2 to 3 values without a name, not 1"),
        ("n = normalization([0, 0, 0], [1, 1])", "3 means and 2 deviations for 3 channels"),
        ("n = normalization([0, 0], [1, 1, 1])", "2 means and 3 deviations for 3 channels"),
        ("n = normalization([0, 0, 0], [1, 0, 1])", "deviation of 0"),
        ("n = normalization(3, [1, 1, 1])", "a list of numbers is wanted"),
        ("n = normalization([a, 0, 0], [1, 1, 1])", "a list of numbers is wanted here, it holds"),
        ("change_output_activation(conv2)", "takes a layer and an activation"),
        ("change_output_activation(conv1, relu)", "feeds net/conv2; only a layer"),
        ("change_output_activation(output_layer1, relu)", "feeds nothing; only a layer"),
        ("change_output_activation({conv*}, relu)", "one layer is wanted here, not 2"),
        ("quantization_param(conv1, conv2, precision_mode=a8_w8)", "takes 1 value without a name, not 2"),
        (
            "model_optimization_flavor(speed=1)",
            "No argument named 'speed' in model_optimization_flavor; known are: batch",
        ),
        ("model_optimization_flavor(2)", "takes 0 values without a name, not 1"),
        (
            "model_optimization_config(calibration, speed=1)",
            "No argument named 'speed' in model_optimization_config(cal",
        ),
        ("model_optimization_config()", "takes 1 value without a name, not 0"),
        ("model_optimization_config(3)", "begins with the name of a feature: calibration, checker_cfg"),
        (
            "post_quantization_optimization(finetune, policy=perhaps)",
            "policy=perhaps is not possible; choose one of: enabled",
        ),
        ("pre_quantization_optimization(magic)", "has no feature 'magic'"),
        ("quantization_param(3, precision_mode=a8_w8)", "a name is wanted here"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(line: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        read("# a script", line)
    assert str(caught.value).startswith("model.alls, line 2: ")
    assert told in str(caught.value)


def test_a_layer_that_the_script_adds_may_be_named() -> None:
    found = read("norm1 = normalization([1, 2, 3], [4, 5, 6])", "quantization_param(norm1, precision_mode=a8_w8)")
    assert (found.mean, found.std, found.precision) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), {})


def test_later_lines_win_and_names_may_be_whole_or_short() -> None:
    found = read(
        "quantization_param([conv1, net/conv2, conv1], precision_mode=a8_w4)",
        "quantization_param(net/conv1, precision_mode=a16_w16)",
    )
    assert {name: one.weight_bits for name, one in found.precision.items()} == {"net/conv1": 16, "net/conv2": 4}


@pytest.mark.parametrize("mode", ["a16_w16", "a8_w8_a16"])
@pytest.mark.parametrize("layers", ["[conv1, softmax1]", "[softmax1, matmul1]", "{net/*}"])
def test_a_softmax_or_a_product_in_16_bits_is_refused_whoever_wrote_the_line(layers: str, mode: str) -> None:
    attention = {name: {"type": name[4:-1], "output": []} for name in ("net/conv1", "net/softmax1", "net/matmul1")}
    hn, line = {"name": "net", "layers": attention}, f"quantization_param({layers}, precision_mode={mode})\n"
    with pytest.raises(InputError, match=r"^model\.alls, line 2: net/(softmax|matmul)1 cannot have 16 bits: "):
        read_settings(f"# wide\n{line}", "model.alls", hn)
    back = "quantization_param([softmax1, matmul1], precision_mode=a8_w8)\n"
    assert read_settings(line + back, "model.alls", hn).precision["net/softmax1"] == MODES["a8_w8"]
