"""What float and each preset find in a few images, for the pictures of the page.

Float is the cut graph in ONNX Runtime, a preset its HAR through the compiler that made it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from build_rules.errors import InputError
from build_rules.regular_file import find_fault
from build_rules.report_page.told import DetectedImage, DetectedObject, Side, ToldModel, ToldTarget

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from build_rules.compilers.protocol import Compiler
    from build_rules.objects.found import Objects
    from build_rules.objects.read_objects import ObjectReader
    from build_rules.records.split_json import Split

__all__ = ["DRAWN", "Sample", "calibration_samples", "image_samples", "tell_objects"]

DRAWN = 8
"""Images that are drawn for a model, evenly spaced among those there are."""
LONGEST = 640
"""Pixels of the longer side of a picture, at most."""
FLOAT = "float"


class Sample(NamedTuple):
    """An image as the network takes it, [H, W, C] of 0..255."""

    name: str
    pixels: NDArray[np.uint8]


def evenly(count: int) -> list[int]:
    """Return the places of the images that are drawn, of `count`."""
    most = min(count, DRAWN)
    return [place * count // most for place in range(most)]


def image_samples(files: Sequence[Path], resize: str, split: Split) -> list[Sample]:
    """Return some of these images, fitted as those for calibration were. Raises `InputError` for what is no image."""
    from build_rules.calibration.pixels.adaptor import convert
    from build_rules.calibration.pixels.images import decode
    from build_rules.calibration.pixels.letterbox import fit, place

    size, color = (split.input.height, split.input.width), split.preprocessing.color
    if color is None:
        raise InputError(
            f"{split.model}: of which colours its pixels are is not known, so no image can be made for it."
        )
    samples = []
    for number in evenly(len(files)):
        image = decode(files[number])
        fitted = fit(image, place((image.shape[0], image.shape[1]), size, resize))
        samples.append(Sample(files[number].name, convert(fitted, color).transpose(1, 2, 0)))
    return samples


def calibration_samples(folder: Path, split: Split) -> list[Sample]:
    """Return some samples of a model's calibration snapshot. Raises `InputError` when it cannot be read."""
    from build_rules.calibration.chosen import load_chosen
    from build_rules.calibration.snapshot.snapshot_file import open_snapshot, samples

    snapshot = open_snapshot(folder / "calibration.safetensors")
    stored = samples(snapshot, split.input.name if snapshot.tensor(split.input.name) else None)
    if snapshot.dtype != "uint8":
        raise InputError(f"{snapshot.path}: holds no pixels but numbers, so there is nothing to draw on.")
    chosen = load_chosen(folder / "calibration-images.json")
    names = [image.name for image in chosen.images for _ in range(image.samples)]
    if len(names) != len(stored):
        names = [f"calibration sample {number}" for number in range(len(stored))]
    return [Sample(names[place], stored[place].transpose(1, 2, 0).copy()) for place in evenly(len(stored))]


def tell_objects(
    told: ToldModel, split: Split, compiler: Compiler, samples: Sequence[Sample]
) -> tuple[DetectedImage, ...]:
    """Return what is found in each sample, those first in which most is lost or invented.

    Raises `InputError` when nobody decodes these outputs, or no target of the model is built.
    """
    from build_rules.objects.match_objects import match_objects
    from build_rules.objects.read_objects import ObjectReader

    reader = ObjectReader(split)
    built = [target for target in told.targets if find_fault(target.folder / "model.har") is None]
    built = [target for target in built if target.hw_arch == built[0].hw_arch]
    if not built or not samples:
        raise InputError("No target of this model is built, so there is nothing to compare.")
    references = list(_float_objects(told.folder, built[0], split, reader, samples))
    found = {target.preset: _preset_objects(compiler, target, split, reader, samples) for target in built}
    emulated = {target.preset: target.emulated for target in built}
    images = []
    for number, sample in enumerate(samples):
        reference = references[number]
        sides = []
        missing: set[int] = set()
        for preset, objects in found.items():
            partners = match_objects(reference, objects[number]).partners
            lost, fates = _fates(reference, objects[number], partners.tolist())
            missing |= lost
            sides.append(Side(preset, emulated[preset], _drawn(objects[number], fates)))
        fates = ["lost" if place in missing else "both" for place in range(len(reference.scores))]
        whole = (Side(FLOAT, False, _drawn(reference, fates)), *sides)
        images.append(_picture(sample, split, whole))
    return tuple(sorted(images, key=_differences, reverse=True))


def _fates(reference: Objects, found: Objects, partners: Sequence[int]) -> tuple[set[int], list[str]]:
    """Return which objects of float a preset lacks, and of each object of the preset what became of it.

    As in the numbers: an object whose partner's score has fallen below what is shown counts as lost, one of the preset
    whose partner float does not show as invented.
    """
    from build_rules.objects.match_objects import SHOWN

    lost, fates = set(), ["invented"] * len(found.scores)
    for place, score in enumerate(reference.scores.tolist()):
        partner = partners[place]
        if partner >= 0:
            fates[partner] = "both"
        if score >= SHOWN and (partner < 0 or found.scores[partner] < SHOWN):
            lost.add(place)
    return lost, fates


def _drawn(objects: Objects, fates: Sequence[str]) -> tuple[DetectedObject, ...]:
    """Return the objects that are shown."""
    from build_rules.objects.match_objects import SHOWN

    drawn = []
    for box, score, label, fate in zip(
        objects.boxes.tolist(), objects.scores.tolist(), objects.labels.tolist(), fates, strict=True
    ):
        if score >= SHOWN:
            drawn.append(DetectedObject((box[0], box[1], box[2], box[3]), score, label, fate))
    return tuple(drawn)


def _differences(image: DetectedImage) -> int:
    return sum(found.fate != "both" for side in image.sides for found in side.objects)


def _picture(sample: Sample, split: Split, sides: tuple[Side, ...]) -> DetectedImage:
    from PIL import Image

    from build_rules.report_page.jpeg import encode

    pixels = sample.pixels[..., :3] if sample.pixels.shape[2] >= 3 else sample.pixels[..., :1].repeat(3, axis=2)
    if (split.preprocessing.color or "").startswith("bgr"):
        pixels = pixels[..., ::-1]
    height, width = pixels.shape[:2]
    image = Image.fromarray(pixels.copy())
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.BILINEAR)
    return DetectedImage(sample.name, width, height, encode(image), sides)


def _float_objects(
    folder: Path, target: ToldTarget, split: Split, reader: ObjectReader, samples: Sequence[Sample]
) -> Iterator[Objects]:
    """Yield what the float network finds in each sample."""
    import numpy as np

    from build_rules.inference import new_session, session_options
    from build_rules.records.calibration_json import load_feed

    feed = load_feed(target.folder / "feed.json")
    session = new_session(str(folder / "split.onnx"), session_options())
    source = session.get_inputs()[0]
    names = [endpoint.tensor for endpoint in split.endpoints]
    for sample in samples:
        tensors = session.run(names, {source.name: _own_input(sample, feed, source)})
        delivered = {}
        for endpoint, tensor in zip(split.endpoints, tensors, strict=True):
            values = np.asarray(tensor[0], np.float32).transpose(1, 2, 0)
            if endpoint.name in split.folded:
                values = (1 / (1 + np.exp(-values.astype(np.float64)))).astype(np.float32)
            delivered[endpoint.name] = values
        yield reader.read(delivered)


def _own_input(sample: Sample, feed: Any, source: Any) -> NDArray[Any]:
    from build_rules.compilers.exported_graph import own_input

    return own_input(sample.pixels.transpose(2, 0, 1), feed, source)


def _preset_objects(
    compiler: Compiler, target: ToldTarget, split: Split, reader: ObjectReader, samples: Sequence[Sample]
) -> list[Objects]:
    """Return what a preset finds in each sample."""
    import numpy as np

    har = target.folder / "model.har"
    streams = _streams(compiler, har, split)
    outputs = compiler.simulate(har, np.stack([sample.pixels for sample in samples]))
    return [
        reader.read({name: outputs[stream][number] for name, stream in streams.items()})
        for number in range(len(samples))
    ]


def _streams(compiler: Compiler, har: Path, split: Split) -> Mapping[str, str]:
    """Return the stream of each endpoint: the output into which the endpoint's node was fused."""
    streams = {}
    for endpoint in split.endpoints:
        for output in compiler.describe(har).outputs:
            if endpoint.node in output.original_names:
                streams[endpoint.name] = output.stream
    if len(streams) < len(split.endpoints):
        raise InputError(f"{har}: not every endpoint of the split is one of its outputs; build it again.")
    return streams
