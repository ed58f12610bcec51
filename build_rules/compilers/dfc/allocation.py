"""The placement of layers that a compile has found, kept for the next compile of the same network (`.auto.alls`).

A compiled HAR holds it as `<n>.auto.alls`: a model script with every decision of the allocator. Public callers take it
out (`hailo har extract COMPILED.har --auto-model-script-path x.alls`) and give it to the compile of the quantized HAR
as its model script (`hailo compiler QUANTIZED.har --model-script x.alls`, or `load_model_script` before `compile`); the
long search is then left out. It names every layer, so it is good for one network and one chip alone. The file::

    # allocation of a former compile, for `[dfc] reuse_allocation = true`
    # network: SHA-256 of the network's layers (`network_digest`)
    # chip: hailo8l
    # content: SHA-256 of what follows this line
    ...
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build_rules.errors import InputError
from build_rules.regular_file import open_regular

__all__ = ["ALLOCATION_BYTES", "format_allocation", "network_digest", "read_allocation"]

ALLOCATION_BYTES = 16 << 20
"""Of a large network it has some hundred thousand."""
TITLE = "# allocation of a former compile, for `[dfc] reuse_allocation = true`"
OF_A_LAYER = ("type", "input", "output", "input_shapes", "output_shapes", "quantization_params", "precision_config")
"""What of a layer in an HN its placement depends on."""


def network_digest(hn: Mapping[str, Any], bits: Mapping[str, int] | None = None) -> str:
    """Return a digest of a quantized network: names, types, shapes and links of its layers, and their bits.

    `bits` are those that the HN does not say, by layer. Raises `InputError` when the HN has no layers.
    """
    layers = hn.get("layers")
    if not isinstance(layers, Mapping):
        raise InputError("an HN without layers is none; build the HAR again.")
    facts = {
        name: {key: layer[key] for key in OF_A_LAYER if key in layer} if isinstance(layer, Mapping) else None
        for name, layer in layers.items()
    }
    text = json.dumps([facts, dict(bits or {})], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def format_allocation(text: str, network: str, chip: str) -> str:
    """Return the text of the file for an `.auto.alls`."""
    content = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{TITLE}\n# network: {network}\n# chip: {chip}\n# content: {content}\n{text}"


def read_allocation(path: Path, network: str, chip: str) -> str | None:
    """Return the `.auto.alls` that was kept of this network and chip; None of another, of none, of a damaged one."""
    try:
        with os.fdopen(open_regular(path), "rb") as stream:
            data = stream.read(ALLOCATION_BYTES + 1)
        whole = data.decode("utf-8") if len(data) <= ALLOCATION_BYTES else ""
    except (InputError, OSError, UnicodeError):
        return None
    text = whole.split("\n", 4)[-1]
    return text if text.strip() and whole == format_allocation(text, network, chip) else None
