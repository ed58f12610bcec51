"""parsed.har, model.alls, calibration.safetensors -> model.har: the quantized network."""

from __future__ import annotations

from pathlib import Path

from build_rules.compilers import OptimizeJob, find_compiler

__all__ = ["run"]


def run(parsed_har: Path, script: Path, snapshot: Path, har: Path, compiler: str) -> None:
    """Quantize as the model script says."""
    find_compiler(compiler).optimize(OptimizeJob(parsed_har, script, snapshot, har))
