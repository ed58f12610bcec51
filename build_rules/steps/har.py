"""parsed.har, model.alls, calibration.safetensors, split.onnx, feed.json -> model.har: the quantized network."""

from __future__ import annotations

from pathlib import Path

from build_rules.calibrated import load_feed
from build_rules.compilers import OptimizeJob, find_compiler
from build_rules.compilers.pixel_proof import prove_pixels

__all__ = ["run"]


def run(parsed_har: Path, script: Path, snapshot: Path, split_onnx: Path, feed: Path, har: Path, compiler: str) -> None:
    """Prove that the network sees what the exported graph does, then quantize as the model script says."""
    chosen, job = find_compiler(compiler), OptimizeJob(parsed_har, script, snapshot, har)
    prove_pixels(chosen, job, split_onnx, load_feed(feed))
    chosen.optimize(job)
