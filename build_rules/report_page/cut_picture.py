"""The cut, drawn: image, network by stages, endpoints by role and scale, the removed tail, what was uncut.

From top to bottom, 340 units wide, so that it can be read on a phone without being moved about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from build_rules.records.split_json import Endpoint, Split
from build_rules.report_page.told import Network
from build_rules.report_page.views import CellBox, CutView

__all__ = ["draw_cut", "shape_text"]

WIDTH, MARGIN, GAP, LINE = 340.0, 6.0, 16.0, 13.0
COLUMNS = 3
"""Endpoints beside each other: so many shapes can be read at this width."""


@dataclass
class _Drawing:
    """What is drawn so far, and how far down that reaches."""

    y: float = MARGIN
    boxes: list[CellBox] = field(default_factory=list)
    arrows: list[tuple[float, float, float, float]] = field(default_factory=list)

    def box(self, kind: str, lines: Sequence[str], width: float = WIDTH - 2 * MARGIN, x: float | None = None) -> None:
        """Draw a box below what there is; it is centred without `x`."""
        height = LINE * len(lines) + 9
        self.boxes.append(CellBox(_half(WIDTH - width) if x is None else x, self.y, width, height, kind, tuple(lines)))

    def below(self, gap: float) -> None:
        """Go below the last box."""
        self.y = self.boxes[-1].y + self.boxes[-1].height + gap

    def arrow(self) -> None:
        """Point from the last box down to the next one."""
        self.below(0)
        self.arrows.append((WIDTH / 2, self.y + 1, WIDTH / 2, self.y + GAP - 2))
        self.y += GAP


def draw_cut(split: Split, network: Network | None) -> CutView:
    """Return the picture of a cut; without `network` it has no stages, and nothing is said of the tail's nodes."""
    drawing = _Drawing()
    size = f"{split.input.width} x {split.input.height} x {split.input.channels}"
    drawing.box("edge", [f"image {size}, bytes"], 200)
    drawing.arrow()
    if split.front is not None:
        drawing.box("host", ["front of the graph: taken off,", "the script normalizes on the chip"], 240)
        drawing.arrow()
    _draw_network(drawing, split, network)
    drawing.arrow()
    _draw_endpoints(drawing, split)
    cut_y = drawing.y - GAP / 2 + 2
    drawing.y += 6
    _draw_tail(drawing, network, split)
    height = drawing.boxes[-1].y + drawing.boxes[-1].height + MARGIN
    return CutView(WIDTH, height, tuple(drawing.boxes), tuple(drawing.arrows), cut_y, _in_words(split, network))


def _draw_network(drawing: _Drawing, split: Split, network: Network | None) -> None:
    nodes = f"network: {network.nodes} ONNX nodes" if network else "network"
    weights = [f"{network.parameters / 1e6:.2f} million weights"] if network and network.parameters else []
    if split.attention:
        weights.append(f"{len(split.attention)} attention block{'s' * (len(split.attention) > 1)}")
    stages = network.stages if network else ()
    drawing.box("chip", [nodes, *([", ".join(weights)] if weights else [])], 300)
    for number, stage in enumerate(stages):
        drawing.below(3)
        text = f"1/{stage.stride}: {stage.layers} layers, {stage.convolutions} convolutions"
        drawing.box("stage", [text], 300 - 60 * number / max(1, len(stages) - 1))


def _draw_endpoints(drawing: _Drawing, split: Split) -> None:
    """Draw the endpoints of each role in a row of their own, finest first; rows of more than three are broken."""
    for role in dict.fromkeys(endpoint.role for endpoint in split.endpoints):
        of_role = [endpoint for endpoint in split.endpoints if endpoint.role == role]
        for start in range(0, len(of_role), COLUMNS):
            row = of_role[start : start + COLUMNS]
            width = (WIDTH - 2 * MARGIN - 6 * (len(row) - 1)) / max(len(row), 2)
            left = _half(WIDTH - len(row) * width - 6 * (len(row) - 1))
            for number, endpoint in enumerate(row):
                drawing.box("endpoint", _endpoint_lines(endpoint), width, left + number * (width + 6))
            drawing.below(6)
    drawing.y += 10


def _endpoint_lines(endpoint: Endpoint) -> list[str]:
    stride = f" /{endpoint.stride}" if endpoint.stride else ""
    return [f"{endpoint.role[:14]}{stride}", shape_text(endpoint.shape)]


def _draw_tail(drawing: _Drawing, network: Network | None, split: Split) -> None:
    lines = ["tail: removed, decoded on the host"]
    if network and network.tail_nodes:
        kinds = ", ".join(f"{count} {kind}" for kind, count in network.tail_operators[:3])
        lines = [f"tail: {network.tail_nodes} nodes removed, decoded on the host", f"mostly {kinds}"]
    drawing.box("host", lines, 300)
    for name, shape in network.outputs[:4] if network else ():
        drawing.arrow()
        drawing.box("edge", [f"{name[:24]} {' x '.join(map(str, shape))}"], 220)


def shape_text(shape: Sequence[int]) -> str:
    """Return how an ONNX tensor [1, C, H, W] lies on the chip, height first; other shapes as they are."""
    _, *sides = shape if len(shape) == 4 else (0, *shape)
    ordered = [*sides[1:], sides[0]] if len(shape) == 4 else sides
    return " x ".join(map(str, ordered))


def _in_words(split: Split, network: Network | None) -> str:
    """Return what the picture shows, for who does not see it."""
    ends = "; ".join(f"{endpoint.name} {shape_text(endpoint.shape)}" for endpoint in split.endpoints)
    tail = f" The removed tail has {network.tail_nodes} nodes." if network and network.tail_nodes else ""
    return f"An image enters the network, which is cut at {len(split.endpoints)} endpoints: {ends}.{tail}"


def _half(value: float) -> float:
    return round(value / 2, 2)
