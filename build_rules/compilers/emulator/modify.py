"""What the model script changes in the HN: the layers it adds and the activations it folds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from build_rules.compilers.emulator.script_settings import Settings

__all__ = ["modified_hn"]


def modified_hn(hn: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return `hn` with folded activations in place and the normalization as a layer behind the input, as the DFC does.

    The given document is left as it is.
    """
    layers = {name: {**layer} for name, layer in hn["layers"].items()}
    for name, activation in settings.folded.items():
        layers[name]["params"] = {**layers[name]["params"], "activation": activation}
    if settings.mean is None:
        return {**hn, "layers": layers}
    source = next(name for name, layer in layers.items() if layer["type"] == "input_layer")
    added = f"{hn['name']}/normalization_input1"
    users, shape = layers[source]["output"], layers[source]["output_shapes"][0]
    for user in users:
        layers[user]["input"] = [added if name == source else name for name in layers[user]["input"]]
    layer = {
        "type": "normalization", "input": [source], "output": users, "input_shapes": [shape],
        "output_shapes": layers[source]["output_shapes"], "params": {"elementwise_add": False},
    }  # fmt: skip
    layers[source] |= {"output": [added], "output_shapes": [shape]}
    # Order matters to readers: producers come before their consumers.
    ordered = {name: value for name, value in layers.items() if name == source}
    return {**hn, "layers": {**ordered, added: layer, **layers}}
