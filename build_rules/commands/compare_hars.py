"""`doit compare FILE.har... IMAGES...`: quantized networks of any compiler beside the float network of their model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from build_rules.commands.command import check_file
from build_rules.commands.compare_images import held_out_set, list_held_out
from build_rules.commands.compare_inputs import compare, truth_reader
from build_rules.commands.infer import configured
from build_rules.commands.load_images import loader
from build_rules.comparison.compare_model import Progress
from build_rules.comparison.comparison_inputs import ComparisonInputs, PresetInputs
from build_rules.comparison.measured import Comparison
from build_rules.compilers import find_maker
from build_rules.errors import InputError
from build_rules.records.calibration_json import load_calibrated, load_feed
from build_rules.records.split_json import load_split

__all__ = ["compare_hars"]


def compare_hars(named: Sequence[Path], truth: Path | None, progress: Progress) -> Comparison:
    """Compare the HARs that are named first on the images behind them.

    Raises `InputError` where the build of their model does not lie around the first one, which has the float network.
    """
    hars = [path for path in named if path.suffix.lower() == ".har"]
    images = list_held_out([path for path in named if path.suffix.lower() != ".har"])
    for har in hars:
        check_file(har)
    if not images:
        raise InputError(
            f"{hars[0]}: is to be compared on no image; name images behind it: doit compare FILE.har IMAGES."
        )
    folder = _build_around(hars[0])
    split, calibrated = load_split(folder / "split.json"), load_calibrated(folder / "calibration.json")
    compilers = [configured(find_maker(har), har) for har in hars]
    description = compilers[0].describe(hars[0])
    shape = (split.input.height, split.input.width, split.input.channels)
    resize = calibrated.geometry.resize
    presets = [
        PresetInputs(name, str(har), compiler, "", har, har.with_name("model+meta.hef"))
        for name, har, compiler in zip(_names(hars), hars, compilers, strict=True)
    ]
    reader = None if truth is None else truth_reader(truth, split, resize, ())
    return compare(
        ComparisonInputs(
            model=folder.name,
            hw_arch=description.hw_arch or "a chip that the HAR does not tell",
            split=split,
            endpoints=load_split(folder / "endpoints.json"),
            exported=folder / "split.onnx",
            feed=load_feed(hars[0].absolute().parent / "feed.json"),
            presets=tuple(sorted(presets, key=_cost)),
            sets=(held_out_set(images, loader(hars[0], shape), reader, truth),),
        ),
        None,
        progress,
    )


def _cost(preset: PresetInputs) -> tuple[int, int]:
    """Return what a HAR costs a device: the bytes of a frame, then the layers in 16 bits. Advice takes the cheapest."""
    assert preset.har is not None
    description = preset.compiler.describe(preset.har)
    return description.frame_bytes, len(description.wide_layers)


def _build_around(har: Path) -> Path:
    """Return the folder of a HAR's model below `build/`."""
    place = har.absolute().parent
    needed = [place / "feed.json", *(place.parent / name for name in ("split.onnx", "split.json", "endpoints.json"))]
    missing = next((path for path in (*needed, place.parent / "calibration.json") if not path.is_file()), None)
    if missing is not None:
        raise InputError(
            f"{har}: the float network that it is to be compared with lies in the build of its model, and there is no "
            f"{missing}; name the HAR where it was built, build/MODEL/TARGET/model.har, first, and others behind it."
        )
    return place.parent


def _names(hars: Sequence[Path]) -> list[str]:
    """Return what HARs are called in a table: their folders, or what tells them apart."""
    names = [har.absolute().parent.name for har in hars]
    if len({*names}) == len(names):
        return names
    names = [har.stem for har in hars]
    return names if len({*names}) == len(names) else [f"{number} {name}" for number, name in enumerate(names, start=1)]
