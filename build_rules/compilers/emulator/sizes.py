"""Is a network larger than any that is known to have been compiled for a chip?

Hailo publishes no limits of channels, width or weights. What can be known is the largest of the networks in its public
tables (github.com/hailo-ai/hailo_model_zoo, `docs/public_models/HAILO8` and `HAILO8L`, compiled with DFC 3.27 to 3.33):
beyond it nobody can tell but the compiler, so it is a warning and no refusal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

from build_rules.records.hardware import HARDWARE

__all__ = ["tell_sizes"]


class Known(NamedTuple):
    """A size, and the public network that has it."""

    size: float
    network: str


CHANNELS = Known(4096, "clip_vit_l_14_image_encoder, inside its blocks")
EDGE = Known(1920, "stdc1, 1024x1920")
UNTOLD = "No limit is published: whether the chip holds it, only Hailo's compiler can tell"


def tell_sizes(hn: Mapping[str, Any], hw_arch: str) -> tuple[str, ...]:
    """Return a warning for each kind of size in which a network is beyond every public one of its chip."""
    chip = HARDWARE[hw_arch]
    warnings = [
        *_beyond("channels", CHANNELS, {name: shape[-1] for name, shape in _shapes(hn)}),
        *_beyond("pixels along an edge", EDGE, {name: max(shape[1:-1]) for name, shape in _shapes(hn) if shape[1:-1]}),
    ]
    weights = sum(map(_weights, hn["layers"].values()))
    known = None if chip.most_weights is None else Known(*chip.most_weights)
    if known is not None and weights > known.size:
        warnings.append(
            f"the network has {weights / 1e6:.1f} million weights; the largest public one for {chip.name} has "
            f"{known.size / 1e6:.1f} ({known.network}). {UNTOLD}."
        )
    return tuple(warnings)


def _shapes(hn: Mapping[str, Any]) -> Iterator[tuple[str, list[int]]]:
    return ((name, shape) for name, layer in hn["layers"].items() for shape in layer["output_shapes"])


def _beyond(what: str, known: Known, sizes: Mapping[str, int]) -> Iterator[str]:
    worst = max(sizes, key=lambda name: sizes[name])
    if sizes[worst] > known.size:
        yield (
            f"layer {worst!r} has {sizes[worst]} {what}; no public network has more than {known.size:.0f} "
            f"({known.network}). {UNTOLD}."
        )


def _weights(layer: Mapping[str, Any]) -> int:
    if layer["type"] == "dense":
        return int(layer["input_shapes"][0][-1] * layer["output_shapes"][0][-1]) if layer["output_shapes"] else 0
    return prod(layer.get("params", {}).get("kernel_shape", [0])) if layer["type"] in ("conv", "dw", "deconv") else 0
