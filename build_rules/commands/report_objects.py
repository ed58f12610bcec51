"""What float and each preset find in a few images, for the pictures of the page.

Float is the exported graph in ONNX Runtime, a preset its HAR through the compiler that made it, as in a comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from build_rules.errors import InputError
from build_rules.report_page.told import Detected, DetectedImage, DetectedObject, Side

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from build_rules.comparison.comparison_inputs import ComparisonInputs, PresetInputs
    from build_rules.objects.found import Objects
    from build_rules.objects.read_objects import ObjectReader

__all__ = ["tell_objects"]

DRAWN = 8
"""Images that are drawn for a model, evenly spaced among those there are."""
LONGEST = 640
"""Pixels of the longer side of a picture, at most."""
FLOAT = "float"


def tell_objects(inputs: ComparisonInputs) -> Detected:
    """Return what is found in some images, held-out ones if there are; those first in which most is lost or invented.

    It says why nothing is found when nobody decodes these outputs, for images that cannot be read and for what a
    compiler refuses.
    """
    try:
        return _find(inputs)
    except InputError as error:
        return Detected(inputs.hw_arch, fault=str(error))


def _find(inputs: ComparisonInputs) -> Detected:
    import numpy as np

    from build_rules.compilers.delivered import exact_tensors
    from build_rules.compilers.exported_graph import ExportedGraph
    from build_rules.objects.read_objects import ObjectReader

    reader, images = ObjectReader(inputs.endpoints), inputs.sets[-1].images
    numbers = _evenly(len(images))
    batch = np.stack([images.image(number) for number in numbers])
    exported = ExportedGraph(inputs.exported, inputs.feed)
    tensors = (exact_tensors(inputs.split, exported.run(image.transpose(2, 0, 1))) for image in batch)
    references = [reader.read(each) for each in tensors]
    built = [preset for preset in inputs.presets if preset.har is not None]
    found = [_objects(preset, inputs, reader, batch) for preset in built]
    drawn = []
    for row, number in enumerate(numbers):
        sides = _sides(references[row], [(preset, objects[row]) for preset, objects in zip(built, found, strict=True)])
        drawn.append(_picture(images.name(number), batch[row], inputs.split.preprocessing.color or "", sides))
    what = f"{len(numbers)} of {len(images)} {inputs.sets[-1].name} images, evenly spaced."
    return Detected(inputs.hw_arch, tuple(sorted(drawn, key=_differences, reverse=True)), what)


def _evenly(count: int) -> list[int]:
    """Return the places of the images that are drawn, of `count`."""
    most = min(count, DRAWN)
    return [place * count // most for place in range(most)]


def _objects(
    preset: PresetInputs, inputs: ComparisonInputs, reader: ObjectReader, batch: NDArray[np.uint8]
) -> list[Objects]:
    """Return what a preset finds in each image."""
    from build_rules.compilers.delivered import outputs_of, quantized_tensors

    assert preset.har is not None
    outputs = outputs_of(inputs.split, preset.compiler.describe(preset.har))
    real = preset.compiler.simulate(preset.har, batch)
    return [reader.read(quantized_tensors(inputs.split, outputs, real, row)) for row in range(len(batch))]


def _sides(reference: Objects, found: Sequence[tuple[PresetInputs, Objects]]) -> tuple[Side, ...]:
    """Return what float has found in an image, then what each preset has."""
    from build_rules.objects.match_objects import match_objects

    sides = []
    missing: set[int] = set()
    for preset, objects in found:
        lost, fates = _fates(reference, objects, match_objects(reference, objects).partners.tolist())
        missing |= lost
        sides.append(Side(preset.preset, preset.compiler.is_emulated, _drawn(objects, fates)))
    fates = ["lost" if place in missing else "both" for place in range(len(reference.scores))]
    return (Side(FLOAT, False, _drawn(reference, fates)), *sides)


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


def _picture(name: str, pixels: NDArray[np.uint8], color: str, sides: tuple[Side, ...]) -> DetectedImage:
    """Return an image as people see it, whatever colours the network takes."""
    from PIL import Image

    from build_rules.report_page.jpeg import encode

    seen = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1].repeat(3, axis=2)
    if color.startswith("bgr"):
        seen = seen[..., ::-1]
    height, width = seen.shape[:2]
    image = Image.fromarray(seen.copy())
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.BILINEAR)
    return DetectedImage(name, width, height, encode(image), sides)
