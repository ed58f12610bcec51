"""model.onnx -> split.onnx, split.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from build_rules.calibration.sample import read_sample
from build_rules.calibration.snapshot.find_named import find_named
from build_rules.engine.running.note_reads import note_reads
from build_rules.errors import InputError
from build_rules.graph import SourceDocument, read_document, split_model
from build_rules.metadata.outputs import check_endpoints, grid_classes
from build_rules.metadata.pixels import decide_pixels
from build_rules.onnx_file.onnx_files import OnnxFiles
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import (
    AUTOMATIC,
    InputChoice,
    ModelInput,
    PixelFacts,
    Preprocessing,
    Split,
    SplitChoice,
    dump_split,
    swapped_order,
)
from build_rules.trainer.anchors import split_anchors
from build_rules.trainer.labels import check_labels, labels_text, read_labels

__all__ = ["run"]


def run(
    onnx: Path,
    split_onnx: Path,
    split_json: Path,
    network_name: str,
    choice: SplitChoice | None,
    labels_file: str | None,
    calibration: str | None,
    named_in: str | None = None,
    pixels: InputChoice | None = None,
    metadata: str | None = None,
) -> tuple[Path, ...]:
    """Cut the graph at its endpoints; neither output changes with descriptions, session ids or other metadata.

    `pixels` is what the user says about the network's input, `metadata` a JSON object that is merged over the metadata
    in the ONNX. `labels_file` names the user's class names, if there are any; they are no input (nothing is made from
    them here) but checked, as the anchors of an anchor head are, because `meta` would refuse them only after hours of
    compiling. One sample of `calibration`, or of the snapshot that the metadata names in the folder `named_in`, helps
    to prove the cut and is no input either: which one does not show. Returns the files that hold weights.
    """

    def reading(file: Path) -> None:
        note_reads(split_onnx, [file])

    if labels_file is not None:
        reading(Path(labels_file))
    said = pixels or InputChoice()
    with OnnxFiles(onnx) as files:
        source = read_document(files, metadata)
        samples = _samples(source, said, calibration or _named(source, named_in))
        result = split_model(files, network_name, split_onnx, choice or AUTOMATIC, samples, said.shape, source, reading)
    split = result.split
    try:
        decided = decide_pixels(source.document, said, result.pixels, split.input)
        if split.anchor_head:
            split_anchors(source.document, split)
    except InputError as error:
        raise error.within(onnx) from error
    names = source.labels if labels_file is None else read_labels(Path(labels_file))
    try:
        check_endpoints(source.document, split)
    except InputError as error:
        raise error.within(onnx) from error
    try:
        _check_labels(names, source, split)
    except InputError as error:
        raise error.within(labels_file or onnx) from error
    for warning in (*result.warnings, *decided.warnings):
        print(f"   warning: {warning}")
    split_json.write_text(dump_split(replace(split, preprocessing=decided.preprocessing)), encoding="utf-8")
    return result.external_files


def _named(source: SourceDocument, folder: str | None) -> str | None:
    """Return the snapshot in `folder` that the metadata name; what is wrong with that is told by who calibrates."""
    name = (source.document or {}).get("calibration")
    if folder is None or not isinstance(name, str):
        return None
    try:
        return str(find_named(Path(folder), name))
    except InputError:
        return None


def _samples(
    source: SourceDocument, said: InputChoice, calibration: str | None
) -> Callable[[ModelInput, PixelFacts], Sequence[Any]]:
    def read(image: ModelInput, facts: PixelFacts) -> Sequence[Any]:
        if calibration is None:
            return ()
        try:
            pixels = decide_pixels(source.document, said, facts, image).preprocessing
        except InputError:
            unit = Normalization(1 / 255, (0.0,) * image.channels, (1.0,) * image.channels)
            pixels = Preprocessing(normalization=unit, color=None)
        shape = (image.channels, image.height, image.width)
        sample = read_sample(Path(calibration), shape, pixels.resize, pixels.normalization, pixels.color, image.name)
        if sample is None:
            return ()
        if facts.front is not None and facts.front.swapped:
            sample = sample[:, swapped_order(image.channels)]
        return (sample if image.layout == "nchw" else sample.transpose(0, 2, 3, 1),)

    return read


def _check_labels(names: Sequence[str], source: SourceDocument, split: Split) -> None:
    if not names:
        raise InputError(source.lack_of_labels)
    labels_text(names)
    if split.anchor_head:
        anchors = split_anchors(source.document, split)
        classes = grid_classes(split, anchors)
        if classes is not None and classes != len(names):
            raise InputError(
                f"The labels name {len(names)} classes, but with {len(anchors[0])} anchors to a cell the grids hold "
                f"{classes}; correct the labels, or the anchors where they are written down."
            )
        return
    for endpoint in split.endpoints:
        if endpoint.role == "scores":
            check_labels(names, endpoint.shape[1])
