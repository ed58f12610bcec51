"""What the outputs of a network weigh, per frame and at each preset's width: the reason for the cut, in numbers.

A chip of this kind streams a feature map out row by row, so of an endpoint it holds some rows; an output that joins all
scales behind each other has to be held whole before the last scale is computed, in the memory of one context. The
compiler refuses heads for that (EdgeFirst's manual, page "Hailo Converter"); the vendor publishes no size of that
memory, so none is given here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from build_rules.presets import PRESETS, Preset
from build_rules.records.split_json import Endpoint

__all__ = ["budget_facts", "endpoint_bytes"]

Facts = dict[str, Any]


def endpoint_bytes(endpoint: Endpoint, preset: Preset) -> int:
    """Return the bytes per frame of an endpoint as a preset delivers it: one or two for each value."""
    return prod(endpoint.shape) * _width(endpoint, preset)


def budget_facts(endpoints: Sequence[Endpoint], outputs: Mapping[str, tuple[int, ...]]) -> list[Facts]:
    """Return a row for each preset: bytes of all endpoints, of the largest, of its rows, and of the uncut outputs.

    `outputs` are the model's own outputs, without those that are endpoints. An uncut output has one width for
    everything in it, so a single role of 16 bits makes all of it wide.
    """
    cut = {endpoint.tensor for endpoint in endpoints}
    joined = [shape for name, shape in outputs.items() if name not in cut]
    if not endpoints or not joined:
        return []
    rows = []
    for name, preset in PRESETS.items():
        widest = max(_width(endpoint, preset) for endpoint in endpoints)
        rows.append(
            {
                "preset": name,
                "endpoints_bytes": sum(endpoint_bytes(endpoint, preset) for endpoint in endpoints),
                "largest_endpoint_bytes": max(endpoint_bytes(endpoint, preset) for endpoint in endpoints),
                "largest_row_bytes": max(_row_bytes(endpoint, preset) for endpoint in endpoints),
                "uncut_held_whole_bytes": sum(prod(shape) for shape in joined) * widest,
            }
        )
    return rows


def _width(endpoint: Endpoint, preset: Preset) -> int:
    return 2 if endpoint.kind.precision in preset.wide else 1


def _row_bytes(endpoint: Endpoint, preset: Preset) -> int:
    _, channels, _, width = endpoint.shape
    return channels * width * _width(endpoint, preset)
