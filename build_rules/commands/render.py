"""Facts about a file as text for people or JSON for programs.

Names and values come from files of unknown origin: nothing in them may steer the terminal or exhaust it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from build_rules.errors import printable

__all__ = ["render_json", "render_table", "render_text"]

MAX_DEPTH = 16
MAX_CELL = 1000
MIN_COLUMN = 12
"""Characters below which no column of a table is cut."""
LAST_ONLY = ("original_names",)
"""Columns that tell the whole history; as text its end is enough."""


def render_json(facts: Mapping[str, Any]) -> str:
    """Return the facts as indented JSON in ASCII; numbers that JSON does not know become null."""
    return json.dumps(_finite(_bounded(facts, MAX_DEPTH)), indent=2, allow_nan=False) + "\n"


def render_text(facts: Mapping[str, Any]) -> str:
    """Return one line per fact; a list of mappings becomes a table below its name, or a section for each."""
    return "".join(f"{line}\n" for line in _lines(_bounded(facts, MAX_DEPTH), ""))


def render_table(rows: Sequence[Mapping[str, Any]], width: int | None = None, long: Sequence[str] = ()) -> str:
    """Return one line per row. Into `width` characters it fits by cutting the beginnings of the columns `long`."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_label(column) for column in columns], *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    cuttable = [i for i, column in enumerate(columns) if column in long]
    while width is not None and sum(widths) + 2 * (len(widths) - 1) > width:
        widest = max(cuttable, key=lambda i: widths[i], default=None)
        if widest is None or widths[widest] <= MIN_COLUMN:
            break
        widths[widest] -= 1
    return "".join(f"{_line(line, widths)}\n" for line in cells)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    fitted = (
        cell if len(cell) <= width else f"...{cell[3 - width :]}" for cell, width in zip(cells, widths, strict=True)
    )
    return "  ".join(cell.ljust(width) for cell, width in zip(fitted, widths, strict=True)).rstrip()


def _bounded(value: Any, depth: int) -> Any:
    """Return a value made of dictionaries and lists, what is nested more than `depth` deep replaced by `...`."""
    if isinstance(value, (Mapping, list, tuple)) and depth == 0:
        return "..."
    if isinstance(value, Mapping):
        return {str(key): _bounded(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_bounded(item, depth - 1) for item in value]
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lines(facts: Mapping[str, Any], indent: str) -> list[str]:
    width = max((len(_label(key)) for key, value in facts.items() if not _has_rows(value)), default=0)
    lines: list[str] = []
    below_rows = False
    for key, value in facts.items():
        if _has_rows(value):
            lines += _section(_label(key), value, indent)
        else:
            lines += [""] * below_rows + [f"{indent}{_label(key).ljust(width)}  {_cell(value)}"]
        below_rows = _has_rows(value)
    return lines


def _has_rows(value: Any) -> bool:
    """Whether a value is, or holds, a list of mappings: too much for one line."""
    if isinstance(value, Mapping):
        return any(map(_has_rows, value.values()))
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _section(label: str, value: Any, indent: str) -> list[str]:
    if isinstance(value, list) and not any(map(_has_rows, value)):
        return ["", f"{indent}{label}:", *(f"{indent}  {line}" for line in _table(value))]
    rows = value if isinstance(value, list) else [value]
    lines = []
    for number, row in enumerate(rows, start=1):
        heading = f"{label} ({number} of {len(rows)}):" if len(rows) > 1 else f"{label}:"
        lines += ["", f"{indent}{heading}", *_lines(row, f"{indent}  ")]
    return lines


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_label(column) for column in columns]]
    for row in rows:
        shown = {
            key: value[-1:] if key in LAST_ONLY and isinstance(value, list) else value for key, value in row.items()
        }
        cells.append([_cell(shown.get(column)) for column in columns])
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _label(key: str) -> str:
    return _short(key.replace("_", " "))


def _cell(value: Any) -> str:
    if value is None or value in ([], {}, ""):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.8g}"
    if isinstance(value, list):
        sizes = all(type(item) is int for item in value)
        return _short(("x" if sizes else ", ").join(map(str if sizes else _cell, value)))
    if isinstance(value, Mapping):
        return _short(", ".join(f"{key} {_cell(item)}" for key, item in value.items()))
    return _short(str(value))


def _short(text: str) -> str:
    return printable(text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 3]}...")
