"""model.har -> model.hef."""

from __future__ import annotations

from pathlib import Path

from build_rules.compilers.protocol import CompileJob, Compiler

__all__ = ["run"]


def run(har: Path, hef: Path, compiler: Compiler) -> None:
    """Compile the quantized network."""
    compiler.compile(CompileJob(har, hef))
