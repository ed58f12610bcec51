"""What `doit compare` and `doit report` compare of one model: chips, presets, images, truth; and what of it is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from build_rules import workspace as ws
from build_rules.commands.compare_images import calibration_set, held_out_set, list_held_out
from build_rules.commands.load_images import loader
from build_rules.commands.other_presets import digest_without, quantize_with
from build_rules.commands.task_command import Steps
from build_rules.comparison.comparison_inputs import (
    CheckFiles,
    ComparisonInputs,
    ImageSet,
    PresetInputs,
    digest_of,
    files_digest,
)
from build_rules.comparison.kept_comparison import keep, recall
from build_rules.engine.freshness.key import Kind
from build_rules.engine.places import make_folder, write_whole
from build_rules.errors import InputError
from build_rules.presets import PRESETS
from build_rules.records.calibration_json import load_calibrated, load_feed
from build_rules.records.split_json import Split, load_split

if TYPE_CHECKING:
    from build_rules.comparison.compare_model import Progress
    from build_rules.comparison.measured import Comparison
    from build_rules.compilers.protocol import Compiler
    from build_rules.declared.model import Model
    from build_rules.declared.settings import Target
    from build_rules.objects.found import Objects

__all__ = [
    "KEPT",
    "Asked",
    "class_names",
    "compare",
    "compared_before",
    "gather",
    "kept_at",
    "scratch_folder",
    "scratch_folders",
    "truth_reader",
]

COMPARES = Kind(
    "compare",
    "",
    (
        "comparison",
        "objects",
        "calibration/pixels",
        "compilers/delivered.py",
        "compilers/exported_graph.py",
        "compilers/describe_har.py",
        "presets.py",
    ),
)
"""What a comparison is made of besides its inputs."""
KEPT = "compare.json"


@dataclass(frozen=True)
class Asked:
    """What somebody asked for beside the model: `images` and `truth` in the place of those that it declares."""

    images: tuple[Path, ...] = ()
    truth: Path | None = None

    @property
    def is_usual(self) -> bool:
        """Whether that is what the model declares."""
        return not self.images and self.truth is None


def gather(model: Model, steps: Steps, asked: Asked) -> Iterator[ComparisonInputs]:
    """Return what is compared of a model, chip by chip.

    Raises `InputError` for a model of which nothing is built, and for images and truth that cannot be read.
    """
    if model.is_prebuilt:
        raise InputError(
            f"{model.name}: was compiled elsewhere, so there is nothing quantized here that could be run; name its "
            "HAR: doit compare FILE.har IMAGES."
        )
    if (fault := model.fault("split") or model.fault("calibration")) is not None:
        raise InputError(fault)
    built = [target for _, target in ws.targets((model,)) if (ws.target_folder(model, target) / "model.har").is_file()]
    if not built or not (ws.folder(model) / "endpoints.json").is_file():
        raise InputError(f"{model.name}: nothing of it is built yet; run doit 'meta:{model.name}:*' first.")
    chosen = _images(model, asked)
    for hw_arch in dict.fromkeys(target.hw_arch for target in built):
        yield _of_chip(model, steps, [target for target in built if target.hw_arch == hw_arch], chosen)


@dataclass(frozen=True)
class _Chosen:
    files: tuple[Path, ...]
    truth: Path | None
    notes: tuple[str, ...]


def _images(model: Model, asked: Asked) -> _Chosen:
    """Decide which images are compared, besides calibration images."""
    from build_rules.declared.compare_table import read_compare

    declared = read_compare(model.folder)
    named = asked.images or (() if declared.images is None else (declared.images,))
    truth = asked.truth or (declared.truth if not asked.images else None)
    if truth is not None and not named:
        raise InputError(
            f"{truth}: is the truth of no images; name them: doit compare {model.name} IMAGES..., or images in "
            f"[compare] of {model.folder / ws.DECLARATION}."
        )
    if truth is not None and not truth.exists():
        raise InputError(f"{truth}: there is no such truth; expected a folder of YOLO labels or a COCO JSON.")
    if not named:
        told = (
            "Only calibration images are compared, by which ranges were chosen, so losses look smaller than they are: "
            "name others, or images in [compare] of model.toml."
        )
        return _Chosen((), None, (told,))
    return _Chosen(list_held_out(named), truth, ())


def _of_chip(model: Model, steps: Steps, built: Sequence[Target], chosen: _Chosen) -> ComparisonInputs:
    folder, first = ws.folder(model), ws.target_folder(model, built[0])
    split, endpoints = load_split(folder / "split.json"), load_split(folder / "endpoints.json")
    calibrated = load_calibrated(folder / "calibration.json")
    compiler = ws.compiling(model).compiler
    snapshot = folder / "calibration.safetensors"
    sets = [calibration_set(snapshot, split.input)]
    notes = [*chosen.notes, *_stale(model, steps, built)]
    if chosen.files:
        held_out = _held_out(first / "model.har", split, calibrated.geometry.resize, chosen, class_names(model))
        sets.append(held_out)
        notes += _shared(folder / "calibration-images.json", chosen.files)
    presets = [_built(model, target, compiler) for target in built]
    if compiler.is_emulated:
        presets += _others(model, steps, built, compiler)
    else:
        missing = [name for name in PRESETS if name not in {target.preset for target in built}]
        notes += [f"{name} is not built for {built[0].hw_arch}, so it is not compared." for name in missing]
    cost = [*PRESETS]
    return ComparisonInputs(
        model=model.name,
        hw_arch=built[0].hw_arch,
        split=split,
        endpoints=endpoints,
        exported=folder / "split.onnx",
        feed=load_feed(first / "feed.json"),
        presets=tuple(sorted(presets, key=lambda each: cost.index(each.preset))),
        sets=tuple(sets),
        files=_check_files(model, built[0].hw_arch, calibrated.count),
        notes=tuple(notes),
    )


def _check_files(model: Model, hw_arch: str, count: int) -> CheckFiles:
    folder = ws.folder(model)
    return CheckFiles(
        snapshot=folder / "calibration.safetensors",
        chosen=folder / "calibration-images.json",
        statistics=ws.arch_folder(model, hw_arch) / "statistics.npz",
        count=count,
        calibration=model.calibration,
    )


def _built(model: Model, target: Target, compiler: Compiler) -> PresetInputs:
    place = ws.target_folder(model, target)
    har, hef = place / "model.har", place / "model+meta.hef"
    named = f"{model.name}:{ws.target_name(model, target)}"
    return PresetInputs(target.preset, named, compiler, files_digest([har]), har, hef)


def _others(model: Model, steps: Steps, built: Sequence[Target], compiler: Compiler) -> Iterator[PresetInputs]:
    """Return the presets of a chip that are not built: people ask whether one of them would be enough."""
    template = f"{model.name}:{ws.target_name(model, built[0])}"
    if f"hef:{template}" not in steps.by_name:
        return
    for name, preset in PRESETS.items():
        if name not in {target.preset for target in built}:
            digest = digest_without(steps.by_name, template, preset)
            quantize = quantize_with(steps.by_name, template, preset)
            yield PresetInputs(name, "", compiler, digest, quantize=quantize)


def _stale(model: Model, steps: Steps, built: Sequence[Target]) -> Iterator[str]:
    """Tell of targets that a build would make again."""
    names = [f"har:{model.name}:{ws.target_name(model, target)}" for target in built]
    statuses = steps.statuses([name for name in names if name in steps.by_name])
    if stale := [name for name in names if name in statuses and statuses[name].state != "fresh"]:
        yield (
            f"What lies there is compared, and a build would make it again: {', '.join(stale)}; `doit why` tells why, "
            "`doit` builds."
        )


def _shared(record: Path, files: Sequence[Path]) -> Iterator[str]:
    """Tell of images that are called held out and are calibration images."""
    from build_rules.calibration.chosen import load_chosen

    try:
        calibrated = {image.sha256 for image in load_chosen(record).images}
    except (InputError, OSError):
        return
    if count := sum(_sha256(file) in calibrated for file in files):
        yield f"{count} of the {len(files)} images that are named are calibration images."


def _sha256(file: Path) -> str:
    from build_rules.calibration.pixels.image_file import open_image

    with open_image(file) as image:
        return image.sha256


def class_names(model: Model) -> tuple[str, ...]:
    """Return the names of a model's classes, none where they cannot be read."""
    from build_rules.onnx_file.onnx_files import OnnxFiles
    from build_rules.trainer.labels import read_labels
    from build_rules.trainer.read_document import read_document

    try:
        if model.labels is not None:
            return read_labels(model.labels)
        with OnnxFiles(model.onnx) as files:
            return tuple(read_document(files, None if model.metadata is None else model.metadata.cut).labels)
    except InputError:
        return ()


def _held_out(har: Path, split: Split, resize: str, chosen: _Chosen, names: Sequence[str]) -> ImageSet:
    shape = (split.input.height, split.input.width, split.input.channels)
    reader = None if chosen.truth is None else truth_reader(chosen.truth, split, resize, names)
    return held_out_set(chosen.files, loader(har, shape), reader, chosen.truth)


def truth_reader(
    truth: Path, split: Split, resize: str, names: Sequence[str]
) -> Callable[[tuple[Path, ...]], tuple[Objects, ...]]:
    """Return a function that reads what is in images, in pixels of the input."""
    from build_rules.calibration.pixels.image_file import open_image
    from build_rules.calibration.pixels.images import decoded
    from build_rules.calibration.pixels.letterbox import place
    from build_rules.objects.truth import ImagePlace, read_truth

    target = (split.input.height, split.input.width)

    def placed(file: Path) -> ImagePlace:
        with open_image(file) as opened, decoded(opened) as picture:
            width, height = picture.size
        inside = place((height, width), target, resize)
        return ImagePlace(width, height, inside.width / width, inside.height / height, inside.left, inside.top)

    def read(files: tuple[Path, ...]) -> tuple[Objects, ...]:
        classes = len(names) or _classes(split)
        return read_truth(truth, files, [placed(file) for file in files], names, classes)

    return read


def _classes(split: Split) -> int:
    from build_rules.objects.read_objects import ObjectReader

    return ObjectReader(split).classes


scratch_folders: set[Path] = set()
"""Those of this process that are in use: whoever ends it at once removes them."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder to a block, gone behind it."""
    with TemporaryDirectory(prefix="doit-compare-") as name:
        scratch_folders.add(Path(name))
        try:
            yield Path(name)
        finally:
            scratch_folders.discard(Path(name))


def compare(inputs: ComparisonInputs, kept: Path | None, progress: Progress) -> Comparison:
    """Compare, or return what was compared before and still holds; `kept` is where that is, None keeps nothing."""
    key = _key(inputs)
    if kept is not None and (known := recall(kept, key)) is not None:
        return known
    from build_rules.comparison.compare_model import compare_model

    with scratch_folder() as scratch:
        comparison = compare_model(inputs, scratch, progress)
    if kept is not None:
        make_folder(kept.parent)
        write_whole(kept, [keep(comparison, key)])
    return comparison


def compared_before(model: Model, inputs: ComparisonInputs) -> Comparison | None:
    """Return the comparison of one chip that was made before, when nothing that it was made from has changed since."""
    return recall(kept_at(model, inputs), _key(inputs))


def kept_at(model: Model, inputs: ComparisonInputs) -> Path:
    """Return where the comparison of one chip is kept."""
    return ws.arch_folder(model, inputs.hw_arch) / KEPT


def _key(inputs: ComparisonInputs) -> str:
    from build_rules.versions import library_version

    libraries = ("numpy", "onnxruntime", "pillow", "faster-coco-eval")
    return digest_of(inputs, " ".join((COMPARES.code_digest(), *map(library_version, libraries))))
