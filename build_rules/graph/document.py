"""The EdgeFirst metadata that a trainer embedded in an ONNX file, read without touching the weights.

`ModelProto.metadata_props` (field 14) carries strings; the key `edgefirst` (`edgefirst.json` in older exports) holds
the whole document, `labels` a JSON array of class names. The top-level fields of the file are walked by their lengths,
so a model of a gigabyte costs a few seeks.

Sources: onnx.proto3 (https://github.com/onnx/onnx), the protobuf wire format
(https://protobuf.dev/programming-guides/encoding), the EdgeFirst metadata schema version 2.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from build_rules.errors import InputError

__all__ = ["SourceDocument", "parse_document", "read_document"]

SCHEMA_VERSION = 2
DOCUMENT_KEYS = ("edgefirst", "edgefirst.json")
_METADATA_PROPS = 14
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_NOT_ONNX = "this is not a complete ONNX file ({}); export or download the model again."


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
        with onnx_path.open("rb") as file:
            entries = [_string_entry(payload) for payload in _metadata_payloads(file)]
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
    labels = _labels(properties.get("labels"))
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
        raise InputError(_NOT_ONNX.format("a metadata entry cannot be decoded")) from error
    return entry.key, entry.value


def _metadata_payloads(file: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of every `metadata_props` entry; seek over all other fields."""
    size = file.seek(0, 2)
    position = file.seek(0)
    if size == 0:
        raise InputError(_NOT_ONNX.format("it is empty"))
    while position < size:
        tag = _varint(file)
        number, kind = tag >> 3, tag & 7
        if number == 0 or kind not in (_VARINT, _FIXED64, _LENGTH, _FIXED32):
            raise InputError(_NOT_ONNX.format(f"unexpected data at byte {position}"))
        if kind == _VARINT:
            _varint(file)
            position = file.tell()
            continue
        length = {_FIXED64: 8, _FIXED32: 4}.get(kind) or (_varint(file) if kind == _LENGTH else 0)
        start = file.tell()
        if start + length > size:
            raise InputError(_NOT_ONNX.format(f"it ends at byte {size}, {start + length} are announced"))
        if number == _METADATA_PROPS and kind == _LENGTH:
            yield file.read(length)
        position = file.seek(start + length)


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise InputError(_NOT_ONNX.format("it ends in the middle of a field"))
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise InputError(_NOT_ONNX.format("a field number or length is too long"))
