"""What the compiler's profiler says of a HEF, as facts: frames per second, latency, bandwidth, utilization.

`ClientRunner.profile()` returns `{"stats": ..., "latency_data": ..., ...}`, which is documented nowhere: numbers are
looked for by what they are called, and what is not there is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from build_rules.records.stage_report import JSON

__all__ = ["profile_facts"]

VISITED = 20_000
DEPTH = 12
NAMES = 16
"""Numbers that are kept of one kind."""
_NUMBER = re.compile(r"^\s*(-?\d{1,12}(?:\.\d{1,12})?)\s*(?:%|[A-Za-z/]{1,12})?\s*$")
_ONE = (
    ("profile_fps", re.compile(r"^(?:\w{1,20}_)?fps$|^frames_per_second$|^throughput$")),
    ("profile_latency_ms", re.compile(r"^(?:\w{1,20}_)?latency(?:_ms)?$")),
)
_SEVERAL = (
    ("profile_bandwidth", re.compile(r"^\w{0,40}bandwidth\w{0,40}$")),
    ("profile_utilization", re.compile(r"^\w{0,40}utilization\w{0,40}$")),
)


def profile_facts(document: Mapping[str, Any]) -> dict[str, JSON]:
    """Return the facts in what the profiler returned; of several numbers of one name, that nearest to the top.

    Bandwidths and utilizations keep their own names, which say of what and in which unit.
    """
    one: dict[str, JSON] = {}
    several: dict[str, dict[str, JSON]] = {name: {} for name, _ in _SEVERAL}
    for key, value in _items(document):
        number = _number(value)
        if number is None:
            continue
        for name, pattern in _ONE:
            if name not in one and pattern.match(key):
                one[name] = number
        for name, pattern in _SEVERAL:
            if len(several[name]) < NAMES and pattern.match(key):
                several[name].setdefault(key, number)
    return {**dict(sorted(one.items())), **{name: found for name, found in several.items() if found}}


def _items(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield keys in lower case, and values, level by level."""
    level: list[Any] = [document]
    visited = 0
    for _ in range(DEPTH):
        below: list[Any] = []
        for holder in level:
            pairs = holder.items() if isinstance(holder, Mapping) else (("", each) for each in holder)
            for key, value in pairs:
                visited += 1
                if visited > VISITED:
                    return
                yield str(key).lower(), value
                if isinstance(value, (Mapping, list, tuple)):
                    below.append(value)
        level = below


def _number(value: Any) -> float | None:
    if isinstance(value, str) and (match := _NUMBER.match(value)):
        return float(match[1])
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 60:
        return float(value)
    if isinstance(value, float) and math.isfinite(value):
        return round(value, 6)
    return None
