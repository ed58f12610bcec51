"""What the build's files tell for the accuracy checklist."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from build_rules.calibration.chosen import Chosen
from build_rules.comparison.checklist import FirstLayer, KernelFacts, LayerRange, SampleFacts
from build_rules.errors import InputError
from build_rules.records.split_json import CAMERA_ADAPTORS, Split

if TYPE_CHECKING:
    import onnx

__all__ = [
    "compare_first_layer",
    "look_at_kernels",
    "look_at_samples",
    "name_ranges",
    "read_ranges",
]

LOOKED_AT = 1024
"""Samples that are looked at, evenly spread over the snapshot."""
SIDE = 8
"""A sample is compared as a picture of so many squares a side."""
NEAR = 3.0
"""Mean difference of two pictures, in grey levels, that nobody sees."""
FLAT = 2.0
"""Deviation of the pixels, in levels of each channel, of a sample with one colour."""
MADE_ANEW = 4
"""Images that are made into samples again."""
STATISTICS_FORMAT = 2
TAILS = (0.1, 99.9)

Floats = NDArray[np.floating[Any]]


def read_ranges(statistics: Path) -> tuple[LayerRange, ...] | None:
    """Return the ranges of a `statistics.npz` of the emulator, by tensor; None where there is none of its format 2.

    Its arrays hold the numbers of one tensor after the other: `lows` and `highs` of each sample, `values` of all; JSON
    as bytes, `about`, lists the tensors and says how many each has.
    """
    try:
        with np.load(statistics, allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            if about["format"] != STATISTICS_FORMAT:
                return None
            lows, highs, values = file["lows"], file["highs"], file["values"]
            ends = [np.cumsum([tensor[part] for tensor in about["tensors"]]) for part in ("samples", "values")]
        split = [np.split(array, end) for array, end in ((lows, ends[0]), (highs, ends[0]), (values, ends[1]))]
        named = zip((tensor["name"] for tensor in about["tensors"]), *split, strict=False)
        return tuple(_range(name, *parts) for name, *parts in named if all(map(len, parts)))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None


def _range(name: str, lows: Floats, highs: Floats, values: Floats) -> LayerRange:
    low, high = float(lows.min()), float(highs.max())
    below, above = np.percentile(values, TAILS)
    return LayerRange(name, low, high, float((above - below) / (high - low)) if high > low else 0.0)


def name_ranges(ranges: Sequence[LayerRange], split_onnx: Path) -> tuple[LayerRange, ...]:
    """Return ranges by the node that makes each tensor, without those of softmaxes.

    What a softmax makes lies between 0 and 1 whatever the network has learned, and takes neither clipping nor 16 bits.
    """
    import onnx

    graph = onnx.load(str(split_onnx), load_external_data=False).graph
    makers = {output: node for node in graph.node for output in node.output}
    named = []
    for each in ranges:
        maker = makers.get(each.layer)
        if maker is None:
            named.append(each)
        elif maker.op_type != "Softmax":
            named.append(replace(each, layer=maker.name or each.layer))
    return tuple(named)


def look_at_samples(snapshot: Path, name: str) -> SampleFacts:
    """Return how much the samples of the input `name` differ. Raises `InputError` for a snapshot that is none."""
    from build_rules.calibration.snapshot.snapshot_file import open_snapshot, samples

    opened = open_snapshot(snapshot)
    pixels = samples(opened, name)
    levels = 255.0 if opened.dtype == "float32" else 1.0
    digests: Counter[str] = Counter()
    pictures, flat = [], 0
    for index in np.unique(np.linspace(0, len(pixels) - 1, min(len(pixels), LOOKED_AT)).round().astype(np.int64)):
        sample = np.ascontiguousarray(pixels[index])
        digests[xxhash.xxh3_128_hexdigest(sample.data)] += 1
        flat += _is_flat(sample, levels)
        pictures.append(_small(sample).ravel() * levels)
    looked_at = len(pictures)
    return SampleFacts(looked_at, looked_at - len(digests), flat, _alike(np.stack(pictures)))


def _is_flat(sample: NDArray[np.generic], levels: float) -> bool:
    """Say whether the middle of a sample (C, H, W), which no border reaches, has one colour."""
    _, height, width = sample.shape
    middle = sample[:, height // 4 : height - height // 4, width // 4 : width - width // 4]
    # Every eighth pixel tells nearly always; where it does not, all of them do.
    return all(
        float(part.reshape(len(part), -1).std(axis=1, dtype=np.float64).max()) * levels < FLAT
        for part in (middle[:, ::8, ::8], middle)
    )


def _small(sample: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the means of squares of a sample (C, H, W), (C, SIDE, SIDE)."""
    rows, columns = (np.arange(min(SIDE, size)) * size // min(SIDE, size) for size in sample.shape[1:])
    sums = np.add.reduceat(np.add.reduceat(sample, rows, axis=1, dtype=np.float64), columns, axis=2)
    areas = np.diff([*rows, sample.shape[1]])[:, None] * np.diff([*columns, sample.shape[2]])
    return np.asarray(sums / areas, np.float32)


def _alike(pictures: NDArray[np.float32]) -> int:
    """Return how many pictures [N, values] look like another one."""
    count = 0
    for index, picture in enumerate(pictures):
        gaps = np.abs(pictures - picture).mean(axis=1)
        gaps[index] = np.inf
        count += bool(gaps.min(initial=np.inf) < NEAR)
    return count


def compare_first_layer(snapshot: Path, split: Split, chosen: Chosen, calibration: Path | None) -> FirstLayer:
    """Make a few calibration images into samples again, and compare them with the snapshot's.

    `calibration` is what the model was calibrated from, None when its metadata named a snapshot.
    """
    from build_rules.calibration.pool.sources import list_sources, sources_of

    color, resize = split.preprocessing.color, split.preprocessing.resize
    if not chosen.images or calibration is None:
        return FirstLayer(unknown="the snapshot was given, and the images that it was made of are not here")
    if resize == "tiled" or color is None or CAMERA_ADAPTORS[color] != split.input.channels:
        return FirstLayer(unknown="the samples are tiles of images, or of colours that nobody names")
    try:
        sources = sources_of(calibration, list_sources(calibration))
        files = dict(zip(sources.names, sources.files, strict=True))
        return _made_anew(snapshot, split, chosen, files)
    except (InputError, OSError) as error:
        return FirstLayer(unknown=f"the calibration images cannot be read any more ({error})")


def _made_anew(snapshot: Path, split: Split, chosen: Chosen, files: dict[str, Path]) -> FirstLayer:
    from build_rules.calibration.pixels.adaptor import convert
    from build_rules.calibration.pixels.image_file import open_image
    from build_rules.calibration.pixels.images import decoded
    from build_rules.calibration.pixels.letterbox import fit, place
    from build_rules.calibration.snapshot.snapshot_file import open_snapshot, samples

    stored = samples(open_snapshot(snapshot), split.input.name)
    if len(stored) != sum(image.samples for image in chosen.images):
        return FirstLayer(unknown="the snapshot is not the one of which the record of its images tells")
    places = np.unique(np.linspace(0, len(chosen.images) - 1, MADE_ANEW).round().astype(np.int64))
    target = (split.input.height, split.input.width)
    compared, differing = 0, []
    for index in places:
        image = chosen.images[index]
        if image.name not in files:
            continue
        with open_image(files[image.name]) as file:
            if file.sha256 != image.sha256:
                continue
            with decoded(file) as picture:
                pixels = np.asarray(picture)
        placed = place((pixels.shape[0], pixels.shape[1]), target, split.preprocessing.resize)
        sample = convert(fit(pixels, placed), split.preprocessing.color or "rgb")
        compared += 1
        if not np.array_equal(sample, stored[index]):
            differing.append(image.name)
    if not compared:
        return FirstLayer(unknown="the images of the snapshot have changed since it was made, or have gone")
    return FirstLayer(compared, tuple(differing))


def look_at_kernels(split_onnx: Path) -> KernelFacts:
    """Return what the convolutions of the cut graph tell of the batch normalization that they had."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(split_onnx)).graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    # A scale and an offset that are weights are a normalization that somebody has written out; SiLU's Mul is none.
    norms = ("BatchNormalization", "Mul", "Add", "Sub", "Div")
    behind = {n for node in graph.node if node.op_type in norms and weights.keys() & {*node.input} for n in node.input}
    normalized, without, spreads, count = 0, [], [], 0
    for node in _convolutions(graph):
        if node.input[1] not in weights:
            continue
        count += 1
        if node.output[0] in behind:
            normalized += 1
        elif len(node.input) < 3 or not node.input[2]:
            without.append(node.name or node.output[0])
        spreads.append((_spread(numpy_helper.to_array(weights[node.input[1]])), node.name or node.output[0]))
    spread, uneven = max(spreads, default=(1.0, ""))
    return KernelFacts(count, normalized, tuple(without), uneven, spread)


def _convolutions(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    return (node for node in graph.node if node.op_type == "Conv")


def _spread(kernel: NDArray[np.generic]) -> float:
    """Return the largest range of an output channel over the median one, 1 where that is nothing."""
    ranges = np.abs(kernel.astype(np.float64)).reshape(len(kernel), -1).max(axis=1, initial=0)
    middle = float(np.median(ranges)) if len(ranges) else 0.0
    return float(ranges.max()) / middle if middle > 0 else 1.0
