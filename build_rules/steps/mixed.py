"""parsed.har, split.onnx, a script without any set, calibration.safetensors -> mixed.json: the layers worth 16 bits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from build_rules.compilers.protocol import Compiler, StatisticsJob, Surroundings
from build_rules.engine.messages import progress, tell_warning
from build_rules.mixed.find_set import SetInputs, find_set
from build_rules.records.calibration_json import load_calibrated
from build_rules.records.mixed_json import dump_mixed
from build_rules.records.split_json import in_pixels, load_split

__all__ = ["run"]


def run(
    parsed_har: Path,
    script: Path,
    snapshot: Path,
    endpoints: Path,
    exported: Path,
    feed: Path,
    calibrated: Path,
    mixed: Path,
    compiler: Compiler,
    statistics: Sequence[Path] = (),
    split_json: Sequence[Path] = (),
) -> None:
    """Find the smallest set of layers, and prove it on calibration images that it was not chosen by.

    `compiler` is one that can measure noise; where the network is compiled by another, its set is an estimate.
    `statistics` is what it has collected for the presets, where it makes them; where it does not, `split_json` says how
    pixels are normalized, and it collects here what all sets share.
    """
    around, facts = Surroundings(progress, tell_warning), load_calibrated(calibrated)
    with TemporaryDirectory() as folder:
        collected = next(iter(statistics), None)
        for cut in split_json if compiler.collects_statistics else ():
            collected = Path(folder) / "statistics.npz"
            mean, std = in_pixels(facts.normalization, load_split(cut).front)
            compiler.collect(StatisticsJob(parsed_har, snapshot, mean, std, collected, around))
        found = find_set(
            SetInputs(
                compiler,
                parsed_har,
                script,
                snapshot,
                endpoints,
                exported,
                feed,
                facts.count,
                around=around,
                statistics=collected,
            ),
            Path(folder),
        )
    mixed.write_text(dump_mixed(found), encoding="utf-8")
    print(f"   mixed precision: {found.because}")
