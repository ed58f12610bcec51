"""model.har, compile.alls, model.alls -> model.hef, hef.json."""

from __future__ import annotations

from pathlib import Path

from build_rules.compilers.protocol import ALLOCATION_REUSED, CompileJob, Compiler, Surroundings
from build_rules.compilers.read_back import read_compile
from build_rules.engine.messages import progress, tell_warning
from build_rules.engine.running.note_reads import note_reads
from build_rules.records.stage_report import dump_report

__all__ = ["run"]


def run(
    har: Path,
    compile_script: Path,
    model_script: Path,
    hef: Path,
    report: Path,
    compiler: Compiler,
    hw_arch: str,
    allocation: Path | None = None,
    log: Path | None = None,
    kept: Path | None = None,
    preset: str = "",
) -> tuple[Path, ...]:
    """Compile the quantized network, and compare what was made with what HAR and model script ask for.

    What is something else fails the step: it is neither recorded nor shared. Returns what it turned out to read. Only
    errors tell of the preset.
    """
    if allocation is not None:
        note_reads(hef, [allocation])
    around = Surroundings(progress, tell_warning, log, kept, preset)
    found = hef.with_name("found.alls")
    done = compiler.compile(CompileJob(har, hef, compile_script, allocation, found, around))
    told = read_compile(compiler, done, hef, har, model_script, log, hw_arch)
    report.write_text(dump_report(done), encoding="utf-8")
    for warning in told.warnings:
        tell_warning(warning)
    if allocation is None or done.facts.get(ALLOCATION_REUSED):
        return () if allocation is None else (allocation,)
    if found.is_file():
        found.replace(allocation)
    return ()
