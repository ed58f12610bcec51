"""model.onnx -> split.onnx, split.json."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from build_rules.endpoints import Split, dump_split
from build_rules.errors import InputError
from build_rules.graph import SourceDocument, read_document, split_model
from build_rules.metadata import check_labels, labels_text, read_labels
from build_rules.metadata.preprocessing import read_preprocessing

__all__ = ["run"]


def run(onnx: Path, split_onnx: Path, split_json: Path, network_name: str, labels_file: str | None) -> tuple[Path, ...]:
    """Cut the graph at its endpoints; neither output changes with descriptions, session ids or other metadata.

    `labels_file` names the user's class names, if there are any; they are no input (nothing is made from them here) but
    checked, because `meta` would refuse them only after hours of compiling. Returns the files that hold weights.
    """
    source = read_document(onnx)
    result = split_model(onnx, network_name)
    try:
        preprocessing = read_preprocessing(source.document, result.split.input.channels)
    except InputError as error:
        raise InputError(f"{onnx}: {error}") from error
    try:
        _check_labels(source, result.split, labels_file)
    except InputError as error:
        raise InputError(f"{labels_file or onnx}: {error}") from error
    split_onnx.write_bytes(result.model)
    split_json.write_text(dump_split(replace(result.split, preprocessing=preprocessing)), encoding="utf-8")
    return result.external_files


def _check_labels(source: SourceDocument, split: Split, labels_file: str | None) -> None:
    names = source.labels if labels_file is None else read_labels(Path(labels_file))
    if not names:
        raise InputError('its metadata holds no labels; write labels = "labels.txt" into model.toml.')
    labels_text(names)
    for endpoint in split.endpoints:
        if endpoint.role == "scores" and not split.anchor_head:
            check_labels(names, endpoint.shape[1])
