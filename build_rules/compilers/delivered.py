"""Which output of a network is which endpoint of the cut, both in one form: [H, W, C], behind what is folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from build_rules.compilers.describe_har import HarDescription, HarOutput
from build_rules.errors import InputError
from build_rules.records.split_json import Split

__all__ = ["Tensors", "exact_tensors", "outputs_of", "quantized_tensors"]

Floats = NDArray[np.float32]
Tensors = Mapping[str, Floats]


def outputs_of(split: Split, description: HarDescription) -> dict[str, HarOutput]:
    """Return the output of a HAR that each endpoint is, by the ONNX node that it comes from.

    Raises `InputError` when one of them is not exactly one output: the HAR is of another network, or of another cut.
    """
    found = {}
    for endpoint in split.endpoints:
        matching = [output for output in description.outputs if endpoint.node in output.original_names]
        if len(matching) != 1:
            raise InputError(
                f"{description.network}: the endpoint {endpoint.name} ({endpoint.node}) should be one output of it, "
                f"but {len(matching)} come from there; it is of another model, or was built from another cut."
            )
        found[endpoint.name] = matching[0]
    return found


def exact_tensors(split: Split, tensors: Sequence[Floats]) -> dict[str, Floats]:
    """Return tensors of the exported graph (in the order of the endpoints, NCHW, NCL or NC) as they are delivered."""
    return {
        endpoint.name: _activated(endpoint.name in split.folded, _as_cells(tensor))
        for endpoint, tensor in zip(split.endpoints, tensors, strict=True)
    }


def quantized_tensors(
    split: Split, outputs: Mapping[str, HarOutput], real: Mapping[str, Floats], row: int
) -> dict[str, Floats]:
    """Return one image of what a network delivers ([N, H, W, C] by stream), by endpoint.

    A sigmoid that its compiler has not folded, as others may not, is applied, so that the same is compared.
    """
    found = {}
    for name, output in outputs.items():
        pending = name in split.folded and output.activation in ("linear", "none")
        found[name] = _activated(pending, real[output.stream][row])
    return found


def _as_cells(tensor: Floats) -> Floats:
    """Return one image of a tensor of the graph, [H, W, C]: missing axes have one place."""
    channels_last = np.moveaxis(tensor[0].astype(np.float32), 0, -1)
    return np.ascontiguousarray(channels_last.reshape((1,) * (3 - channels_last.ndim) + channels_last.shape))


def _activated(folded: bool, values: Floats) -> Floats:
    """Return values behind the sigmoid that is folded (`Split.folded` folds no other activation)."""
    if not folded:
        return values
    activated: Floats = np.float32(1) / (np.float32(1) + np.exp(-np.maximum(values, np.float32(-80))))
    return activated
