"""What helps one layer, in words, and the line of the model script that says so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from build_rules.alls.script import Origin, show_value
from build_rules.alls.wide_layers import MODES, NEVER_WIDE
from build_rules.compilers.describe_har import HarLayer
from build_rules.compilers.layer_noise import LayerNoise
from build_rules.mixed.candidates import OUTPUT_ALONE, barred_modes, mode_of

__all__ = ["Advice", "advise", "clip_line", "wide_line"]

LITTLE_USED = 0.25
"""Of the range: where nearly all values lie in less of it, a few peaks decide the step of all of them."""
QUIET = 0.01
"""A layer that makes less than this part of the noise is not worth a line."""
PLAIN = re.compile(r"[^\s()\[\]{},=\"#]+")
"""Names of ONNX nodes that a line takes without quotes."""


@dataclass(frozen=True)
class Advice:
    """What would help a layer, and the lines that may be written for it, the better one first."""

    text: str
    lines: tuple[str, ...] = ()


def advise(noises: Sequence[LayerNoise], layers: Sequence[HarLayer]) -> tuple[Advice, ...]:
    """Return what would help each layer, in the order of `noises`."""
    barred = barred_modes(layers)
    return tuple(_advice(noise, barred.get(noise.layer, {})) for noise in noises)


def _advice(noise: LayerNoise, barred: Mapping[str, str]) -> Advice:
    if noise.share < QUIET or not noise.nodes:
        return Advice("not worth a line")
    mode, node = mode_of(noise, barred), noise.nodes[0]
    clipped = (clip_line(node),) if noise.used < LITTLE_USED and noise.bits == 8 else ()
    also = f"; or clipping: {1 - noise.used:.0%} of its range holds 0.2 % of its values" if clipped else ""
    if mode is None:
        return Advice(f"{_why_not(noise, barred)}{also}", clipped)
    wide = "16 bits for what it makes" if mode == OUTPUT_ALONE else "16 bits for its weights, and for what it reads"
    return Advice(f"{wide} ({mode}){also}", (wide_line(node, mode), *clipped))


def _why_not(noise: LayerNoise, barred: Mapping[str, str]) -> str:
    if noise.kind in NEVER_WIDE:
        return f"a {noise.kind} stays in 8 bits: with 16 the compiler fails"
    if noise.kind not in MODES:
        return f"nobody has shown a {noise.kind} in 16 bits"
    if barred:
        return f"16 bits would reach {next(iter(barred.values()))}, which stays in 8"
    return f"it has {noise.bits} bits already"


def wide_line(node: str, mode: str) -> str:
    """Return the line of `[alls] append` that puts the layer of an ONNX node into a mode."""
    return f"quantization_param({_origin(node)}, precision_mode={mode})"


def clip_line(node: str) -> str:
    """Return the line that leaves a thousandth of a layer's values at either end out of its range."""
    return (
        f"pre_quantization_optimization(activation_clipping, layers=[{_origin(node)}], mode=percentile, "
        "clipping_values=[0.1, 99.9])"
    )


def _origin(node: str) -> str:
    return f"onnx:{node}" if PLAIN.fullmatch(node) else show_value(Origin(node))
