"""The table of commands: what compilers take is taken, and a value out of range is refused with what is possible."""

from __future__ import annotations

from typing import NoReturn

import pytest

from build_rules.alls.check import check_statement, subject
from build_rules.alls.commands import COMMANDS, COMPILE_STAGE, FEATURES, layer_values, options_of
from build_rules.alls.own_lines import NOT_FOR_USERS
from build_rules.alls.script import Glob, Name, Statement, parse_script
from build_rules.alls.values import LAYERS
from build_rules.errors import InputError

PRE, POST, CONFIG = (
    "pre_quantization_optimization",
    "post_quantization_optimization",
    "model_optimization_config",
)
PUBLIC = """
normalization1, normalization2 = normalization([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
change_output_activation(sigmoid)
change_output_activation(net/conv149, linear)
model_optimization_flavor(optimization_level=-100)
model_optimization_flavor(optimization_level=4, compression_level=0, batch_size=32)
model_optimization_config(calibration, batch_size=8, calibset_size=1024)
model_optimization_config(checker_cfg, analyze_mode=simple, batch_norm_checker=True, dataset_size=16, policy=enabled)
model_optimization_config(compression_params, auto_4bit_weights_ratio=0.2)
model_optimization_config(globals, multiproc_policy=disabled)
model_optimization_config(negative_exponent, layers={*}, rank=0)
pre_quantization_optimization(ew_add_fusing, policy=disabled)
pre_quantization_optimization(matmul_correction, layers={matmul*}, correction_type=zp_comp_block_3)
pre_quantization_optimization(matmul_equalization, layers=[matmul1, matmul3], policy=enabled, matmul_bias=enabled)
pre_quantization_optimization(layer_norm_decomposition, equalization=disabled, bit_decomposition_mode=uniform_precision)
pre_quantization_optimization(activation_clipping, layers={*}, mode=percentile, clipping_values=[0.01, 99.99])
pre_quantization_optimization(activation_clipping, layers=[conv20], mode=manual, clipping_values=[0, 15])
pre_quantization_optimization(weights_clipping, layers={*}, mode=mmse)
pre_quantization_optimization(dead_layers_removal, policy=disabled)
pre_quantization_optimization(global_avgpool_reduction, layers=avgpool1, division_factors=[4, 4])
post_quantization_optimization(finetune, policy=enabled, learning_rate=0.0001, epochs=4, dataset_size=4000, loss_factors=[1.0, 1.0, 1.0], loss_types=[l2rel, l2rel, l2rel], loss_layer_names=[conv94, conv85, conv75])
post_quantization_optimization(adaround, policy=enabled, batch_size=8)
post_quantization_optimization(mix_precision_search, policy=enabled, batch_size=1)
quantization_param([conv42, conv53, conv63], force_range_out=[0.0, 1.0])
quantization_param({norm*}, precision_mode=a16_w16)
performance_param(fps=150)
performance_param(fps=None)
performance_param(compiler_optimization_level=max)
context_switch_param(auto_partition_to_buckets=True, berkitizer_bucket_size=80, berkitizer_min_size=300, mode=enabled, share_buckets_partition=False, slotter_chances=200, toposort_mode=pushdown)
resources_param(max_apu_utilization=0.85, max_compute_16bit_utilization=0.8, max_utilization=0.0)
allocator_param(max_auto_merge_depth=3, merge_min_layer_utilization=0)
platform_param(hef_version=5)
platform_param(hints=[low_pcie_bandwidth])
net = network_group([net])
a, b, c = transpose_concat(concat10)
w = shape_splitter(SPLIT_WIDTH, conv42_ws, [conv42_sd0, conv42_sd1])
pre = bucket([net/input_layer1, net/normalization1])
"""  # noqa: E501


def check(line: str, known_only: bool = True) -> None:
    def fail(problem: str) -> NoReturn:
        raise InputError(problem)

    check_statement(parse_script(line).statements[0], fail, known_only)


@pytest.mark.parametrize("line", PUBLIC.strip().splitlines())
def test_lines_as_public_scripts_have_them(line: str) -> None:
    check(line)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("model_optimization_flavor(optimization_level=5)", "a whole number from 0 to 4, or -100"),
        ("model_optimization_flavor(optimization_level=-1)", "a whole number from 0 to 4, or -100"),
        ("model_optimization_flavor(compression_level=6)", "a whole number from 0 to 5"),
        ("model_optimization_flavor(optimization_level=2.0)", "a whole number"),
        ("model_optimization_flavor(optimization_level=high)", "a whole number"),
        (f"{CONFIG}(calibration, calibset_size=0)", "a whole number of at least 1"),
        (f"{CONFIG}(calibration, batch_size=-8)", "a whole number of at least 1"),
        (f"{CONFIG}(calibration, calibsetsize=8)", "did you mean calibset_size?"),
        (f"{CONFIG}(calibration, speed=8)", "No argument named 'speed' in model_optimization_config(calibration)"),
        (f"{CONFIG}(compression_params, auto_4bit_weights_ratio=1.5)", "a number from 0 to 1"),
        (f"{POST}(finetune, epochs=0)", "a whole number of at least 1"),
        (f"{POST}(finetune, learning_rate=0)", "a number above 0 and at most 1"),
        (f"{POST}(finetune, learning_rate=1e999)", "a number above 0 and at most 1"),
        (f"{POST}(finetune, dataset_size=0)", "a whole number of at least 1"),
        (f"{POST}(finetune, policy=perhaps)", "one of: enabled, disabled, allowed"),
        (f"{POST}(finetune, def_loss_type=l3)", "one of: ce, l2, l2rel, cosine"),
        (f"{POST}(adaround, warmup=2)", "a number from 0 to 1"),
        (f"{POST}(fintune)", "post_quantization_optimization has no feature 'fintune' (did you mean finetune?)"),
        (f"{POST}(magic)", "has no feature 'magic'; known are: adaround, bias_correction"),
        (f"{POST}(2)", "begins with the name of a feature"),
        (f"{PRE}(activation_clipping, mode=bogus)", "one of: disabled, manual, percentile"),
        (f"{PRE}(activation_clipping, mode=percentile)", "mode=percentile needs clipping_values: two percentiles"),
        (f"{PRE}(activation_clipping, clipping_values=[0, 1])", "need a mode that takes them: percentile or"),
        (f"{PRE}(activation_clipping, mode=percentile, clipping_values=[0.1, 101])", "two percentiles from 0 to 100"),
        (f"{PRE}(activation_clipping, mode=percentile, clipping_values=[-1, 99])", "two percentiles from 0 to 100"),
        (f"{PRE}(activation_clipping, mode=percentile, clipping_values=[99, 1])", "two numbers, the smaller one first"),
        (f"{PRE}(activation_clipping, mode=manual, clipping_values=[0, 1, 2])", "two numbers"),
        (f"{PRE}(weights_clipping, mode=mmse, clipping_values=[0, 1])", "need a mode that takes them"),
        (f"{PRE}(equalization, policy=on)", "one of: enabled, disabled, allowed"),
        (f"{PRE}(equalization, layers=3)", "layers: a name, a {glob}, or a list of them"),
        ("quantization_param(conv1, precision_mode=a32_w32)", "one of: a8_w8, a8_w4, a16_w16, a8_w8_a16"),
        ("quantization_param(conv1, force_range_out=[1.0, 0.0])", "two numbers, the smaller one first"),
        ("quantization_param(conv1, speed=1)", "No argument named 'speed' in quantization_param"),
        ("quantization_param(conv1, conv2)", "takes 1 value without a name, not 2"),
        ("performance_param(compiler_optimization_level=99)", "one of: 0, 1, 2, max"),
        ("performance_param(fps=0)", "a number above 0, or one of: None"),
        ("resources_param(max_utilization=1.2)", "a number from 0 to 1"),
        ("context_switch_param(mode=perhaps)", "one of: allowed, enabled, disabled, auto"),
        ("hef_param(should_use_sequencer=3)", "one of: True, False"),
        ("set_seed(seed=-1)", "a whole number of at least 0"),
        ("frobnicate(1)", "there is no command 'frobnicate'; known are: "),
        ("set_seed(seed=1, seed=2)", "is given twice"),
    ],
)
def test_what_no_compiler_takes(line: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        check(line)
    assert told in str(caught.value)


def test_each_row_says_where_it_is_seen() -> None:
    assert all(command.source for command in COMMANDS.values())
    assert all(feature.source for features in FEATURES.values() for feature in features.values())
    assert set(FEATURES) <= set(COMMANDS)
    assert set(NOT_FOR_USERS) <= set(COMMANDS) - COMPILE_STAGE


def test_where_a_statement_names_layers() -> None:
    line = f"{PRE}(activation_clipping, layers={{conv*}}, mode=percentile, clipping_values=[0.1, 99.9])"
    statement = parse_script(line).statements[0]
    assert (subject(statement), list(layer_values(statement))) == (f"{PRE}(activation_clipping)", [Glob("conv*")])
    options = options_of(statement)
    assert options is not None
    assert options["layers"] is LAYERS
    assert options_of(Statement("frobnicate")) is None
    assert list(layer_values(Statement("change_output_activation", (Name("sigmoid"),)))) == []
