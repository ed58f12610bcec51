"""A comparison as JSON: what `doit compare --json` prints, and what is kept so that it is not computed twice.

The members are the fields of the records in `measured.py` and `objects/agreement.py`, in their order; a number that is
none (NaN: not known) is null. What is kept stands in `{"format": 1, "key": ..., "comparison": ...}`; `key` is the
digest of what it was made from. A file that is damaged, of another format or of other inputs counts as none.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields, is_dataclass
from math import isfinite, nan
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from build_rules.comparison.measured import Comparison
from build_rules.errors import InputError
from build_rules.regular_file import read_small

__all__ = ["dump", "keep", "load", "recall"]

FORMAT = 1
MAX_KEPT_BYTES = 16 << 20
"""A comparison of three presets with twenty outputs and eighty classes has 300,000 bytes."""


def dump(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON has it."""
    members: dict[str, Any] = _plain(asdict(comparison))
    return members


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def load(members: Any) -> Comparison:
    """Return the comparison that JSON holds. Raises `ValueError` for what `dump` has not written."""
    comparison: Comparison = _read(Comparison, members)
    return comparison


def _read(kind: Any, value: Any) -> Any:
    """Return a JSON value as the type says that a field has."""
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _read_record(kind, value)
    if origin in (Union, UnionType):
        return None if value is None and NoneType in arguments else _read(arguments[0], value)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        return tuple(_read(each, item) for each, item in zip(kinds, value, strict=True))
    if kind is float and value is None:
        return nan
    if type(value) is kind or (kind is float and type(value) is int):
        return kind(value)
    raise ValueError(f"{str(value)[:40]!r} is no {kind}")


def _read_record(kind: Any, value: Any) -> Any:
    names = [field.name for field in fields(kind)]
    if not isinstance(value, dict) or [*value] != names:
        raise ValueError(f"not the members of {kind.__name__}")
    hints = get_type_hints(kind)
    return kind(**{name: _read(hints[name], value[name]) for name in names})


def keep(comparison: Comparison, key: str) -> bytes:
    """Return the file that keeps a comparison."""
    document = {"format": FORMAT, "key": key, "comparison": dump(comparison)}
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode("ascii")


def recall(path: Path, key: str | None) -> Comparison | None:
    """Return what is kept at `path` and was made from what `key` stands for (None: from whatever), None without it."""
    try:
        document = json.loads(read_small(path, MAX_KEPT_BYTES, "a comparison"))
        if document["format"] != FORMAT or key not in (None, document["key"]):
            return None
        return load(document["comparison"])
    except (InputError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
