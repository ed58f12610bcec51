"""The outputs of a HEF, as this room speaks of them."""

from __future__ import annotations

import math
import struct

from build_rules.errors import InputError
from build_rules.hef import Hef
from build_rules.metadata.physical import PhysicalTensor

__all__ = ["physical_tensors"]


def physical_tensors(hef: Hef) -> tuple[PhysicalTensor, ...]:
    """Return every output stream of a HEF with one network group, in the order in which the runtime lists them.

    Raises `InputError` for several network groups, for outputs that the host post-processes, and for a quantization
    that one integer zero point and one scale cannot tell.
    """
    if len(hef.network_groups) != 1:
        raise InputError(f"the HEF holds {len(hef.network_groups)} network groups; one model has exactly one.")
    group = hef.network_groups[0]
    if group.host_ops:
        kinds = ", ".join(sorted({op.kind for op in group.host_ops}))
        raise InputError(
            f"the HEF post-processes its outputs on the host ({kinds}); compile it without nms_postprocess."
        )
    tensors = []
    for stream in group.outputs:
        numbers = stream.quantization
        # Real files repeat the one scale for every feature; readers know only one.
        if len({*numbers.scales}) > 1 or len({*numbers.zero_points}) > 1:
            raise InputError(f"HEF output {stream.name}: is quantized per feature, which no EdgeFirst reader decodes.")
        scale, zero_point = numbers.scale, numbers.zero_point
        if numbers.per_feature:  # then the scalars may hold anything
            scale, zero_point = _float32(*numbers.scales, scale), _float32(*numbers.zero_points, zero_point)
        if not float(zero_point).is_integer():
            raise InputError(f"HEF output {stream.name}: its zero point {zero_point} is not an integer.")
        limits = (numbers.limits_min, numbers.limits_max)
        tensors.append(
            PhysicalTensor(
                name=stream.name,
                shape=(1, *stream.shape),
                dtype=stream.dtype,
                scale=scale,
                zero_point=int(zero_point),
                original_names=stream.original_names,
                limits=limits if limits != (0.0, 0.0) else None,
            )
        )
    return tuple(tensors)


def _float32(value: float, *_: float) -> float:
    """Return the first value as the runtime keeps it."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.inf
