"""parsed.har, calibration.safetensors -> statistics.npz: what the network does on the samples, for all its presets."""

from __future__ import annotations

from pathlib import Path

from build_rules.compilers.name_sample import naming_images
from build_rules.compilers.protocol import Compiler, StatisticsJob, Surroundings
from build_rules.engine.messages import progress, tell_warning
from build_rules.records.calibration_json import load_calibrated
from build_rules.records.split_json import in_pixels, load_split

__all__ = ["run"]


def run(
    parsed_har: Path,
    split_json: Path,
    calibrated: Path,
    snapshot: Path,
    statistics: Path,
    compiler: Compiler,
    chosen: str | None = None,
) -> None:
    """Let the compiler observe its network on every sample, normalized as all model scripts will say.

    `chosen` names the record of calibration images; only errors tell of it.
    """
    mean, std = in_pixels(load_calibrated(calibrated).normalization, load_split(split_json).front)
    with naming_images(chosen):
        compiler.collect(
            StatisticsJob(parsed_har, snapshot, mean, std, statistics, Surroundings(progress, tell_warning))
        )
