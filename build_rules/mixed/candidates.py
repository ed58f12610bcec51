"""Layers that may work in 16 bits on the chip, each in the mode that takes most of its noise away for least."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from build_rules.alls.wide_layers import MODES, NEVER_WIDE, PASSIVE
from build_rules.compilers.describe_har import HarLayer
from build_rules.compilers.layer_noise import LayerNoise

__all__ = ["OUTPUT_ALONE", "WHOLE", "Candidate", "barred_modes", "candidates", "mode_of", "reason"]

OUTPUT_ALONE, WHOLE = "a8_w8_a16", "a16_w16"
HEAVY_WEIGHTS = 0.5
"""From this part of a layer's noise on its weights are the cause, and 16 bits of its output alone do not help."""


@dataclass(frozen=True)
class Candidate:
    """A layer and the mode that it is proposed in; `node` is the ONNX node by which a line names it."""

    layer: str
    node: str
    kind: str
    mode: str
    share: float
    because: str


def candidates(noises: Sequence[LayerNoise], layers: Sequence[HarLayer]) -> tuple[Candidate, ...]:
    """Return what may be proposed of the layers whose noise was measured, loudest first."""
    barred = barred_modes(layers)
    found = []
    for noise in noises:
        mode = mode_of(noise, barred.get(noise.layer, {}))
        if mode is not None and noise.share > 0 and noise.nodes:
            found.append(Candidate(noise.layer, noise.nodes[0], noise.kind, mode, noise.share, reason(noise)))
    return tuple(found)


def mode_of(noise: LayerNoise, barred: Mapping[str, str]) -> str | None:
    """Return the mode in which a layer is proposed, None where it may be in none or 16 bits change nothing."""
    known = MODES.get(noise.kind)
    if known is None:
        return None
    heavy = noise.weights is not None and noise.weights >= HEAVY_WEIGHTS
    if not heavy and noise.bits > 8:
        return None
    wanted = (WHOLE,) if heavy else (OUTPUT_ALONE, WHOLE)
    return next((mode for mode in wanted if mode in known.modes and mode not in barred), None)


def reason(noise: LayerNoise) -> str:
    """Return why a layer is loud, as far as it was measured."""
    part = f"makes {noise.share:.1%} of the noise at objects"
    if noise.weights is None:
        return part
    return f"{part}, {noise.weights:.0%} of that by its weights"


def barred_modes(layers: Sequence[HarLayer]) -> dict[str, dict[str, str]]:
    """Return, by layer, the modes that would bring 16 bits to a softmax or a product, with the layer that is meant.

    What such a layer reads is made by the first layer before it that computes something; what it makes is read by the
    first ones behind it. Layers that only move values pass bits on, in both directions: the inputs of a concatenation
    share one grid.
    """
    by_name = {layer.name: layer for layer in layers}
    readers: dict[str, list[str]] = {}
    for layer in layers:
        for name in layer.inputs:
            readers.setdefault(name, []).append(layer.name)
    barred: dict[str, dict[str, str]] = {}
    for layer in layers:
        if layer.kind not in NEVER_WIDE:
            continue
        around = _one_grid(layer, by_name, readers)
        for name in around:
            barred.setdefault(name, {}).update(dict.fromkeys((OUTPUT_ALONE, WHOLE), layer.name))
            for reader in readers.get(name, ()):
                barred.setdefault(reader, {}).setdefault(WHOLE, layer.name)
    return barred


def _one_grid(never: HarLayer, by_name: Mapping[str, HarLayer], readers: Mapping[str, list[str]]) -> set[str]:
    """Return the layers whose outputs have the bits of what a layer reads or makes, itself among them."""
    found, pending = {never.name}, deque([*never.inputs, never.name])
    while pending:
        name = pending.popleft()
        layer = by_name.get(name)
        if layer is None:
            continue
        found.add(name)
        joined = [reader for reader in readers.get(name, ()) if by_name[reader].kind in PASSIVE]
        joined += layer.inputs if layer.kind in PASSIVE else ()
        pending.extend(other for other in joined if other not in found and other not in pending)
    return found
