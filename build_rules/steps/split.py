"""model.onnx -> split.onnx, split.json."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from build_rules.endpoints import Split, dump_split
from build_rules.errors import InputError
from build_rules.graph import SourceDocument, read_document, split_model
from build_rules.metadata import check_labels, labels_text
from build_rules.metadata.preprocessing import read_preprocessing

__all__ = ["run"]


def run(onnx: Path, split_onnx: Path, split_json: Path, network_name: str, labels_file: bool) -> None:
    """Cut the graph at its endpoints; neither output changes with descriptions, session ids or other metadata.

    `labels_file` says that the class names come from a file of the user's, so that those in the ONNX do not matter.
    """
    source = read_document(onnx)
    result = split_model(onnx, network_name)
    try:
        preprocessing = read_preprocessing(source.document, result.split.input.channels)
        if not labels_file:
            _check_labels(source, result.split)
    except InputError as error:
        raise InputError(f"{onnx}: {error}") from error
    split_onnx.write_bytes(result.model)
    split_json.write_text(dump_split(replace(result.split, preprocessing=preprocessing)), encoding="utf-8")


def _check_labels(source: SourceDocument, split: Split) -> None:
    """Refuse now what `meta` would refuse after hours of compiling."""
    if not source.labels:
        raise InputError('its metadata holds no labels; write labels = "labels.txt" into model.toml.')
    labels_text(source.labels)
    for endpoint in split.endpoints:
        if endpoint.role == "scores" and not split.anchor_head:
            check_labels(source.labels, endpoint.shape[1])
