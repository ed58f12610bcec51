"""Which commands and arguments a model script may have, and that the layers it names are there.

Commands and arguments as the vendor's public scripts use them (model zoo v2.14 to v2.18). `None` for the arguments of
a command means that what it takes is not known well enough to refuse one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from .exceptions import make
from .script_parser import Glob, Statement, Word

__all__ = ["COMPILE_STAGE", "check", "wide_layers"]

MODES = ("a8_w8", "a8_w4", "a16_w16", "a8_w8_a16")
ACTIVATIONS = (
    *("linear", "relu", "relu6", "leaky", "sigmoid", "tanh", "elu", "prelu", "swish", "silu", "mish", "gelu"),
    *("hardswish", "hardsigmoid", "softplus", "exp", "sqrt", "clip"),
)
POLICIES = ("enabled", "disabled", "allowed")

_OPTIMIZATION = {
    "calibration": {"batch_size", "calibset_size"},
    "checker_cfg": {"policy", "dataset_size", "batch_size", "analyze_mode", "batch_norm_checker"},
    "compression_params": {"auto_4bit_weights_ratio", "auto_16bit_weights_ratio"},
    "globals": {
        "deterministic_rounding",
        "eq_warmup_epochs",
        "gpu_policy",
        "multiproc_policy",
        "output_match_kernel_min",
    },
    "mixed_precision_search": {"policy", "dataset_size", "batch_size"},
    "negative_exponent": {"layers", "rank", "split_threshold", "auto_clip", "auto_remove_offset"},
    "precision_change": {"layers", "precision_mode"},
}
_POST = {
    "finetune": {
        *("policy", "batch_size", "dataset_size", "epochs", "learning_rate", "loss_layer_names", "loss_factors"),
        *(
            "loss_types",
            "optimizer",
            "warmup_epochs",
            "warmup_lr",
            "def_loss_type",
            "val_batch_size",
            "stop_gradient_at_loss",
        ),
        *("native_layers", "layers_to_freeze", "lr_schedule_type", "decay_rate", "decay_epochs", "bias_only"),
        *("force_pruning", "meta", "learn_scales", "val_images"),
    },
    "bias_correction": {"policy", "layers", "cache_compression", "dataset_size", "batch_size"},
    "adaround": {
        *("policy", "learning_rate", "batch_size", "dataset_size", "epochs", "layers", "warmup", "weight"),
        *("bias_correction_count", "mode", "cache_compression", "shuffle", "decay_start", "decay_end", "b_range"),
        *("train_bias", "lambda"),
    },
    "train_encoding": {"policy", "dataset_size", "batch_size", "epochs", "learning_rate"},
    "mix_precision_search": {
        "policy",
        "dataset_size",
        "batch_size",
        "assign_4bit_weights",
        "optimum",
        "comprecision_metric",
    },
}
_CLIPPING = {"layers", "mode", "clipping_values", "recollect_stats", "bias_correction"}
_PRE = {
    "activation_clipping": _CLIPPING,
    "weights_clipping": _CLIPPING,
    "matmul_correction": {"layers", "correction_type"},
    "matmul_equalization": {"layers", "policy"},
    "negative_exponent": {"layers", "rank", "split_threshold", "auto_clip", "auto_remove_offset"},
    "resolution_reduction": {"layers", "shape", "interpolation"},
    "defuse": {"layers", "num_splits", "defuse_type"},
    "layer_decomposition": {"layers", "policy", "mode"},
    "split_ew_mult_by_bit_significance": {"layers", "num_splits", "policy"},
    "global_avgpool_reduction": {"layers", "division_factors", "policy"},
    "se_optimization": {"layers", "policy", "method", "mode", "count", "tile_height"},
}
_PRE_PLAIN = (
    *("equalization", "ew_add_fusing", "ew_add_to_conv", "dead_channels_removal", "dead_layers_removal"),
    *("zero_static_channels", "smart_softmax_stats", "conv_a16_w16", "switch_concat_with_add", "quarot"),
    *("layer_norm_decomposition",),
)
for _name in _PRE_PLAIN:
    _PRE[_name] = {"layers", "policy"}
_FEATURES = {
    "model_optimization_config": _OPTIMIZATION,
    "post_quantization_optimization": _POST,
    "pre_quantization_optimization": _PRE,
}

COMPILE_STAGE: dict[str, set[str] | None] = {
    "performance_param": {"compiler_optimization_level", "optimize_for_batch", "optimize_for_power", "fps"},
    "context_switch_param": {"mode", "goal_network_throughput", "max_utilization", "allow_auto_merge_in_multicontext"},
    "resources_param": None,
    "allocator_param": None,
    "compilation_param": None,
    "hef_param": {"should_use_sequencer", "params_load_time_compression"},
    "platform_param": {"targets", "hints"},
    "logger_param": None,
    "buffer_calc_param": None,
    "buffers": None,
    "place": None,
    "context": None,
    "strategy": None,
    "defuse": None,
    "defuse_block": None,
    "shortcut": None,
    "shortcut.split": None,
    "portal": None,
    "l3_portal": None,
    "l4_portal": None,
    "mux_demux": None,
    "format_conversion": None,
    "concat": None,
    "feature_splitter": None,
    "network_group": None,
}
"""Commands that a script for `compile` may have; they may be loaded on a quantized network."""
_PLAIN: dict[str, set[str] | None] = {
    "normalization": {"mean", "std"},
    "change_output_activation": {"activation", "output_layer"},
    "quantization_param": {
        *(
            "precision_mode",
            "bias_mode",
            "quantization_groups",
            "force_range_out",
            "force_range_in",
            "max_elementwise_feed_repeat",
        ),
        *("max_bias_feed_repeat", "null_channels_cutoff_factor", "gpu_policy", "negative_exponent", "force_shift"),
    },
    "model_optimization_flavor": {"optimization_level", "compression_level", "batch_size"},
    "nms_postprocess": None,
    "input_conversion": {"emulator_support", "input_layer", "conversion_type"},
    "resize": {"resize_shapes", "resize_method", "pixels_mode", "engine"},
    "transpose": set(),
    "logits_layer": {"axis", "engine"},
    "set_seed": {"seed"},
}


def check(statements: Iterable[Statement], hn: Mapping[str, Any]) -> None:
    """Raise `AllocatorScriptParserException` or `HailoNNException` for what this network's script cannot say."""
    made: set[str] = set()
    folded: set[str] = set()
    forced: set[str] = set()
    for statement in statements:
        _check_arguments(statement)
        named = _named(statement, hn, made)
        _check_values(statement)
        if statement.command == "change_output_activation":
            _check_producers(statement, named, hn)
            folded.update(named)
        if "force_range_out" in statement.keywords:
            forced.update(named)
        for name in sorted(folded & forced):
            raise _refused(statement, f"{name} cannot have another activation and a forced range of its output")
        made.update(_targets(statement, hn))


def wide_layers(statements: Iterable[Statement], hn: Mapping[str, Any]) -> list[str]:
    """Return the layers that are given 16 bits inside, output layers not among them; later lines win."""
    modes: dict[str, str] = {}
    made: set[str] = set()
    for statement in statements:
        made.update(_targets(statement, hn))
        if statement.command == "quantization_param" and "precision_mode" in statement.keywords:
            modes.update(dict.fromkeys(_named(statement, hn, made), statement.keywords["precision_mode"]))
    types = {name: hn["layers"].get(name, {}).get("type") for name in modes}
    return [name for name, mode in modes.items() if mode == "a16_w16" and types[name] != "output_layer"]


def _targets(statement: Statement, hn: Mapping[str, Any]) -> list[str]:
    return [target if "/" in target else f"{hn['name']}/{target}" for target in statement.targets]


def _named(statement: Statement, hn: Mapping[str, Any], made: Iterable[str]) -> list[str]:
    return [name for value in _layer_values(statement) for name in _layers_of(value, hn, made, statement)]


def _layers_of(value: Any, hn: Mapping[str, Any], made: Iterable[str], statement: Statement) -> list[str]:
    """Return the layers that a value names, with their scope; numbers and strings name none."""
    if isinstance(value, list):
        return [name for item in value for name in _layers_of(item, hn, made, statement)]
    scope = hn["name"]
    if isinstance(value, Glob):
        pattern = value if "/" in value else f"{scope}/{value}"
        names = [name for name in hn["layers"] if fnmatchcase(name, pattern)]
        if not names:
            raise _refused(statement, f"the pattern {{{value}}} matches no layer: it doesn't exist in the HN")
        return names
    if not isinstance(value, Word):
        return []
    name = value if "/" in value else f"{scope}/{value}"
    if name not in hn["layers"] and name not in made:
        raise make("HailoNNException", f"The layer named {value.rpartition('/')[2]} doesn't exist in the HN")
    return [name]


def _check_producers(statement: Statement, named: Iterable[str], hn: Mapping[str, Any]) -> None:
    for name in named:
        if hn["layers"].get(name, {}).get("type") == "output_layer":
            raise _refused(statement, f"{name} is an output layer; the activation belongs to the layer before it")


def _layer_values(statement: Statement) -> list[Any]:
    """Return the arguments of a statement that name layers."""
    arguments, layers = statement.arguments, statement.keywords.get("layers", [])
    if statement.command in ("quantization_param", "context"):
        return list(arguments)
    if statement.command == "change_output_activation":
        return list(arguments[:1]) if len(arguments) == 2 else []
    if statement.command == "normalization":
        return list(arguments[2:])
    if statement.command == "input_conversion":
        return list(arguments[:1]) if len(arguments) == 2 else []
    if statement.command == "place":
        return list(arguments[1:])
    return [layers]


def _check_arguments(statement: Statement) -> None:
    command = statement.command
    if command in _FEATURES:
        feature = statement.arguments[0] if statement.arguments else ""
        if feature not in _FEATURES[command]:
            raise _refused(statement, f"{command} has no feature named '{feature}'")
        known: set[str] | None = set(_FEATURES[command][feature])
    elif command in _PLAIN or command in COMPILE_STAGE:
        known = _PLAIN[command] if command in _PLAIN else COMPILE_STAGE[command]
    else:
        raise _refused(statement, f"no command named '{command}'")
    for key in statement.keywords:
        if known is not None and key not in known:
            raise _refused(statement, f"No argument named '{key}' in {command}")


def _check_values(statement: Statement) -> None:
    keywords = statement.keywords
    if statement.command == "quantization_param":
        mode = keywords.get("precision_mode", MODES[0])
        if mode not in MODES:
            raise _refused(statement, f"precision_mode {mode} is not supported; choose from {', '.join(MODES)}")
    if statement.command == "normalization" and len(statement.arguments) < 2:
        raise _refused(statement, "normalization takes a list of means and a list of deviations")
    if statement.command == "change_output_activation" and statement.arguments[-1:] not in [(x,) for x in ACTIVATIONS]:
        raise _refused(statement, "unknown activation")
    if statement.command == "model_optimization_flavor":
        for key, most in (("optimization_level", 4), ("compression_level", 5)):
            value = keywords.get(key, 0)
            if not isinstance(value, int) or not -100 <= value <= most:
                raise _refused(statement, f"{key} must be a whole number up to {most}, not {value}")
    if statement.command == "performance_param":
        level = keywords.get("compiler_optimization_level", 1)
        if level not in (0, 1, 2, "max"):
            raise _refused(statement, f"compiler_optimization_level must be 0, 1, 2 or max, not {level}")
    if "policy" in keywords and keywords["policy"] not in POLICIES:
        raise _refused(statement, f"policy must be one of {', '.join(POLICIES)}, not {keywords['policy']}")


def _refused(statement: Statement, what: str) -> Exception:
    return make("AllocatorScriptParserException", f"Invalid command, line {statement.line}: {statement.text}: {what}")
