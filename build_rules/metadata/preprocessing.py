"""What the trainer's document says about the pixels the network was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from build_rules.endpoints import Preprocessing
from build_rules.errors import InputError
from build_rules.metadata.tiling import check_tiling

__all__ = ["read_preprocessing"]

# name -> (scale, mean, std) with real = (pixel * scale - mean) / std
NORMALIZATIONS = {
    "unsigned": (1 / 255, (0.0,), (1.0,)),
    "signed": (1 / 127.5, (1.0,), (1.0,)),
    "raw": (1.0, (0.0,), (1.0,)),
    "imagenet": (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
RESIZES = ("letterbox", "stretch")


def _choice(validation: Mapping[str, Any], key: str, allowed: tuple[str, ...], default: str) -> str:
    value = validation.get(key, default)
    if value not in allowed:
        raise InputError(
            f"the ONNX metadata says validation.{key} = {value!r}, which is not known; expected one of: "
            f"{', '.join(allowed)}. Export the model again with one of them."
        )
    return str(value)


def read_preprocessing(document: dict[str, Any], channels: int) -> Preprocessing:
    """Return how images become network input, from `validation` and `tiling` of an edgefirst.json.

    `channels` is the input's channel count. Without a word in the document: letterbox and [0, 1]. Raises `InputError`
    for unknown words, for a normalization of other channels and for `tiling` sections that the contract refuses.
    """
    validation = document.get("validation", {})
    validation = validation if isinstance(validation, Mapping) else {}
    normalization = _choice(validation, "normalization", tuple(NORMALIZATIONS), "unsigned")
    scale, mean, std = NORMALIZATIONS[normalization]
    if len(mean) == 1:
        mean, std = mean * channels, std * channels
    if len(mean) != channels:
        raise InputError(
            f"the ONNX metadata says validation.normalization = {normalization!r}, which is for {len(mean)} channels, "
            f"but the network's input has {channels}."
        )
    resize = _choice(validation, "preprocessing", RESIZES, "letterbox")
    check_tiling(document)
    tiling, named = document.get("tiling"), document.get("calibration")
    snapshot = named if isinstance(named, str) and named else None
    if tiling is None:
        return Preprocessing(resize, scale, mean, std, snapshot=snapshot)
    full_frame = bool((tiling.get("full_frame") or {}).get("enabled", False))
    mode = str(tiling["mode"])
    return Preprocessing("tiled" if mode == "tiled" else resize, scale, mean, std, mode, full_frame, snapshot)
