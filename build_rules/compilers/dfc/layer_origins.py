"""Which ONNX nodes the compiler's layers come from: its messages name layers, which nobody has ever seen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["layer_origins", "named_layers"]

NAMED = 5
"""Layers of one message that are told."""
_WORD = re.compile(r"[A-Za-z_][\w.-]{0,200}(?:/[\w.-]{1,200}){0,8}")
_MADE_BY = re.compile(r"^(?:ne_activation_|auto_reshape_from_|shortcut_)|(?:_sd\d+|_d\d+|_dc|_defuse\w{0,20})$")


def layer_origins(hn: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the ONNX nodes of each layer of an HN, by its full name (`net/conv42`).

    Those of an output layer are those of the layer that it delivers. What is broken in the HN is left out.
    """
    layers = hn.get("layers")
    if not isinstance(layers, Mapping):
        return {}
    return {name: origins for name in layers if (origins := _origins(layers, name))}


def named_layers(text: str, origins: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the layers that a text names, each once as it names them, with the ONNX nodes they come from."""
    short = {name.rpartition("/")[2]: nodes for name, nodes in origins.items()}
    found: dict[str, tuple[str, ...]] = {}
    for match in _WORD.finditer(text):
        word = match[0].rstrip(".-")
        nodes = next((known[name] for name in _spellings(word) for known in (origins, short) if name in known), None)
        if nodes is not None and len(found) < NAMED:
            found.setdefault(word, nodes)
    return tuple(found.items())


def _spellings(word: str) -> Iterator[str]:
    """Yield what a layer is called in the HN that a message calls `net/conv1/conv_op`, `ne_activation_conv1`, ..."""
    yield word
    parts = word.split("/")
    yield from ("/".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
    made = _MADE_BY.sub("", _MADE_BY.sub("", parts[-1]))
    if made != parts[-1]:
        yield "/".join([*parts[:-1], made])


def _origins(layers: Mapping[str, Any], name: str) -> tuple[str, ...]:
    layer = layers[name]
    if isinstance(layer, Mapping) and layer.get("type") == "output_layer":
        links = layer.get("input")
        layer = layers.get(links[0]) if isinstance(links, list) and links and isinstance(links[0], str) else None
    names = layer.get("original_names") if isinstance(layer, Mapping) else None
    return tuple(each for each in names if isinstance(each, str)) if isinstance(names, list) else ()
