"""What each layer of a network costs, as a compiler that can measure it tells."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LayerNoise"]


@dataclass(frozen=True)
class LayerNoise:
    """The noise that quantizing one layer alone makes in the outputs at the cells that hold objects.

    `layer` is its HN name (`net/conv12`), `nodes` the ONNX nodes fused into it. `share` is its part of the sum over all
    layers (0..1), `outputs` the same per stream. `low` and `high` are the range seen, `used` the share of it between
    the 0.1 and 99.9 percentiles of the values seen. `bits` are those of its output now. `weights` is the part of its
    noise that its weights make (0..1), the rest is made by rounding its output; None where nobody has measured it.
    """

    layer: str
    kind: str
    nodes: tuple[str, ...]
    share: float
    outputs: tuple[tuple[str, float], ...]
    low: float
    high: float
    used: float
    bits: int
    weights: float | None = None
