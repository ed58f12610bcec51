"""`har.json`, `hef.json`: what a stage of the compiler did beyond its output, as its logs tell.

They stand beside `model.har` and `model.hef`. Format 1 (JSON, UTF-8, two-space indent)::

    {"format": 1,
     "facts": {"optimization_level": 2, "calibration_images": 1024, "algorithms": ["Bias Correction"], "contexts": 3},
     "warnings": ["the level was lowered from 2 to 0, since there is no GPU"]}

Facts are the same whenever the same is made: they hold no times and no paths. Which there are, the compiler decides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from build_rules.errors import InputError

__all__ = ["JSON", "REPORT_BYTES", "StageReport", "dump_report", "load_report", "parse_report"]

FORMAT = 1
REPORT_BYTES = 1 << 20
"""A report of forty facts and as many warnings has ten thousand bytes."""
MAX_DEPTH = 8
"""Lists and objects within each other, in a fact; a table has two."""

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"


@dataclass(frozen=True)
class StageReport:
    """What a stage did: `facts` by their names, and `warnings`, one sentence each, of what is not as it was asked."""

    facts: Mapping[str, JSON] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def dump_report(report: StageReport) -> str:
    """Return the text of a report; equal reports give equal text. Raises `ValueError` for numbers that JSON lacks."""
    members = {"format": FORMAT, "facts": dict(report.facts), "warnings": list(report.warnings)}
    return json.dumps(members, indent=2, allow_nan=False) + "\n"


def load_report(path: Path) -> StageReport:
    """Read a report. Raises `InputError` when the file is not one of format 1, or larger than any."""
    try:
        with path.open("rb") as stream:
            data = stream.read(REPORT_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    return parse_report(data, str(path))


def parse_report(data: bytes, where: str) -> StageReport:
    """Return the report in `data`; `where` names it in errors. Raises `InputError` as `load_report` does."""
    if len(data) > REPORT_BYTES:
        raise InputError(f"{where}: has more than {REPORT_BYTES} bytes, which no report has; delete it.")
    try:
        document = json.loads(data.decode("utf-8"), parse_constant=_no_number)
        if document["format"] != FORMAT:
            raise InputError(f"{where}: its format is not {FORMAT}; delete it and run doit again.")
        facts, warnings = document["facts"], document["warnings"]
        if not isinstance(facts, dict) or not isinstance(warnings, list):
            raise TypeError("facts or warnings of another kind")
        if not all(isinstance(warning, str) for warning in warnings):
            raise TypeError("a warning that is no text")
        _check_depth(facts)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{where}: not a report of this version ({error!r}); delete it.") from error
    return StageReport(facts, tuple(warnings))


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _check_depth(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        _check_depth(item, depth + 1)
