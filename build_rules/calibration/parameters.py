"""The parameter set of a calibration snapshot: everything but the pool that decides its bytes, and its file name.

Source: EdgeFirst Studio manual, page "Calibration Snapshot", section "Parameter Hash and Caching".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from build_rules.calibration.letterbox import PAD, RESIZES
from build_rules.calibration.snapshot import Normalization, canonical_json, hash_params
from build_rules.errors import InputError

__all__ = ["Parameters", "file_name", "normalization_members"]

SELECTION = "max_dynamic_range_v1"


@dataclass(frozen=True)
class Parameters:
    """The parameter set of a snapshot: everything but the pool that decides its bytes.

    `input_shape` is (height, width) in pixels; `normalization` is recorded, not applied; `dataset_id` None means a pool
    that is not a Studio data set; `count` is how many images to select (Hailo recommends 1024). `channels`, `layout`,
    `dtype`, `color` and `selection` are what this producer can make. Raises `InputError` for values that it cannot.
    """

    input_shape: tuple[int, int]
    normalization: Normalization
    dataset_id: str | None = None
    annotation_set_id: str | None = None
    split: str = "train"
    resize: str = "letterbox"
    count: int = 1024
    seed: int = 42
    channels: int = 3
    layout: str = "NCHW"
    dtype: str = "uint8"
    color: str = "rgb"
    selection: str = SELECTION

    def __post_init__(self) -> None:
        for key, allowed in _ALLOWED.items():
            if getattr(self, key) not in allowed:
                raise InputError(
                    f"calibration {key} {getattr(self, key)!r} is not possible "
                    f"(allowed: {', '.join(map(repr, allowed))})."
                )
        if len(self.input_shape) != 2 or not all(type(side) is int and side > 0 for side in self.input_shape):
            raise InputError(
                f"calibration input_shape {self.input_shape!r} is not possible (two positive integers: height, width)."
            )
        if type(self.count) is not int or self.count < 1:
            raise InputError(f"calibration count {self.count!r} is not possible (a positive integer).")
        # It becomes part of a file name.
        if self.dataset_id is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.dataset_id):
            raise InputError(
                f"calibration dataset_id {self.dataset_id!r} is not possible (letters, digits, '.', '_' and '-')."
            )
        _check_normalization(self.normalization, self.channels)

    @property
    def param_hash(self) -> str:
        """The 16 hexadecimal digits that name this parameter set."""
        return hash_params(self.canonical())

    def canonical(self) -> str:
        """Return the parameter set as the JSON text that is hashed and stored."""
        return canonical_json(self.as_mapping())

    def as_mapping(self) -> dict[str, Any]:
        """Return the members of `params`; the letterbox recipe is there only when it is used."""
        members: dict[str, Any] = {
            "annotation_set_id": self.annotation_set_id,
            "channels": self.channels,
            "color": self.color,
            "count": self.count,
            "dataset_id": self.dataset_id,
            "dtype": self.dtype,
            "input_shape": list(self.input_shape),
            "layout": self.layout,
            "normalization": normalization_members(self.normalization),
            "resize": self.resize,
            "seed": self.seed,
            "selection": self.selection,
            "split": self.split,
        }
        return {**members, "letterbox": _LETTERBOX} if self.resize == "letterbox" else members


_ALLOWED: dict[str, tuple[object, ...]] = {
    "resize": RESIZES,
    "channels": (3,),
    "layout": ("NCHW",),
    "dtype": ("uint8",),
    "color": ("rgb",),
    "selection": (SELECTION,),
}
_LETTERBOX = {"pad_color": [PAD] * 3, "scale": "long_side", "round": "ceil", "center": True, "interpolation": "linear"}


def _check_normalization(normalization: Normalization, channels: int) -> None:
    numbers = (normalization.scale, *normalization.mean, *normalization.std)
    per_channel = len(normalization.mean) == len(normalization.std) == channels
    if not per_channel or not all(map(math.isfinite, numbers)) or min(normalization.scale, *normalization.std) <= 0:
        raise InputError(
            f"calibration normalization {normalization!r} is not possible ({channels} means, {channels} positive stds)."
        )


def normalization_members(normalization: Normalization) -> dict[str, Any]:
    """Return the JSON members of a normalization, as they are hashed and stored."""

    # 0 and 0.0 are one value but two texts, hence two hashes; published snapshots write whole numbers without a point.
    def plain(value: float) -> float:
        return int(value) if float(value).is_integer() else float(value)

    return {
        "scale": plain(normalization.scale),
        "mean": [plain(value) for value in normalization.mean],
        "std": [plain(value) for value in normalization.std],
    }


def file_name(parameters: Parameters) -> str:
    """Return the conventional name, `calibration-{dataset_id or "local"}-{param_hash}.safetensors`."""
    return f"calibration-{parameters.dataset_id or 'local'}-{parameters.param_hash}.safetensors"
