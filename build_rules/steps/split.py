"""model.onnx -> split.onnx, split.json."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from build_rules.endpoints import dump_split
from build_rules.errors import InputError
from build_rules.graph import split_model
from build_rules.graph.document import read_document
from build_rules.metadata.preprocessing import read_preprocessing

__all__ = ["run"]


def run(onnx: Path, split_onnx: Path, split_json: Path, network_name: str) -> None:
    """Cut the graph at its endpoints; neither output changes with descriptions, session ids or other metadata."""
    result = split_model(onnx, network_name)
    try:
        preprocessing = read_preprocessing(read_document(onnx).document, result.split.input.channels)
    except InputError as error:
        raise InputError(f"{onnx}: {error}") from error
    split_onnx.write_bytes(result.model)
    split_json.write_text(dump_split(replace(result.split, preprocessing=preprocessing)), encoding="utf-8")
