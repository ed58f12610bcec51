"""Train one example model and put its ONNX file in place: `python -m training.train shapes-det`.

One recipe for all: AdamW, a short warm-up, a cosine to nearly nothing, and the running average of the weights is
what is kept. The held-out scenes are only looked at, never chosen by: the last weights are the result, whatever they
score.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.evaluate import evaluate, load_held_out, report
from training.export import export
from training.losses import Losses, Targets, detection_losses
from training.networks import NETWORKS, Detector, build
from training.pool import INPUT_SIZE, Batch, TrainingPool, load_pool
from training.scenes import CLASSES, USUAL
from training.start import start_from

__all__ = ["train"]

BATCH = 16
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.02
WARM_UP = 200  # steps, or a tenth of a short training
AVERAGE = 0.998
SEED = 0


class RunningAverage:
    """An exponential average of a network's weights, quick at first and slow later."""

    def __init__(self, network: Detector) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.steps = 0

    @torch.no_grad()
    def update(self, network: Detector) -> None:
        self.steps += 1
        keep = AVERAGE * (1 - math.exp(-self.steps / 500))
        current = network.state_dict()
        for name, value in self.network.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(current[name], 1 - keep)


def _parameter_groups(network: nn.Module) -> list[dict[str, object]]:
    """Weight decay for kernels only, not for biases and norms."""
    kernels = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": kernels, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]


def _rate(step: int, steps: int) -> float:
    """Share of the learning rate at a step."""
    warm = min(1.0, (step + 1) / min(WARM_UP, steps // 10))
    return warm * (0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2)


def _tensors(batch: Batch) -> tuple[Tensor, Targets]:
    images = torch.from_numpy(batch.images).to(memory_format=torch.channels_last).float() / 255
    return images, Targets(
        torch.from_numpy(batch.boxes), torch.from_numpy(batch.labels), torch.from_numpy(batch.instances)
    )


def _step(network: Detector, optimizer: torch.optim.Optimizer, batch: Batch) -> Losses:
    images, targets = _tensors(batch)
    losses = detection_losses(network, network.raw(images), targets)
    optimizer.zero_grad(set_to_none=True)
    losses.total.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 10.0)
    optimizer.step()
    return losses


def _held_out(network: Detector, folder: Path) -> str:
    """The running average's score on the held-out scenes."""

    @torch.no_grad()
    def run(images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        answer = network(torch.from_numpy(images))
        return [part.numpy() for part in (answer if isinstance(answer, tuple) else (answer,))]

    return report(evaluate(run, load_held_out(folder), INPUT_SIZE))


def _start(name: str, start: Path | None, pool: TrainingPool) -> Detector:
    """A fresh network, or one that takes over whatever weights of another have the same name and shape."""
    torch.manual_seed(SEED)
    network = build(name, len(CLASSES), INPUT_SIZE)
    if start is not None:
        start_from(network, start, pool)
    return network


def _in_format(network: Detector, memory_format: torch.memory_format) -> Detector:
    """The order of the numbers in memory: channels last trains faster."""
    network.to(memory_format=memory_format)  # type: ignore[call-overload]
    return network


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"


def _shown(losses: Losses) -> str:
    parts = {"boxes": losses.boxes, "scores": losses.scores, "distances": losses.distances, "masks": losses.masks}
    return " ".join(f"{part} {float(loss.detach()):.3f}" for part, loss in parts.items())


def train(
    name: str, epochs: int, cache: Path, scenes: Path, start: Path | None, rate: float, pool: TrainingPool
) -> Detector:
    """Train and return the averaged network; its weights also go to `cache/NAME.pt` after every epoch."""
    network = _in_format(_start(name, start, pool), torch.channels_last).train()
    average = RunningAverage(network)
    optimizer = torch.optim.AdamW(_parameter_groups(network), lr=rate)
    steps = epochs * (len(pool.images) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    rng = np.random.Generator(np.random.PCG64(SEED))
    began = time.monotonic()
    for epoch in range(epochs):
        for number, batch in enumerate(pool.epoch(rng, BATCH)):
            losses = _step(network, optimizer, batch)
            schedule.step()
            average.update(network)
            if number % 50 == 0:
                print(f"{name} epoch {epoch + 1}/{epochs} step {number} {_since(began)}: {_shown(losses)}", flush=True)
        torch.save(average.network.state_dict(), cache / f"{name}.pt")
        print(f"{name} epoch {epoch + 1}/{epochs} {_since(began)}: {_held_out(average.network, scenes)}", flush=True)
    return average.network


def main() -> None:
    parser = argparse.ArgumentParser(description="Train one example model.")
    parser.add_argument("model", choices=sorted(NETWORKS))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--start", type=Path, help="weights to begin with: another training's, or an example's .onnx")
    parser.add_argument("--rate", type=float, default=LEARNING_RATE, help="the highest learning rate")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=6000, help="how many scenes an epoch has")
    parser.add_argument(
        "--cache", type=Path, default=Path("build/training"), help="where the scene pool and weights are kept"
    )
    parser.add_argument("--models", type=Path, default=Path("models"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    design = NETWORKS[arguments.model]
    pool = load_pool(arguments.cache, arguments.scenes, design.spread)
    scenes = arguments.models / ("scenes" if design.spread == USUAL else "scenes-wide") / "heldout"
    network = train(arguments.model, arguments.epochs, arguments.cache, scenes, arguments.start, arguments.rate, pool)
    file = arguments.models / arguments.model / f"{arguments.model}.onnx"
    export(_in_format(network, torch.contiguous_format), arguments.model, file)


if __name__ == "__main__":
    main()
