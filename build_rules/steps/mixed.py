"""parsed.har, a script without any set, calibration.safetensors -> mixed.json: which layers 16 bits are worth."""

from __future__ import annotations

from pathlib import Path

from build_rules.compilers.protocol import Compiler, Surroundings
from build_rules.engine.messages import progress, tell_warning
from build_rules.mixed.find_set import SetInputs, find_set
from build_rules.records.calibration_json import load_calibrated
from build_rules.records.mixed_json import dump_mixed

__all__ = ["run"]


def run(
    parsed_har: Path,
    script: Path,
    snapshot: Path,
    split_json: Path,
    calibrated: Path,
    mixed: Path,
    compiler: Compiler,
) -> None:
    """Find the smallest set of layers, and prove it on calibration images that it was not chosen by.

    `compiler` is one that can measure noise; where the network is compiled by another, its set is an estimate.
    """
    found = find_set(
        SetInputs(
            compiler,
            parsed_har,
            script,
            snapshot,
            split_json,
            load_calibrated(calibrated).count,
            around=Surroundings(progress, tell_warning),
        )
    )
    mixed.write_text(dump_mixed(found), encoding="utf-8")
    print(f"   mixed precision: {found.because}")
