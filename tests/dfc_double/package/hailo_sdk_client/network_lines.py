"""What of a model script changes the network, and the script that the emulator is given in its place. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .exceptions import make
from .levels import Plan
from .script_parser import Glob, Statement, Word

__all__ = ["LEFT_OUT", "emulated_script", "folded_activations", "network_lines", "pixel_scale"]

LEFT_OUT = ("nms_postprocess", "input_conversion", "resize", "transpose", "logits_layer")
"""Commands that change the network and that the double reads without obeying."""


def network_lines(statements: Sequence[Statement], hn: Mapping[str, Any]) -> list[Statement]:
    """Return the normalizations and activations; an activation without a layer is one for every output."""
    lines = []
    for line in statements:
        if line.command == "change_output_activation" and len(line.arguments) == 1:
            for producer in hn["net_params"]["output_layers_order"]:
                text = f"change_output_activation({producer}, {line.arguments[0]})"
                lines.append(line._replace(arguments=(Word(producer), line.arguments[0]), text=text))
        elif line.command in ("normalization", "change_output_activation"):
            lines.append(line)
    return lines


def folded_activations(lines: Sequence[Statement]) -> dict[str, str]:
    """Return the activation that is folded into a layer, by the layer's name as it is written."""
    return {str(line.arguments[0]): str(line.arguments[1]) for line in lines if line.command != "normalization"}


def pixel_scale(extent: tuple[float, float], lines: Sequence[Statement]) -> float:
    """Return by what data must be multiplied to be pixels: a network without normalization may be fed 0 to 1.

    Raises for data outside of 0 to 255, which no input of a chip takes.
    """
    low, high = extent
    if low < -0.5 or high > 255.5:
        raise make("AccelerasValueError", f"the double takes data from 0 to 255, these go from {low:g} to {high:g}")
    normalized = any(line.command == "normalization" for line in lines)
    return 1.0 if normalized or high > 1.5 else 255.0


def emulated_script(
    lines: Sequence[Statement], statements: Sequence[Statement], plan: Plan, spoiled: Sequence[str]
) -> str:
    """Return what the network shall be, and the plan in place of the level.

    `lines` change the network, `statements` are the whole script. `spoiled` are behaviours: `activations` leaves out
    the folded activations, `wide_outputs` the 16 bits of outputs.
    """
    written = [line.text for line in lines if line.command == "normalization" or "activations" not in spoiled]
    for line in statements:
        if line.command == "quantization_param":
            written += _quantization(line, "wide_outputs" in spoiled)
    level, calibration = min(plan.level, 2), f"batch_size={plan.batch_size}, calibset_size={plan.calibration}"
    written.append(f"model_optimization_flavor(optimization_level={level}, compression_level={plan.compression})")
    written.append(f"model_optimization_config(calibration, {calibration})")
    policy = "enabled" if plan.bias_correction else "disabled"
    written.append(f"post_quantization_optimization(bias_correction, policy={policy})")
    tuned = "policy=disabled" if plan.finetune is None else f"policy=enabled, dataset_size={plan.finetune}"
    written.append(f"post_quantization_optimization(finetune, {tuned})")
    return "\n".join(written) + "\n"


def _quantization(line: Statement, narrow: bool) -> list[str]:
    mode = line.keywords.get("precision_mode")
    if mode is None:
        return []
    layers = line.arguments[0]
    names = layers if isinstance(layers, list) else [layers]
    if narrow:
        names = [name for name in names if "output_layer" not in name]
    written = ["{" + name + "}" if isinstance(name, Glob) else str(name) for name in names]
    return [f"quantization_param([{', '.join(written)}], precision_mode={mode})"] if written else []
