"""Facts about a file as text for people or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["render_json", "render_text"]


def render_json(facts: Mapping[str, Any]) -> str:
    """Return the facts as indented JSON."""
    return json.dumps(facts, indent=2, ensure_ascii=False) + "\n"


def render_text(facts: Mapping[str, Any]) -> str:
    """Return one line per fact; a list of mappings becomes a table below its name."""
    width = max(map(len, facts), default=0)
    lines = []
    for key, value in facts.items():
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            lines += ["", f"{key}:", *_table(value)]
        else:
            lines.append(f"{key.ljust(width)}  {_cell(value)}")
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    ]


def _cell(value: Any) -> str:
    if value is None or value in ([], ""):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.8g}"
    if isinstance(value, (list, tuple)):
        if all(isinstance(item, int) for item in value):
            return "x".join(map(str, value))
        return ", ".join(map(_cell, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    # Names come from files of unknown origin: nothing in them may steer the terminal.
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
