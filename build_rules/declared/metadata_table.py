"""The table `[metadata]` of `model.toml`: what the compiled document says, over what the ONNX says of itself.

[metadata]
name = "parking-lot"
nms = "class_agnostic"

[metadata.validation]
score = 0.25
normalization = "signed"

Tables are merged with those of the document, anything else replaces what is there. What the build itself finds out or
decides cannot be said here.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from build_rules.records.split_json import CAMERA_ADAPTORS
from build_rules.toml_table import Table, table_beside
from build_rules.trainer.vocabulary import COLOR_KEYS, DECODER_VERSIONS, NMS_MODES, NORMALIZATIONS, RESIZES

__all__ = ["MetadataTable", "metadata_beside", "read_metadata"]

NAME = "metadata"
MAX_DEPTH = 24
"""Tables and arrays inside each other; the whole document may have few more."""
MAX_INTEGER = 1 << 63
SECTIONS = ("dataset", "host", "input", "model", "tiling", "validation")
DESCRIPTIVE = (
    *("author", "dataset", "date", "decoder_version", "description", "host", "license", "name", "nms"),
    *("nms_multi_label", "version"),
)
"""What nobody but the last step reads: when nothing else changes, the graph is not cut again."""

_Path = tuple[str, ...]
_ABOVE = "stands above the first table: whatever is below [metadata] becomes part of the document"
ELSEWHERE: Mapping[_Path, str] = {
    **{
        (key,): f"no {key} here: it {_ABOVE}"
        for key in ("onnx", "hef", "compiler", "embed", "calibration_count", "skip_broken_images")
    },
    ("schema_version",): "no schema_version here: this program decides it, it writes schema 2",
    ("outputs",): "no outputs here: the compiled file decides them",
    ("split_hints",): "no split_hints here: where to cut is decided by [[split.hint]]",
    ("hailo",): "no such section here: the build writes what it did",
    ("labels",): 'no labels here: labels = "labels.txt", above every table, names the file that decides them',
    ("names",): 'no names here: labels = "labels.txt", above every table, names the file that decides them',
    ("input", "shape"): "no shape here: the network's input decides it, and [input] where the export leaves it open",
    ("input", "dshape"): "no dshape here: the network's input decides it, and [input] where the export leaves it open",
}
CHOICES: Mapping[_Path, Collection[str]] = {
    ("nms",): NMS_MODES,
    ("decoder_version",): DECODER_VERSIONS,
    ("validation", "normalization"): tuple(NORMALIZATIONS),
    ("validation", "preprocessing"): RESIZES,
    **{("input", key): tuple(CAMERA_ADAPTORS) for key in COLOR_KEYS},
}


@dataclass(frozen=True)
class MetadataTable:
    """The table as JSON, its keys sorted; `cut` is the part that may decide how the graph is cut and fed, or None."""

    whole: str
    cut: str | None


def read_metadata(table: Table) -> MetadataTable | None:
    """Read the sub-table `metadata` of a model. Raises `InputError` for what is not possible in it."""
    content, inner = table.content(NAME), table.table(NAME)
    if content is None or inner is None:
        return None
    for name in SECTIONS:
        inner.table(name)
    _check(inner, content, (), inner)
    cut = {key: value for key, value in content.items() if key not in DESCRIPTIVE}
    return MetadataTable(_text(content), _text(cut) if cut else None)


def metadata_beside(onnx: Path) -> str | None:
    """Return the table, as JSON, in the `model.toml` beside an ONNX file; None when there is none.

    Raises `InputError` for what is not possible in it.
    """
    table = read_metadata(table_beside(onnx))
    return None if table is None else table.whole


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=False)


def _check(table: Table, content: Mapping[str, Any], path: _Path, top: Table) -> None:
    for key, value in content.items():
        here = (*path, key)
        if here in ELSEWHERE:
            table.fail(key, ELSEWHERE[here])
        if here in CHOICES and value not in CHOICES[here]:
            table.fail(key, "one of: " + ", ".join(f'"{word}"' for word in CHOICES[here]))
        if here == ("nms_multi_label",) and not isinstance(value, bool):
            table.fail(key, "true or false")
        if not isinstance(value, dict):
            if (lack := _lack(value, MAX_DEPTH - len(here))) is not None:
                table.fail(key, lack)
        elif len(here) > MAX_DEPTH:
            top.fail(here[0], f"tables inside each other no deeper than {MAX_DEPTH}")
        elif (inner := table.table(key)) is not None:
            _check(inner, value, here, top)


def _lack(value: Any, depth: int) -> str | None:
    """Return what should be there in place of a value that the document, which is JSON, cannot hold."""
    if depth < 0:
        return f"arrays and tables inside each other no deeper than {MAX_DEPTH}"
    if isinstance(value, dict):
        return next((lack for inner in value.values() if (lack := _lack(inner, depth - 1)) is not None), None)
    if isinstance(value, list):
        return next((lack for inner in value if (lack := _lack(inner, depth - 1)) is not None), None)
    if isinstance(value, str | bool):
        return None
    if isinstance(value, int):
        return None if -MAX_INTEGER <= value < MAX_INTEGER else "a number of at most 64 bits"
    if isinstance(value, float):
        return None if isfinite(value) else "a number that JSON can write, neither nan nor inf"
    return "text in quotes: the document is JSON, which has no dates and times"
