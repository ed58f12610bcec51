"""Layers under other names: callers edit the HN and set it (`set_hn`), and everything after goes by their names."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from .exceptions import make
from .har import Archive

__all__ = ["chain", "check_values", "new_names", "old_words", "rename_archive"]


def new_names(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """Return the new name of every layer. Raises `HailoNNException` when more than names was changed."""
    old, new = list(before["layers"].items()), list(after["layers"].items())
    names = {one[0]: other[0] for one, other in zip(old, new)}  # noqa: B905 - Python 3.8 has no strict
    if len(old) != len(new) or len(set(names.values())) != len(names):
        raise make("HailoNNException", "the double takes an HN with the same layers under other names only")
    for one, other in zip(old, new):  # noqa: B905
        moved = [names.get(name, name) for name in one[1]["input"]]
        if one[1]["type"] != other[1]["type"] or moved != list(other[1]["input"]):
            raise make("HailoNNException", f"layer {other[0]} is not {one[0]} under another name")
    return {old_name: new_name for old_name, new_name in names.items() if old_name != new_name}


def chain(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """Return names that were changed twice."""
    known = {old: second.get(new, new) for old, new in first.items()}
    return {**{old: new for old, new in second.items() if old not in first.values()}, **known}


def check_values(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Refuse weights other than the network's own: the emulator's network would not have them."""
    stored = sorted((value.shape, value.tobytes()) for value in before.values())
    given = sorted((np.asarray(value).shape, np.asarray(value).tobytes()) for value in after.values())
    if stored != given:
        raise make("RuntimeError", "the double cannot take other weights than the network's own")


def old_words(script: str, names: Mapping[str, str]) -> str:
    """Return a script in which layers have the names that the emulator gave them."""
    back = {new: old for old, new in names.items()}
    back.update({new.partition("/")[2]: old for old, new in names.items()})
    if not back:
        return script
    words = "|".join(re.escape(name) for name in sorted(back, key=len, reverse=True))
    return re.sub(rf"(?<![\w./-])({words})(?![\w./-])", lambda match: back[match.group(1)], script)


def rename_archive(archive: Archive, names: Mapping[str, str]) -> None:
    """Rename the layers in the HN and the weights of an archive."""
    if not names:
        return
    hn = archive.document(".hn")
    layers = {}
    for name, layer in hn["layers"].items():
        for side in ("input", "output"):
            layer[side] = [names.get(other, other) for other in layer[side]]
        layers[names.get(name, name)] = layer
    hn["layers"] = layers
    order = hn["net_params"]["output_layers_order"]
    hn["net_params"]["output_layers_order"] = [names.get(name, name) for name in order]
    archive.members[".hn"] = json.dumps(hn, indent=1).encode("utf-8")
    for suffix in (".npz", ".q.npz", ".fpo.npz"):
        if suffix in archive.members:
            archive.members[suffix] = _renamed(archive.members[suffix], names)


def _renamed(data: bytes, names: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with np.load(io.BytesIO(data)) as stored:
        np.savez(buffer, **{_key(key, names): stored[key] for key in stored.files})
    return buffer.getvalue()


def _key(key: str, names: Mapping[str, str]) -> str:
    layer, _, parameter = key.rpartition("/")
    return f"{names.get(layer, layer)}/{parameter}"
