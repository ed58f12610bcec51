"""What an optimization says while it works: the lines that are known from public logs, in their order."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from . import logs
from .levels import Plan
from .logs import ACCELERAS

__all__ = ["begin", "end"]


def begin(plan: Plan, hn: Mapping[str, Any], extent: tuple[float, float], normalized: bool) -> None:
    """Say what will be done, as far as the calibration."""
    _say("Starting Model Optimization")
    if plan.asked is None and not plan.reasons:
        _say(f"Using default optimization level of {plan.level}")
    if plan.reasons:
        effect = (
            "the accuracy won't be optimized and compression won't be used"
            if plan.level == 0
            else "the accuracy might be suboptimal"
        )
        _warn(f"Reducing optimization level to {plan.level} ({effect}) because {', and '.join(plan.reasons)}")
    if plan.level == 0:
        _warn(
            "Running model optimization with zero level of optimization is not recommended for production use and "
            "might lead to suboptimal accuracy results"
        )
    if plan.compression_lowered:
        _say("Reducing compression level to 0 because requested optimization level equal or less than 1")
    if not normalized:
        _say(
            f"The calibration set seems to not be normalized, because the values range is [{extent}]. Since the neural "
            "core works in 8-bit (between 0 to 255), a quantization will occur on the CPU of the runtime platform. Add "
            "a normalization layer to the model to offload the normalization to the neural core."
        )
    if plan.compression > 0:
        count = _four_bit(hn, plan.compression)
        _say(f"Assigning 4bit weights to {len(count)} layers: {', '.join(count)}")
    _skipped("MatmulDecompose")
    _done("Mixed Precision")
    _skipped("LayerNorm Decomposition")
    _say("Starting Statistics Collector")
    _say(f"Using dataset with {plan.calibration} entries for calibration")
    for step in range(0, plan.calibration, max(plan.calibration // 8, 1)):
        logs.progress("Calibration", step, plan.calibration)
    logs.progress("Calibration", plan.calibration, plan.calibration)
    _finished("Statistics Collector", 1.63)


def end(plan: Plan, hn: Mapping[str, Any], folded: Mapping[str, str], work: Callable[[], None]) -> None:
    """Say what is done with the statistics, and do it: `work` is called where the longest algorithm works."""
    if plan.finetune is None:
        work()
    for layer, activation in folded.items():
        if activation == "sigmoid":
            name = layer if "/" in layer else f"{hn['name']}/{layer}"
            _say(
                f"Output layer {name} with sigmoid activation was detected. Forcing its output range to be [0, 1] "
                "(original range was [0.000, 0.998])."
            )
    _done("Fix zp_comp Encoding")
    _done("Matmul Equalization")
    _skipped("Finetune encoding")
    _run("Bias Correction", plan.bias_correction)
    if plan.adaround is None:
        _skipped("Adaround")
    else:
        _say("Starting Adaround")
        _say(f"Using dataset with {plan.adaround} entries for Adaround")
        _finished("Adaround", 2.5)
    if plan.finetune is None:
        _skipped("Quantization-Aware Fine-Tuning")
    else:
        _say("Starting Quantization-Aware Fine-Tuning")
        _say(f"Using dataset with {plan.finetune} entries for finetune")
        for epoch in range(plan.epochs):
            logs.bare(f"Epoch {epoch + 1}/{plan.epochs}", ACCELERAS)
            logs.progress("Training", 1, 1, "batches")
        work()
        _finished("Quantization-Aware Fine-Tuning", 7.25)
    if plan.noise_analysis:
        _say("Starting Layer Noise Analysis")
        for name, layer in hn["layers"].items():
            if layer["type"] == "output_layer":
                _say(f"\t{name} SNR:\t28.08 dB")
        _finished("Layer Noise Analysis", 0.8)
    else:
        _skipped("Layer Noise Analysis")
    _say("Model Optimization is done")


def _four_bit(hn: Mapping[str, Any], compression: int) -> list[str]:
    """Return the layers whose weights get 4 bits: the largest kernels, a fifth of all weights per compression level."""
    sizes: dict[str, int] = {}
    for name, layer in hn["layers"].items():
        shape = layer.get("params", {}).get("kernel_shape")
        if shape and layer["type"] in ("conv", "dw", "deconv", "dense"):
            size = 1
            for extent in shape:
                size *= extent
            sizes[name] = size
    budget, chosen = compression * sum(sizes.values()) / 5, []
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        if sizes[name] <= budget:
            chosen.append(name)
            budget -= sizes[name]
    return chosen


def _run(name: str, runs: bool) -> None:
    if runs:
        _done(name)
    else:
        _skipped(name)


def _done(name: str) -> None:
    _say(f"Starting {name}")
    _finished(name, 0.01)


def _finished(name: str, seconds: float) -> None:
    stamp = time.strftime("%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 100) % 100:02d}"
    _say(f"Model Optimization Algorithm {name} is done (completion time is {stamp})")


def _skipped(name: str) -> None:
    _say(f"{name} skipped")


def _say(text: str) -> None:
    logs.info(text, ACCELERAS)


def _warn(text: str) -> None:
    logs.warning(text, ACCELERAS)
