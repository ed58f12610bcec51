"""What is known of each command: at which stage it counts, where it names layers, which options it has.

Only as far as Hailo's public scripts and guides tell it; the compiler itself knows more, and has the last word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from build_rules.alls.script import Name, Statement, Value

__all__ = [
    "CHOICES",
    "COMPILE_STAGE",
    "OPTIMIZE_STAGE",
    "OPTIONS",
    "layer_values",
    "replace_layers",
]

COMPILE_STAGE = frozenset(
    {
        *("allocator_param", "resources_param", "performance_param", "context_switch_param", "compilation_param"),
        *("platform_param", "hef_param", "logger_param", "buffer_calc_param", "buffers", "place", "strategy"),
        *("defuse", "defuse_block"),
        *("shortcut", "shortcut.split", "portal", "l3_portal", "l4_portal", "mux_demux", "format_conversion", "concat"),
        *("feature_splitter", "context", "network_group"),
    }
)
"""Commands that change where and how the device computes, never what: those of the compile stage."""

OPTIONS: Mapping[str, frozenset[str]] = {
    "model_optimization_flavor": frozenset({"optimization_level", "compression_level", "batch_size"}),
    "quantization_param": frozenset(
        {
            *("precision_mode", "bias_mode", "quantization_groups", "gpu_policy", "null_channels_cutoff_factor"),
            *("force_range_in", "force_range_out", "force_shift", "negative_exponent"),
            *("max_elementwise_feed_repeat", "max_bias_feed_repeat"),
        }
    ),
    "performance_param": frozenset({"compiler_optimization_level", "optimize_for_power", "optimize_for_batch", "fps"}),
    "context_switch_param": frozenset(
        {
            *("mode", "allow_auto_merge_in_multicontext", "slotter_chances", "berkitizer_bucket_size"),
            *("max_utilization", "goal_network_throughput"),
        }
    ),
    "resources_param": frozenset(
        {
            *("strategy", "max_utilization", "max_compute_utilization", "max_compute_16bit_utilization"),
            *("max_control_utilization", "max_memory_utilization", "max_apu_utilization"),
            *("max_input_aligner_utilization", "max_control_core_count"),
        }
    ),
    "platform_param": frozenset({"targets", "hints"}),
    "hef_param": frozenset({"should_use_sequencer", "params_load_time_compression"}),
}
"""Options of the commands of which public scripts and guides show them all; others take any."""

CHOICES: Mapping[tuple[str, str], tuple[Value, ...]] = {
    ("performance_param", "compiler_optimization_level"): (0, 1, 2, Name("max")),
    ("context_switch_param", "mode"): tuple(map(Name, ("allowed", "enabled", "disabled", "auto"))),
    ("quantization_param", "precision_mode"): tuple(map(Name, ("a8_w8", "a8_w4", "a16_w16", "a8_w8_a16"))),
}
"""Values of options that have no others on these devices."""

OPTIMIZE_STAGE: Mapping[str, int | None] = {
    "normalization": 2,
    "input_conversion": 0,
    "change_output_activation": 0,
    "transpose": 0,
    "resize": 0,
    "logits_layer": 0,
    "remove_node": 0,
    "quantization_param": 0,
    "model_optimization_flavor": None,
    "model_optimization_config": None,
    "pre_quantization_optimization": None,
    "post_quantization_optimization": None,
    "nms_postprocess": None,
    "set_seed": None,
    "set_input_mask_to_softmax": None,
}
"""Commands of what comes before, each with the place of the argument that names its layers."""

LAYER_OPTIONS = frozenset({"layers", "loss_layer_names", "native_layers"})
"""Options whose values name layers, of whatever command."""


def layer_values(statement: Statement) -> Iterator[Value]:
    """Yield the values in which a statement of the stage `optimize` names layers."""
    place = OPTIMIZE_STAGE.get(statement.command)
    whole = statement.command == "change_output_activation" and len(statement.arguments) == 1  # an activation, of all
    if place is not None and place < len(statement.arguments) and not whole:
        yield statement.arguments[place]
    yield from (value for key, value in statement.keywords if key in LAYER_OPTIONS)


def replace_layers(statement: Statement, named: Mapping[Value, Name]) -> Statement:
    """Return a statement with names for what stands for them, wherever it is and however deep in lists."""

    def of(value: Value) -> Value:
        return tuple(map(of, value)) if isinstance(value, tuple) else named.get(value, value)

    return replace(
        statement,
        arguments=tuple(map(of, statement.arguments)),
        keywords=tuple((key, of(value)) for key, value in statement.keywords),
    )
