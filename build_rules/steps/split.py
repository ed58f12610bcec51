"""model.onnx -> split.onnx, split.json, endpoints.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from build_rules.calibration.sample import read_sample
from build_rules.calibration.snapshot.find_named import find_named
from build_rules.engine.running.note_reads import note_reads
from build_rules.errors import InputError
from build_rules.graph import split_model
from build_rules.metadata.outputs import check_endpoints, grid_classes
from build_rules.onnx_file.onnx_files import OnnxFiles
from build_rules.records.choices import AUTOMATIC, InputChoice, SplitChoice
from build_rules.records.normalization import Normalization
from build_rules.records.roles import SCORES
from build_rules.records.split_json import (
    Anchors,
    ModelInput,
    PixelFacts,
    Preprocessing,
    Split,
    dump_split,
    only_endpoints,
    swapped_order,
)
from build_rules.trainer.anchors import split_anchors
from build_rules.trainer.decide_pixels import DecidedPixels, decide_pixels
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.labels import check_labels, labels_text, read_labels
from build_rules.trainer.read_document import read_document

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
    endpoints: Path | None = None,
) -> tuple[Path, ...]:
    """Cut the graph at its endpoints; no output changes with descriptions, session ids or other metadata.

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
    input_choice = pixels or InputChoice()
    with OnnxFiles(onnx) as files:
        trainer = read_document(files, metadata)
        decide = cache(partial(decide_pixels, trainer, input_choice))
        samples = _samples(decide, calibration or _named(trainer, named_in))
        result = split_model(
            files, network_name, split_onnx, choice or AUTOMATIC, samples, input_choice.shape, trainer, reading
        )
    split = result.split
    try:
        decided = decide(result.pixels, split.input)
        anchors = split_anchors(trainer, split)
        check_endpoints(split, anchors)
    except InputError as error:
        raise error.within(onnx) from error
    names = trainer.labels if labels_file is None else read_labels(Path(labels_file))
    try:
        _check_labels(names, trainer, split, anchors)
    except InputError as error:
        raise error.within(labels_file or onnx) from error
    for warning in (*result.warnings, *decided.warnings):
        print(f"   warning: {warning}")
    split_json.write_text(dump_split(replace(split, preprocessing=decided.preprocessing)), encoding="utf-8")
    if endpoints is not None:
        endpoints.write_text(dump_split(only_endpoints(split, _in_pixels(anchors, split.input))), encoding="utf-8")
    return result.external_files


def _in_pixels(anchors: Anchors, image: ModelInput) -> Anchors | None:
    return tuple(tuple((w * image.width, h * image.height) for w, h in level) for level in anchors) or None


def _named(trainer: TrainerDocument, folder: str | None) -> str | None:
    """Return the snapshot in `folder` that the metadata name; what is wrong with that is told by who calibrates."""
    if folder is None or trainer.snapshot is None:
        return None
    try:
        return str(find_named(Path(folder), trainer.snapshot))
    except InputError:
        return None


def _samples(
    decide: Callable[[PixelFacts, ModelInput], DecidedPixels], calibration: str | None
) -> Callable[[ModelInput, PixelFacts], Sequence[Any]]:
    def read(image: ModelInput, facts: PixelFacts) -> Sequence[Any]:
        if calibration is None:
            return ()
        try:
            pixels = decide(facts, image).preprocessing
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


def _check_labels(names: Sequence[str], trainer: TrainerDocument, split: Split, anchors: Anchors) -> None:
    if not names:
        raise InputError(trainer.lack_of_labels)
    labels_text(names)
    if split.anchor_head:
        classes = grid_classes(split, anchors)
        if classes is not None and classes != len(names):
            raise InputError(
                f"The labels name {len(names)} classes, but with {len(anchors[0])} anchors to a cell the grids hold "
                f"{classes}; correct the labels, or the anchors where they are written down."
            )
        return
    for endpoint in split.endpoints:
        if endpoint.role == SCORES:
            check_labels(names, endpoint.shape[1])
