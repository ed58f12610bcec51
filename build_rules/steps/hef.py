"""model.har, compile.alls -> model.hef, hef.json."""

from __future__ import annotations

from pathlib import Path

from build_rules.compilers.protocol import CompileJob, Compiler, Surroundings
from build_rules.engine.messages import progress
from build_rules.records.stage_report import dump_report

__all__ = ["run"]


def run(
    har: Path,
    compile_script: Path,
    hef: Path,
    report: Path,
    compiler: Compiler,
    allocation: Path | None = None,
    log: Path | None = None,
    kept: Path | None = None,
) -> None:
    """Compile the quantized network as the lines of the compile stage say."""
    around = Surroundings(progress, log, kept)
    done = compiler.compile(CompileJob(har, hef, compile_script, allocation, around))
    report.write_text(dump_report(done), encoding="utf-8")
    for warning in done.warnings:
        print(f"   warning: {warning}")
