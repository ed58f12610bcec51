"""model.har -> model.hef."""

from __future__ import annotations

from pathlib import Path

from build_rules.compilers import CompileJob, find_compiler

__all__ = ["run"]


def run(har: Path, hef: Path, compiler: str) -> None:
    """Compile the quantized network."""
    find_compiler(compiler).compile(CompileJob(har, hef))
