"""The EdgeFirst metadata that a trainer embedded in an ONNX file, read without touching the weights.

`ModelProto.metadata_props` (field 14) carries strings; the key `edgefirst` (`edgefirst.json` in older exports) holds
the whole document, `labels` a JSON array of class names (plain Ultralytics exports have `names` instead). The top-level
fields of the file are walked by their lengths, so a model of a gigabyte costs a few seeks.

Sources: onnx.proto3 (https://github.com/onnx/onnx), the EdgeFirst metadata schema version 2.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from build_rules.errors import InputError
from build_rules.graph.wire import LENGTH, FieldReader

__all__ = ["SourceDocument", "parse_document", "read_document"]

SCHEMA_VERSION = 2
DOCUMENT_KEYS = ("edgefirst", "edgefirst.json")
MAX_NAMES = 1 << 20
_METADATA_PROPS = 14


@dataclass(frozen=True)
class SourceDocument:
    """What the trainer wrote into the file. `document` is empty and `key` None when there is no EdgeFirst metadata."""

    document: dict[str, Any]
    labels: tuple[str, ...] = ()
    key: str | None = None


def read_document(onnx_path: Path) -> SourceDocument:
    """Return the metadata of an ONNX file without reading its weights.

    Raises `InputError`, naming the file, when it is no ONNX or when its metadata is malformed or of another version.
    """
    try:
        with FieldReader(onnx_path) as reader:
            fields = [f for f in reader.fields() if f.number == _METADATA_PROPS and f.wire == LENGTH]
            entries = [_string_entry(reader.read(field.value, field.end)) for field in fields]
        return parse_document(entries)
    except OSError as error:
        raise InputError(f"{onnx_path}: cannot be read ({error.strerror}).") from error
    except InputError as error:
        raise InputError(f"{onnx_path}: {error}") from error


def parse_document(entries: Iterable[tuple[str, str]]) -> SourceDocument:
    """Return the metadata held by `metadata_props`, given as (key, value) pairs.

    Raises `InputError` for malformed JSON, a document that is no object, and a `schema_version` other than 2 (missing
    means 1).
    """
    properties: dict[str, str] = {}
    for key, value in entries:
        if properties.setdefault(key, value) != value:
            raise InputError(f"the metadata key '{key}' occurs twice with different values; export the model again.")
    labels = _labels(properties.get("labels")) or _names(properties.get("names"))
    for key in DOCUMENT_KEYS:
        if key in properties:
            return SourceDocument(_document(key, properties[key]), labels, key)
    return SourceDocument({}, labels)


def _document(key: str, text: str) -> dict[str, Any]:
    document = _json(key, text)
    if not isinstance(document, dict):
        raise InputError(f"the metadata '{key}' must be a JSON object, found {_kind(document)}; export it again.")
    version = document.get("schema_version", 1)
    if type(version) is not int or version != SCHEMA_VERSION:
        found = repr(version) if "schema_version" in document else "missing, which means 1"
        raise InputError(
            f"the metadata '{key}' has schema_version {found}; this program reads version {SCHEMA_VERSION}: "
            "export the model with a trainer that writes it, or update this program."
        )
    return document


def _labels(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    labels = _json("labels", text)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InputError("the metadata 'labels' must be a JSON array of strings; export the model again.")
    return tuple(labels)


def _names(text: str | None) -> tuple[str, ...]:
    """Return the class names as Ultralytics writes them, a Python dictionary from number to name; none when it is not.

    The key is not part of EdgeFirst's metadata, so other contents are no error.
    """
    if text is None or len(text) > MAX_NAMES:
        return ()
    try:
        names = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ()
    if not isinstance(names, dict) or set(names) != set(range(len(names))):
        return ()
    ordered = tuple(names[number] for number in range(len(names)))
    return ordered if all(isinstance(name, str) for name in ordered) else ()


def _json(key: str, text: str) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the metadata '{key}' is not valid JSON: {error}; export the model again.") from error


def _kind(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _string_entry(payload: bytes) -> tuple[str, str]:
    entry = onnx.StringStringEntryProto()
    try:
        entry.ParseFromString(payload)
    except DecodeError as error:
        raise InputError("this is not a complete ONNX file; export or download the model again.") from error
    return entry.key, entry.value
