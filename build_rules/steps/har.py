"""parsed.har, model.alls, the samples and what was seen on them, split.onnx, feed.json -> model.har, har.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from build_rules.compilers.name_sample import naming_images
from build_rules.compilers.pixel_proof import prove_pixels
from build_rules.compilers.protocol import Compiler, OptimizeJob, Surroundings
from build_rules.compilers.read_back import read_optimize
from build_rules.engine.messages import progress, tell_warning
from build_rules.records.calibration_json import load_feed
from build_rules.records.stage_report import dump_report

__all__ = ["run"]


def run(
    parsed_har: Path,
    script: Path,
    snapshot: Path,
    split_onnx: Path,
    feed: Path,
    har: Path,
    report: Path,
    compiler: Compiler,
    chosen: str | None = None,
    log: Path | None = None,
    kept: Path | None = None,
    preset: str = "",
    endpoints: Sequence[Path] = (),
    statistics: Sequence[Path] = (),
) -> None:
    """Prove that the network sees what the exported graph does, then quantize as the model script says.

    `chosen` names the record of calibration images; only errors tell of it, and of the preset. `endpoints` is
    `endpoints.json` for a compiler that judges its work by decoded objects, and none for others; `statistics` what one
    that collects them has collected.
    """
    around = Surroundings(progress, tell_warning, log, kept, preset)
    collected, judged_by = next(iter(statistics), None), next(iter(endpoints), None)
    job = OptimizeJob(parsed_har, script, snapshot, har, around, collected, judged_by)
    with naming_images(chosen):
        prove_pixels(compiler, job, split_onnx, load_feed(feed))
        done = compiler.optimize(job)
    report.write_text(dump_report(done), encoding="utf-8")
    for warning in read_optimize(compiler, done, har, script, log).warnings:
        tell_warning(warning)
