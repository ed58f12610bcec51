"""EdgeFirst's validator as judge: its whole command line, on our HEF as on any other, with the host for a device.

`edgefirst-validator` brings 100 MB along (polars, Studio's client, matplotlib), so the extra `test` is without it; the
extra `judges` has it.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from build_rules.objects.found import Objects

__all__ = ["Validated", "needs_validator", "validate", "write_yolo"]

STAND_IN = Path(__file__).parent / "hailort"
needs_validator = pytest.mark.skipif(
    find_spec("edgefirst") is None or find_spec("edgefirst.validator") is None,
    reason="edgefirst-validator is not installed: pip install -e '.[judges]', as .ci/full does",
)
OPTIONS = (
    *("--backend", "opencv", "--preprocessing", "letterbox", "--norm", "unsigned"),
    *("--nms", "numpy", "--class-nms", "--nms-score-threshold", "0.001", "--nms-iou-threshold", "0.7", "--override"),
    *("--warmup", "0", "--suppress-plots", "--suppress-deployment-metrics"),
)
"""Classes suppressed on their own, as the models' metadata say; its other code for images wants a HAL of its own."""


@dataclass(frozen=True)
class Validated:
    """Mean average precision as the validator computes it."""

    map50: float
    map50_95: float


def write_yolo(folder: Path, images: Sequence[Path], truths: Sequence[Objects], names: Sequence[str]) -> Path:
    """Write labels (boxes in pixels of their image) and a data set file as YOLO trainers have them."""
    pictures, labels = folder / "images/val", folder / "labels/val"
    pictures.mkdir(parents=True)
    labels.mkdir(parents=True)
    for file, truth in zip(images, truths, strict=True):
        (pictures / file.name).symlink_to(file)
        with Image.open(file) as image:
            width, height = image.size
        rows = [
            f"{label} {(x1 + x2) / 2 / width:.8f} {(y1 + y2) / 2 / height:.8f} "
            f"{(x2 - x1) / width:.8f} {(y2 - y1) / height:.8f}\n"
            for (x1, y1, x2, y2), label in zip(truth.boxes.tolist(), truth.labels.tolist(), strict=True)
        ]
        (labels / f"{file.stem}.txt").write_text("".join(rows))
    described = folder / "dataset.yaml"
    described.write_text(f"classes: [{', '.join(names)}]\nvalidation:\n  images: {pictures}\n  annotations: {labels}\n")
    return described


def validate(hef: Path, data_set: Path, folder: Path) -> Validated:
    """Run the validator's command line, in a process of its own."""
    table = folder / f"{hef.parent.name}.csv"
    path = os.pathsep.join([str(STAND_IN), str(Path(__file__).resolve().parents[2])])
    run = subprocess.run(
        [sys.executable, "-m", "edgefirst.validator", str(hef), str(data_set), *OPTIONS, "--csv", str(table)],
        env={**os.environ, "PYTHONPATH": path, "RUST_LOG": "error"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    with table.open(newline="") as file:
        (row,) = csv.DictReader(file)
    return Validated(float(row["mAP@0.50"]), float(row["mAP@0.50-0.95"]))
