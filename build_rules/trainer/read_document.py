"""Reading what a trainer embedded in an ONNX file, without touching the weights.

`ModelProto.metadata_props` (field 14) carries strings; the key `edgefirst` (`edgefirst.json` in older exports) holds
the whole document, `labels` a JSON array of class names (plain Ultralytics exports have `names` instead). The top-level
fields of the file are walked by their lengths, so a model of a gigabyte costs a few seeks.

Sources: onnx.proto3 (https://github.com/onnx/onnx), the EdgeFirst metadata schema version 2.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from build_rules.errors import InputError
from build_rules.onnx_file.field_reader import LENGTH, Field, FieldReader
from build_rules.onnx_file.onnx_files import OnnxFiles, opened
from build_rules.trainer.class_names import parse_names
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.vocabulary import SCHEMA_VERSION

__all__ = ["parse_document", "read_document"]

DOCUMENT_KEYS = ("edgefirst", "edgefirst.json")
USED_KEYS = (*DOCUMENT_KEYS, "labels", "names", "author", "end2end", "imgsz")
AUTHOR = "ultralytics"
MAX_ENTRIES = 4096
"""Keys that one file may have; exports have about fifteen."""
MAX_ALL = 16 << 20
"""Bytes of all metadata together: whoever runs the network has them in memory, several times."""
MAX_KEY = 1 << 10
MAX_VALUE = 1 << 20
"""Bytes of a value that is used; readers of a HEF take no larger document."""
MAX_WRITTEN = MAX_VALUE - (1 << 16)
"""Bytes of the document as it is written; the rest is for the outputs as they are compiled."""
MAX_DEPTH = 32
_METADATA_PROPS, _ENTRY_KEY, _ENTRY_VALUE = 14, 1, 2


def read_document(onnx_file: Path | OnnxFiles, metadata: str | None = None) -> TrainerDocument:
    """Return the metadata of an ONNX file without reading its weights, under `metadata`, a JSON object.

    Raises `InputError`, naming the file, when it is no ONNX or when its metadata is malformed or of another version.
    """
    place = onnx_file.path if isinstance(onnx_file, OnnxFiles) else onnx_file
    try:
        with opened(onnx_file) as files:
            reader = FieldReader(files)
            fields = [f for f in reader.fields() if f.number == _METADATA_PROPS and f.wire == LENGTH]
            if len(fields) > MAX_ENTRIES:
                raise InputError(f"its metadata has {len(fields)} keys, more than {MAX_ENTRIES}; export it again.")
            if sum(field.end - field.value for field in fields) > MAX_ALL:
                raise InputError(
                    f"its metadata has more than {MAX_ALL >> 20} MiB, which no export has; export it again."
                )
            entries = [entry for field in fields if (entry := _entry(reader, field)) is not None]
        return parse_document(entries, metadata)
    except OSError as error:
        raise InputError(f"{place}: cannot be read ({error.strerror}).") from error
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def _entry(reader: FieldReader, entry: Field) -> tuple[str, str] | None:
    """Return a key with its value, None for one that is not used; no more is read of any than it may hold."""
    parts = {part.number: part for part in reader.fields(entry.value, entry.end) if part.wire == LENGTH}
    key, value = parts.get(_ENTRY_KEY), parts.get(_ENTRY_VALUE)
    if key is None or key.end - key.value > MAX_KEY:
        return None
    name = _text(reader.read(key.value, key.end))
    if name not in USED_KEYS:
        return None
    if value is None:
        return name, ""
    if value.end - value.value > MAX_VALUE:
        raise _too_long(name)
    return name, _text(reader.read(value.value, value.end))


def _too_long(key: str) -> InputError:
    return InputError(
        f"the metadata '{key}' has more than {MAX_VALUE} bytes, which nothing of the kind needs; export it again."
    )


def parse_document(entries: Iterable[tuple[str, str]], metadata: str | None = None) -> TrainerDocument:
    """Return the metadata held by `metadata_props`, given as (key, value) pairs, under `metadata`, a JSON object.

    Raises `InputError` for malformed JSON, a document that is no object, and a `schema_version` other than 2 (missing
    means 1).
    """
    properties: dict[str, str] = {}
    for key, value in entries:
        if key in USED_KEYS and len(value) > MAX_VALUE:
            raise _too_long(key)
        if properties.setdefault(key, value) != value:
            raise InputError(f"the metadata key '{key}' occurs twice with different values; export the model again.")
    labels = _labels(properties.get("labels"))
    fault: str | None = None
    if not labels and "names" in properties:
        try:
            labels = parse_names(properties["names"])
        except InputError as error:
            fault = str(error)
    own = next((key for key in DOCUMENT_KEYS if key in properties), None)
    document = {} if own is None else _document(own, properties[own])
    if metadata is not None:
        document = _merged(document, json.loads(metadata))
        _check_writable("edgefirst, under [metadata] of model.toml", document)
    return TrainerDocument(
        content=document,
        labels=labels,
        key=own,
        names_fault=fault,
        ultralytics=properties.get("author", AUTHOR if "names" in properties else "").lower() == AUTHOR,
        end2end=properties.get("end2end", "").lower() == "true",
        imgsz=properties.get("imgsz", ""),
    )


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return two objects as one: objects in both are merged, of anything else the one above counts."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _merged(under if isinstance(under, dict) else {}, value) if isinstance(value, dict) else value
    return merged


def _document(key: str, text: str) -> dict[str, Any]:
    document = _json(key, text)
    if not isinstance(document, dict):
        raise InputError(f"the metadata '{key}' must be a JSON object, found {_kind(document)}; export it again.")
    version = document.get("schema_version", 1)
    if type(version) is not int or version != SCHEMA_VERSION:
        stated = repr(version) if "schema_version" in document else "missing, which means 1"
        raise InputError(
            f"the metadata '{key}' has schema_version {stated}; this program reads version {SCHEMA_VERSION}: "
            "export the model with a trainer that writes it, or update this program."
        )
    _check_writable(key, document)
    return document


def _check_writable(key: str, document: dict[str, Any]) -> None:
    """Raise `InputError` for what would be refused when the document is written, after hours of compiling."""
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        level = [inner for value in level if isinstance(value, dict | list) for inner in _values(value)]
    if level:
        raise InputError(f"the metadata '{key}' is nested deeper than {MAX_DEPTH} levels; export the model again.")
    try:
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except ValueError as error:
        raise InputError(f"the metadata '{key}' cannot be written as JSON ({error}); export it again.") from error
    if len(text) > MAX_WRITTEN:
        raise InputError(
            f"the metadata '{key}' takes {len(text)} bytes when it is written in lines, and readers of a HEF take "
            f"{MAX_VALUE}; export the model with less in it."
        )


def _values(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


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


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError("its metadata is not UTF-8 text; export or download the model again.") from error
