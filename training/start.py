"""Weights to begin a training with: another training's own, or those of an exported example.

An export has folded every batch norm into the convolution before it. To train on, each gets one back that changes
nothing: its mean and deviation are those that the convolution has on a few scenes, its scale and shift undo them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from training.networks import Conv, Detector
from training.pool import TrainingPool

__all__ = ["start_from"]

LOOKED_AT = 64  # scenes


def _parameters(file: Path) -> dict[str, Tensor]:
    if file.suffix != ".onnx":
        return dict(torch.load(file, weights_only=True))
    graph = onnx.load(file).graph
    return {t.name: torch.from_numpy(np.array(onnx.numpy_helper.to_array(t))) for t in graph.initializer}


@torch.no_grad()
def _unfold(network: Detector, biases: dict[str, Tensor], images: Tensor) -> None:
    """Give every known convolution's batch norm the statistics of `images`, layer by layer in one pass."""

    def observe(bias: Tensor) -> object:
        def hook(norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
            mean, variance = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3))
            norm.running_mean, norm.running_var = mean, variance
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.bias.copy_(mean + bias)

        return hook

    hooks = [
        module.bn.register_forward_pre_hook(observe(biases[f"{name}.conv.bias"]))  # type: ignore[arg-type]
        for name, module in network.named_modules()
        if isinstance(module, Conv) and f"{name}.conv.bias" in biases
    ]
    network.eval().raw(images)
    for hook in hooks:
        hook.remove()


def start_from(network: Detector, file: Path, pool: TrainingPool) -> None:
    """Take over whatever weights in `file` (`.pt` or `.onnx`) have the name and shape of this network's."""
    known, mine = _parameters(file), network.state_dict()
    same = {k: v for k, v in known.items() if k in mine and v.shape == mine[k].shape}
    network.load_state_dict(same, strict=False)
    if file.suffix == ".onnx":
        biases = {k: v for k, v in known.items() if k.removesuffix("bias") + "weight" in same}
        images = np.ascontiguousarray(pool.images[:LOOKED_AT].transpose(0, 3, 1, 2))
        _unfold(network, biases, torch.from_numpy(images).float() / 255)
