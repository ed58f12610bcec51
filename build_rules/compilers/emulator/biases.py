"""Biases as an accumulator of 32 bits holds them: whole multiples of the scale of what is summed up there.

A product of a rounded input and a rounded weight is a multiple of input scale x kernel scale, and so are their sums,
to which the bias is added (Jacob et al. 2018, Quantization and Training of Neural Networks, section 2.4).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from build_rules.compilers.emulator.fuse import Layer
from build_rules.compilers.emulator.network import Floats, Network
from build_rules.compilers.emulator.quantization_plan import Plan, image_tensors

__all__ = ["clipped_biases", "with_integer_biases"]

TOP = (1 << 31) - 1
BOTH_WIDE = 1 << 16
"""Products of 16 by 16 bits fill 32 by themselves, so they are summed up in coarser steps: those of 8 by 8 bits."""


def with_integer_biases(network: Network, plan: Plan) -> Plan:
    """Return `plan` with every bias on the grid of its accumulator; what lies beyond 32 bits becomes the last step."""
    biases, pixels = dict(plan.biases), image_tensors(network)
    for layer in network.weighted:
        if (steps := _steps(pixels, plan, layer)) is not None:
            biases[layer.name] = _rounded(plan.biases[layer.name], steps)
    return replace(plan, biases=biases)


def clipped_biases(network: Network, plan: Plan) -> tuple[str, ...]:
    """Return the layers whose bias no accumulator of 32 bits holds."""
    clipped, pixels = [], image_tensors(network)
    for layer in network.weighted:
        steps = _steps(pixels, plan, layer)
        if steps is not None and (np.abs(np.rint(plan.biases[layer.name].astype(np.float64) / steps)) >= TOP).any():
            clipped.append(layer.name)
    return tuple(clipped)


def _steps(pixels: frozenset[str], plan: Plan, layer: Layer) -> npt.NDArray[np.float64] | None:
    """Return the step of each channel's accumulator; None without a bias, or where the input is on no grid."""
    if layer.name not in plan.biases or layer.name not in plan.kernels:
        return None
    scales = plan.kernels[layer.name].scales.astype(np.float64)
    tensor = layer.inputs[0]
    if tensor in plan.tensors:
        is_wide = plan.kernels[layer.name].bits == plan.tensors[tensor].bits == 16
        return scales * plan.tensors[tensor].scale * (BOTH_WIDE if is_wide else 1)
    if tensor not in pixels:
        return None
    # Pixels are whole; those of channels with the same deviation are summed up in its unit.
    deviations = set(plan.std or (1.0,))
    return scales / deviations.pop() if len(deviations) == 1 else None


def _rounded(bias: Floats, steps: npt.NDArray[np.float64]) -> Floats:
    whole = np.clip(np.rint(bias.astype(np.float64) / steps), -TOP, TOP)
    return np.asarray(whole * steps, dtype=np.float32)
