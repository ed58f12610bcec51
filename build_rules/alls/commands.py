"""Every command that is known: its stage, where it names layers, its features, its options and what each of them takes.

Each row says where it is seen. Only as far as that tells it: the compiler itself knows more, and has the last word.

======  ============================================================================================================
`ZOO`   scripts of github.com/hailo-ai/hailo_model_zoo, `hailo_model_zoo/cfg/alls`, releases v2.14 to v2.18
`WIKI`  developer.ridgerun.com, "Hailo Model Scripts": features and options with their defaults, after Hailo's guide
`USERS` scripts in public repositories and in threads of community.hailo.ai, which their authors report to have worked
======  ============================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

from build_rules.alls.script import Name, Statement, Value
from build_rules.alls.values import (
    ANYTHING,
    FLAG,
    LAYERS,
    PERCENTILES,
    POLICY,
    RANGE,
    SWITCH,
    WORD,
    Kind,
    choice,
    either,
    listed,
    number,
    whole,
)

__all__ = [
    "CLIPPED_BY",
    "COMMANDS",
    "COMPILE_STAGE",
    "FEATURES",
    "MODES",
    "Command",
    "Feature",
    "layer_values",
    "options_of",
    "replace_layers",
]

ZOO, WIKI, USERS = "hailo_model_zoo", "developer.ridgerun.com", "public scripts"
Options = Mapping[str, Kind]

MODES = ("a8_w8", "a8_w4", "a16_w16", "a8_w8_a16")
"""Precisions of Hailo-8 and Hailo-8L."""
COUNT, RATIO, POSITIVE = whole(1), number(0, 1), number(0, above=True)
LEVEL = whole(0, 4, -100)
"""-100 switches off every algorithm (WIKI)."""


class Command(NamedTuple):
    """What is known of a command.

    `options` None: what it takes besides is not told in full, so anything is taken. `layers`: the place of the
    argument that names layers. `positional`: how many values without a name it takes, at least and at most.
    """

    stage: Literal["optimize", "compile"]
    options: Options | None
    source: str
    layers: int | None = None
    positional: tuple[int, int] | None = None


class Feature(NamedTuple):
    """An algorithm that a command is about, with the options that it takes."""

    options: Options
    source: str


COMMANDS: Mapping[str, Command] = {
    "normalization": Command("optimize", {}, ZOO, 2, (2, 3)),
    "input_conversion": Command("optimize", {"emulator_support": FLAG}, WIKI, 0, (1, 2)),
    "change_output_activation": Command("optimize", {}, ZOO, 0, (1, 2)),
    "transpose": Command("optimize", {}, ZOO, 0, (0, 1)),
    "resize": Command(
        "optimize",
        {"resize_shapes": listed(COUNT, 2), "resize_method": WORD, "pixels_mode": WORD, "engine": WORD},
        WIKI,
        0,
        (0, 1),
    ),
    "logits_layer": Command("optimize", None, WIKI, 0),
    "remove_node": Command("optimize", {}, ZOO, 0, (1, 1)),
    "nms_postprocess": Command("optimize", None, ZOO),
    "set_seed": Command("optimize", {"seed": whole(0)}, WIKI, None, (0, 1)),
    "set_input_mask_to_softmax": Command("optimize", None, ZOO),
    "quantization_param": Command(
        "optimize",
        {
            "precision_mode": choice(*MODES),
            "bias_mode": WORD,
            "quantization_groups": COUNT,
            "gpu_policy": WORD,
            "null_channels_cutoff_factor": number(0),
            "force_range_in": RANGE,
            "force_range_out": RANGE,
            "force_shift": listed(number(-64, 64)),
            "negative_exponent": ANYTHING,
            "max_elementwise_feed_repeat": COUNT,
            "max_bias_feed_repeat": COUNT,
        },
        ZOO,
        0,
        (1, 1),
    ),
    "model_optimization_flavor": Command(
        "optimize",
        {"optimization_level": LEVEL, "compression_level": whole(0, 5), "batch_size": COUNT},
        WIKI,
        None,
        (0, 0),
    ),
    "model_optimization_config": Command("optimize", None, ZOO, None, (1, 1)),
    "pre_quantization_optimization": Command("optimize", None, ZOO, None, (1, 1)),
    "post_quantization_optimization": Command("optimize", None, ZOO, None, (1, 1)),
    "performance_param": Command(
        "compile",
        {
            "compiler_optimization_level": choice(0, 1, 2, "max"),
            "optimize_for_power": FLAG,
            "optimize_for_batch": COUNT,
            "fps": either(POSITIVE, choice("None")),
        },
        ZOO,
        None,
        (0, 0),
    ),
    "context_switch_param": Command(
        "compile",
        {
            "mode": choice("allowed", "enabled", "disabled", "auto"),
            "allow_auto_merge_in_multicontext": FLAG,
            "slotter_chances": whole(0),
            "berkitizer_bucket_size": COUNT,
            "berkitizer_min_size": COUNT,
            "auto_partition_to_buckets": FLAG,
            "share_buckets_partition": FLAG,
            "toposort_mode": WORD,
            "max_utilization": RATIO,
            "goal_network_throughput": POSITIVE,
        },
        ZOO,
        None,
        (0, 0),
    ),
    "resources_param": Command(
        "compile",
        {
            "strategy": WORD,
            "max_utilization": RATIO,
            "max_compute_utilization": RATIO,
            "max_compute_16bit_utilization": RATIO,
            "max_control_utilization": RATIO,
            "max_memory_utilization": RATIO,
            "max_apu_utilization": RATIO,
            "max_input_aligner_utilization": RATIO,
            "max_control_core_count": COUNT,
        },
        ZOO,
    ),
    "platform_param": Command(
        "compile", {"targets": listed(WORD), "hints": listed(WORD), "hef_version": COUNT}, ZOO, None, (0, 0)
    ),
    "hef_param": Command(
        "compile", {"should_use_sequencer": FLAG, "params_load_time_compression": FLAG}, ZOO, None, (0, 0)
    ),
    **{
        name: Command("compile", None, ZOO)
        for name in (
            *("allocator_param", "compilation_param", "logger_param", "buffer_calc_param", "buffers", "place"),
            *("strategy", "defuse", "defuse_block", "shortcut", "shortcut.split", "portal", "l3_portal", "l4_portal"),
            *("mux_demux", "format_conversion", "concat", "transpose_concat", "feature_splitter", "shape_splitter"),
            *("bucket", "context", "network_group"),
        )
    },
}

COMPILE_STAGE = frozenset(name for name, command in COMMANDS.items() if command.stage == "compile")
"""Commands that change where and how the device computes, never what: those of the compile stage."""

_SWITCHED: Options = {"policy": POLICY, "layers": LAYERS}
_DATA: Options = {"policy": POLICY, "dataset_size": COUNT, "batch_size": COUNT}
_LOSSES: Options = {
    "loss_layer_names": LAYERS,
    "loss_factors": listed(number(0)),
    "loss_types": listed(WORD),
    "def_loss_type": choice("ce", "l2", "l2rel", "cosine"),
    "native_layers": LAYERS,
    "native_activations": SWITCH,
    "stop_gradient_at_loss": FLAG,
    "val_images": whole(0),
    "val_batch_size": COUNT,
}
_EXPONENTS: Options = {
    "layers": LAYERS,
    "rank": whole(0),
    "split_threshold": whole(0),
    "auto_clip": SWITCH,
    "auto_remove_offset": SWITCH,
}
_TRAINED: Options = {**_DATA, "epochs": COUNT, "learning_rate": number(0, 1, above=True)}

FEATURES: Mapping[str, Mapping[str, Feature]] = {
    "model_optimization_config": {
        "calibration": Feature({"batch_size": COUNT, "calibset_size": COUNT}, ZOO),
        "checker_cfg": Feature(
            {**_DATA, "analyze_mode": choice("simple", "advanced"), "batch_norm_checker": FLAG}, ZOO
        ),
        "compression_params": Feature({"auto_4bit_weights_ratio": RATIO, "auto_16bit_weights_ratio": RATIO}, WIKI),
        "globals": Feature(
            {
                "deterministic_rounding": SWITCH,
                "eq_warmup_epochs": whole(0),
                "gpu_policy": WORD,
                "multiproc_policy": POLICY,
                "output_match_kernel_min": ANYTHING,
            },
            ZOO,
        ),
        "mixed_precision_search": Feature(_DATA, ZOO),
        "negative_exponent": Feature(_EXPONENTS, ZOO),
        "precision_change": Feature({"layers": LAYERS, "precision_mode": choice(*MODES), "mode": WORD}, ZOO),
    },
    "pre_quantization_optimization": {
        "activation_clipping": Feature(
            {
                "layers": LAYERS,
                "mode": choice("disabled", "manual", "percentile", "percentile_force"),
                "clipping_values": RANGE,
                "recollect_stats": FLAG,
                "bias_correction": SWITCH,
            },
            WIKI,
        ),
        "weights_clipping": Feature(
            {
                "layers": LAYERS,
                "mode": choice("disabled", "manual", "percentile", "mmse", "mmse_if4b"),
                "clipping_values": RANGE,
            },
            WIKI,
        ),
        "matmul_correction": Feature({"layers": LAYERS, "correction_type": WORD}, ZOO),
        "matmul_equalization": Feature({**_SWITCHED, "matmul_bias": SWITCH}, ZOO),
        "negative_exponent": Feature(_EXPONENTS, ZOO),
        "resolution_reduction": Feature({"layers": LAYERS, "shape": listed(COUNT, 2), "interpolation": WORD}, WIKI),
        "defuse": Feature({"layers": LAYERS, "num_splits": COUNT, "defuse_type": WORD}, ZOO),
        "layer_decomposition": Feature({**_SWITCHED, "mode": WORD}, ZOO),
        "layer_norm_decomposition": Feature(
            {
                **_SWITCHED,
                "mode": WORD,
                "equalization": SWITCH,
                "bit_decomposition_mode": WORD,
                "eq_consumer": FLAG,
            },
            ZOO,
        ),
        "split_ew_mult_by_bit_significance": Feature({**_SWITCHED, "num_splits": COUNT}, ZOO),
        "global_avgpool_reduction": Feature({**_SWITCHED, "division_factors": listed(COUNT, 2)}, WIKI),
        "se_optimization": Feature(
            {**_SWITCHED, "method": WORD, "mode": WORD, "count": COUNT, "tile_height": COUNT}, ZOO
        ),
        "dead_layers_removal": Feature(_SWITCHED, USERS),
        **{
            name: Feature(_SWITCHED, ZOO)
            for name in (
                *("equalization", "ew_add_fusing", "ew_add_to_conv", "dead_channels_removal", "zero_static_channels"),
                *("smart_softmax_stats", "conv_a16_w16", "switch_concat_with_add", "quarot"),
            )
        },
    },
    "post_quantization_optimization": {
        "bias_correction": Feature(
            {**_SWITCHED, "cache_compression": SWITCH, "dataset_size": COUNT, "batch_size": COUNT}, WIKI
        ),
        "finetune": Feature(
            {
                **_TRAINED,
                **_LOSSES,
                "optimizer": WORD,
                "warmup_epochs": whole(0),
                "warmup_lr": number(0),
                "lr_schedule_type": WORD,
                "decay_rate": number(0),
                "decay_epochs": whole(0),
                "layers_to_freeze": LAYERS,
                "bias_only": FLAG,
                "force_pruning": FLAG,
                "learn_scales": FLAG,
                "meta": ANYTHING,
            },
            WIKI,
        ),
        "train_encoding": Feature({**_TRAINED, **_LOSSES}, WIKI),
        "adaround": Feature(
            {
                **_TRAINED,
                "layers": LAYERS,
                "warmup": RATIO,
                "weight": number(0),
                "train_bias": FLAG,
                "bias_correction_count": whole(0),
                "mode": choice("train_4bit", "train_all"),
                "b_range": listed(number(0), 2),
                "decay_start": RATIO,
                "decay_end": RATIO,
                "cache_compression": SWITCH,
                "shuffle": FLAG,
                "lambda": number(0),
            },
            WIKI,
        ),
        "mix_precision_search": Feature(
            {
                **_DATA,
                "assign_4bit_weights": ANYTHING,
                "optimum": WORD,
                "optimizer": choice("linear", "pareto"),
                "comprecision_metric": WORD,
                "snr_cap": POSITIVE,
            },
            WIKI,
        ),
    },
}
"""Features of the commands whose first argument names one."""

CLIPPED_BY = {"percentile": PERCENTILES, "percentile_force": PERCENTILES, "manual": RANGE}
"""What `clipping_values` are with each mode that takes them."""


def layer_values(statement: Statement) -> Iterator[Value]:
    """Yield the values in which a statement of the stage `optimize` names layers."""
    command = COMMANDS.get(statement.command)
    place = None if command is None else command.layers
    whole_network = statement.command == "change_output_activation" and len(statement.arguments) == 1
    if place is not None and place < len(statement.arguments) and not whole_network:
        yield statement.arguments[place]
    options = {} if command is None else options_of(statement) or {}
    yield from (value for key, value in statement.keywords if options.get(key) is LAYERS)


def options_of(statement: Statement) -> Options | None:
    """Return the options that a statement may have, None when that is not known."""
    command = COMMANDS.get(statement.command)
    features = FEATURES.get(statement.command)
    if features is None:
        return None if command is None else command.options
    first = statement.arguments[:1]
    feature = features.get(first[0].text) if first and isinstance(first[0], Name) else None
    return None if feature is None else feature.options


def replace_layers(statement: Statement, named: Mapping[Value, Name]) -> Statement:
    """Return a statement with names for what stands for them, wherever it is and however deep in lists."""

    def of(value: Value) -> Value:
        return tuple(map(of, value)) if isinstance(value, tuple) else named.get(value, value)

    return replace(
        statement,
        arguments=tuple(map(of, statement.arguments)),
        keywords=tuple((key, of(value)) for key, value in statement.keywords),
    )
