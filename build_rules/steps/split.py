"""model.onnx -> split.onnx, split.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from build_rules.calibration.named import find_named
from build_rules.calibration.sample import read_sample
from build_rules.calibration.snapshot import Normalization
from build_rules.endpoints import AUTOMATIC, ModelInput, Preprocessing, Split, SplitChoice, dump_split
from build_rules.engine.noted import note_reads
from build_rules.errors import InputError
from build_rules.graph import SourceDocument, read_document, split_model
from build_rules.metadata.labels import check_labels, labels_text, read_labels
from build_rules.metadata.preprocessing import read_preprocessing

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
) -> tuple[Path, ...]:
    """Cut the graph at its endpoints; neither output changes with descriptions, session ids or other metadata.

    `labels_file` names the user's class names, if there are any; they are no input (nothing is made from them here) but
    checked, because `meta` would refuse them only after hours of compiling. One sample of `calibration`, or of the
    snapshot that the metadata names in the folder `named_in`, helps to prove the cut and is no input either: which one
    does not show. Returns the files that hold weights.
    """

    def reading(file: Path) -> None:
        note_reads(split_onnx, [file])

    if labels_file is not None:
        reading(Path(labels_file))
    source = read_document(onnx)
    samples = _samples(source, calibration or _named(source, named_in))
    result = split_model(onnx, network_name, split_onnx, choice or AUTOMATIC, samples, reading)
    split = result.split
    try:
        preprocessing = read_preprocessing(source.document, split.input.channels)
    except InputError as error:
        raise error.within(onnx) from error
    try:
        _check_labels(source, split, labels_file)
    except InputError as error:
        raise error.within(labels_file or onnx) from error
    for warning in result.warnings:
        print(f"   warning: {warning}")
    split_json.write_text(dump_split(replace(split, preprocessing=preprocessing)), encoding="utf-8")
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


def _samples(source: SourceDocument, calibration: str | None) -> Callable[[ModelInput], Sequence[Any]]:
    def read(image: ModelInput) -> Sequence[Any]:
        if calibration is None:
            return ()
        try:
            pixels = read_preprocessing(source.document, image.channels)
        except InputError:
            pixels = Preprocessing(mean=(0.0,) * image.channels, std=(1.0,) * image.channels, color=None)
        normalization = Normalization(pixels.scale, pixels.mean, pixels.std)
        shape = (image.channels, image.height, image.width)
        sample = read_sample(Path(calibration), shape, pixels.resize, normalization, pixels.color, image.name)
        if sample is None:
            return ()
        return (sample if image.layout == "nchw" else sample.transpose(0, 2, 3, 1),)

    return read


def _check_labels(source: SourceDocument, split: Split, labels_file: str | None) -> None:
    names = source.labels if labels_file is None else read_labels(Path(labels_file))
    if not names:
        raise InputError('its metadata holds no labels; write labels = "labels.txt" into model.toml.')
    labels_text(names)
    for endpoint in split.endpoints:
        if endpoint.role == "scores" and not split.anchor_head:
            check_labels(names, endpoint.shape[1])
