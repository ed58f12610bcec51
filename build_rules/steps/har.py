"""parsed.har, model.alls, calibration.safetensors, split.onnx, feed.json -> model.har, har.json: what is quantized."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from build_rules.compilers.pixel_proof import prove_pixels
from build_rules.compilers.protocol import Compiler, OptimizeJob, SampleError, Surroundings
from build_rules.compilers.read_back import read_optimize
from build_rules.engine.messages import progress, tell_warning
from build_rules.errors import InputError
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
) -> None:
    """Prove that the network sees what the exported graph does, then quantize as the model script says.

    `chosen` names the record of calibration images; only errors tell of it, and of the preset. `endpoints` is
    `endpoints.json` for a compiler that judges its work by decoded objects, and none for others.
    """
    around = Surroundings(progress, tell_warning, log, kept, preset)
    job = OptimizeJob(parsed_har, script, snapshot, har, around, endpoints=next(iter(endpoints), None))
    try:
        prove_pixels(compiler, job, split_onnx, load_feed(feed))
        done = compiler.optimize(job)
    except SampleError as error:
        image = _image(chosen, error.sample)
        raise InputError(f"{error} Sample {error.sample} is {image}." if image else str(error)) from error
    report.write_text(dump_report(done), encoding="utf-8")
    for warning in read_optimize(compiler, done, har, script, log).warnings:
        tell_warning(warning)


def _image(chosen: str | None, sample: int) -> str | None:
    """Return the name of the image that a sample was made from; None where nobody has written it down."""
    try:
        images = json.loads(Path(chosen or "").read_text(encoding="utf-8"))["images"]
        names = [str(image["name"]) for image in images for _ in range(image["samples"])]
        return names[sample]
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
