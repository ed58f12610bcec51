"""Where a graph could be cut that is not understood: the last layers before its outputs, as lines for `model.toml`."""

from __future__ import annotations

import json

from build_rules.graph.load.graph_view import GraphView
from build_rules.graph.tail.uncuttable import rounded_stride
from build_rules.records.roles import ANCHOR, BOXES, DECODED, DFL, DIRECT, SCORES, SIGMOID

__all__ = ["last_layers", "proposal"]

LAYERS = ("Conv", "ConvTranspose")
MAX_GROUPS = 6


def proposal(view: GraphView) -> str:
    """Return a `[split]` table to copy: the nearest convolutions before the outputs, grouped by channels."""
    groups: dict[int, list[str]] = {}
    for tensor in filter(view.stride, last_layers(view)):
        groups.setdefault(view.shapes[tensor][1], []).append(tensor)
    if not groups:
        return ""
    lines = []
    for channels, tensors in list(groups.items())[:MAX_GROUPS]:
        ordered = sorted(tensors, key=lambda tensor: view.stride(tensor) or 0)
        sizes = ", ".join("x".join(map(str, view.shapes[tensor][2:])) for tensor in ordered)
        lines += [
            "[[split.endpoint]]",
            f'role = "?"           # {channels} channels, {sizes}: {", ".join(DECODED)}, ...',
            f"tensors = [{', '.join(map(_quoted, ordered))}]",
            f'# encoding = "{DFL}"    # {BOXES} only: {DFL} or {DIRECT}',
            f'# activation = "{SIGMOID}"  # {SCORES} and {ANCHOR} only',
            "# anchors = [[[10, 13], [16, 30], [33, 23]], ...]  "
            f"# {ANCHOR} only, in pixels, unless the graph holds them",
        ]
    if len(groups) > MAX_GROUPS:
        lines.append(f"# and convolutions of {len(groups) - MAX_GROUPS} other numbers of channels")
    return "\n".join(lines)


def _quoted(name: str) -> str:
    """Return a TOML basic string; JSON escapes the same way, but for DEL."""
    return json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007F")


def last_layers(view: GraphView) -> list[str]:
    """Return the outputs of the nearest convolutions of the image before the outputs, in computable order.

    What has neither the shape of a map of the image nor of one that was rounded, is none of them.
    """
    layers: set[str] = set()
    seen: set[str] = set()
    waiting = list(view.outputs)
    while waiting:
        name = waiting.pop()
        node = view.producer(name)
        if name in seen or node is None or name not in view.image_tensors:
            continue
        seen.add(name)
        if node.op_type in LAYERS and (view.stride(name) or rounded_stride(view, name)):
            layers.add(name)
        else:
            waiting += node.input
    return sorted(layers, key=lambda name: view.producers[name])
