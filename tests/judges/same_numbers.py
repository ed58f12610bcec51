"""Do HEF, metadata, HAR and what is computed tell of the same numbers? Each is read by itself, from its own file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from build_rules.compilers.har_file import output_layers, read_har
from build_rules.hef import read_hef
from tests.decoders import physical_outputs

__all__ = ["Grid", "of_document", "of_har", "of_hef"]


@dataclass(frozen=True)
class Grid:
    """real = scale * (stored - zero_point), the scale as the 32-bit float that files hold."""

    scale: np.float32
    zero_point: int
    bits: int


def of_hef(path: Path) -> dict[str, Grid]:
    """What the HEF's message says of its output streams."""
    return {
        stream.name: Grid(
            np.float32(stream.quantization.scale), int(stream.quantization.zero_point), 8 * stream.data_bytes
        )
        for stream in read_hef(path).network_groups[0].outputs
    }


def of_document(document: Mapping[str, Any]) -> dict[str, Grid]:
    """What `edgefirst.json` says of its physical outputs."""
    grids = {}
    for output in physical_outputs(document):
        numbers = output["quantization"]
        assert numbers["dtype"] == output["dtype"]
        bits = int(output["dtype"].removeprefix("uint"))
        grids[output["name"]] = Grid(np.float32(numbers["scale"]), numbers["zero_point"], bits)
    return grids


def of_har(path: Path) -> dict[str, Grid]:
    """What `<n>.q.npz` of a quantized HAR says of its output layers."""
    har = read_har(path)
    with np.load(io.BytesIO(har.member(".q.npz"))) as stored:
        return {
            output.producer: Grid(
                np.float32(stored[f"{output.output_layer}/output_scale:0"]),
                int(stored[f"{output.output_layer}/output_zero_point:0"]),
                int(stored[f"{output.output_layer}/output_activation_bits:0"]),
            )
            for output in output_layers(har.hn)
        }
