"""Kernels on a grid, symmetric per output channel, and the biases that make up for it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from build_rules.compilers.emulator.fuse import Layer
from build_rules.compilers.emulator.graph import attribute
from build_rules.compilers.emulator.network import Floats, Network, kernel_axis
from build_rules.compilers.emulator.observe import Observation
from build_rules.compilers.emulator.quantization_plan import Kernel

__all__ = ["corrected_bias", "per_channel", "quantize_kernel", "real_kernel"]

SHRINKS = {4: np.linspace(1.0, 0.5, 26), 8: np.linspace(1.0, 0.9, 6), 16: np.ones(1)}


def quantize_kernel(kernel: Floats, axis: int, bits: int) -> Kernel:
    """Round a kernel to `bits` bits; every output channel (along `axis`) gets the scale of least squared error."""
    rows = np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1).astype(np.float64)
    top = (1 << (bits - 1)) - 1
    widest = np.maximum(np.abs(rows).max(axis=1), 1e-12)
    best_error = np.full(len(rows), np.inf)
    scales = np.zeros(len(rows), dtype=np.float32)
    for shrink in SHRINKS[bits]:
        candidate = (widest * shrink / top).astype(np.float32)
        error = ((_rounded(rows, candidate, top) * candidate[:, None] - rows) ** 2).sum(axis=1)
        better = error < best_error
        best_error[better], scales[better] = error[better], candidate[better]
    values = _rounded(rows, scales, top).astype(np.int16 if bits == 16 else np.int8)
    moved = values.reshape(np.moveaxis(kernel, axis, 0).shape)
    return Kernel(np.ascontiguousarray(np.moveaxis(moved, 0, axis)), scales, bits)


def _rounded(rows: npt.NDArray[np.float64], scales: Floats, top: int) -> npt.NDArray[np.float64]:
    return np.clip(np.rint(rows / scales[:, None]), -top, top)


def real_kernel(kernel: Kernel, axis: int) -> Floats:
    """Return the kernel's real values."""
    return (kernel.values * per_channel(kernel.scales, axis, kernel.values.ndim)).astype(np.float32)


def per_channel(values: Floats, axis: int, rank: int) -> Floats:
    """Return a vector shaped to multiply a tensor of `rank` along `axis`."""
    return values.reshape([-1 if index == axis else 1 for index in range(rank)])


def corrected_bias(network: Network, layer: Layer, bias: Floats, kernel: Kernel, seen: Observation) -> Floats:
    """Return the bias that cancels the mean error which rounding the kernel makes on calibration data.

    E[(W - Wq) x] = sum over inputs and taps of (W - Wq) E[x], with E[x] per input channel (Nagel et al. 2019,
    data-free quantization, section 4.2, with measured means).
    """
    node = network.graph.nodes[layer.nodes[0]]
    axis = kernel_axis(network.graph, layer)
    error = network.kernel(layer).astype(np.float64) - real_kernel(kernel, axis)
    means = seen.channel_means.astype(np.float64)
    if layer.kind == "dense":
        return np.asarray(bias + np.moveaxis(error, axis, 0) @ means, dtype=np.float32)
    groups = attribute(node, "group", 1)
    taps = error.reshape(*error.shape[:2], -1).sum(axis=2)
    if layer.kind == "deconv":
        if groups > 1:
            return bias
        # Each output position is reached by one tap in stride * stride.
        shift = (taps * means[:, None]).sum(axis=0) / np.prod(attribute(node, "strides", [1, 1]))
    else:
        per_group = means.reshape(groups, -1).repeat(len(taps) // groups, axis=0)
        shift = (taps * per_group).sum(axis=1)
    return np.asarray(bias + shift, dtype=np.float32)
