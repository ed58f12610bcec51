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
_NUMBER = re.compile(r"^\s*(-?\d{1,12}(?:\.\d{1,12})?)\s*(?:%|[A-Za-z/]{1,12})?\s*$")
_KEYS = (
    ("profile_fps", re.compile(r"^(?:fps|frames_per_second|throughput(?:_fps)?|estimated_fps|hw_fps)$")),
    ("profile_latency_ms", re.compile(r"^(?:(?:total_|overall_|hw_)?latency(?:_ms)?)$")),
    ("profile_bandwidth_mbit", re.compile(r"^(?:total_|pcie_|io_)?bandwidth(?:_mbps|_mbit)?$")),
    ("profile_utilization", re.compile(r"^(?:total_)?(?:chip_|device_)?utilization$")),
)


def profile_facts(document: Mapping[str, Any]) -> dict[str, JSON]:
    """Return the facts in what the profiler returned; of several numbers of one name, that nearest to the top."""
    found: dict[str, JSON] = {}
    for key, value in _items(document):
        number = _number(value)
        for name, pattern in _KEYS:
            if number is not None and name not in found and pattern.match(key.lower()):
                found[name] = number
    return {name: found[name] for name, _ in _KEYS if name in found}


def _items(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield keys and values, level by level."""
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
                yield str(key), value
                if isinstance(value, (Mapping, list, tuple)):
                    below.append(value)
        level = below


def _number(value: Any) -> float | None:
    if isinstance(value, str) and (match := _NUMBER.match(value)):
        return float(match[1])
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return round(float(value), 6)
    return None
