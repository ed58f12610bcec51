"""What the trainer's document says about the pixels the network was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from build_rules.errors import InputError
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import CAMERA_ADAPTORS, Preprocessing
from build_rules.trainer.tiling import check_tiling, read_grid

__all__ = ["COLOR_KEYS", "COLOR_OF_CHANNELS", "NORMALIZATIONS", "read_color", "read_preprocessing"]

# name -> (scale, mean, std) with real = (pixel * scale - mean) / std
NORMALIZATIONS = {
    "unsigned": (1 / 255, (0.0,), (1.0,)),
    "signed": (1 / 127.5, (1.0,), (1.0,)),
    "raw": (1.0, (0.0,), (1.0,)),
    "imagenet": (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
RESIZES = ("letterbox", "stretch")
# Newest first: schema 2; the manual's older schema; what the adaptors' own package writes.
COLOR_KEYS = ("cameraadaptor", "color_adaptor", "camera_adaptor")
# Two channels, or four, may be one of several things.
COLOR_OF_CHANNELS = {3: "rgb", 1: "grey"}


def _choice(validation: Mapping[str, Any], key: str, allowed: tuple[str, ...], default: str) -> str:
    value = validation.get(key, default)
    if value not in allowed:
        raise InputError(
            f"the ONNX metadata says validation.{key} = {value!r}, which is not known; expected one of: "
            f"{', '.join(allowed)}. Export the model again with one of them, or write {key} under [input] in "
            "model.toml."
        )
    return str(value)


def read_preprocessing(document: dict[str, Any], channels: int) -> Preprocessing:
    """Return how images become network input, from `input`, `validation` and `tiling` of an edgefirst.json.

    `channels` is the input's channel count. Without a word in the document: letterbox, [0, 1], and `rgb` or `grey` by
    the channels. Raises `InputError` for unknown words, for a normalization or camera adaptor of other channels and for
    `tiling` sections that the contract refuses.
    """
    validation = document.get("validation", {})
    validation = validation if isinstance(validation, Mapping) else {}
    normalization = _choice(validation, "normalization", tuple(NORMALIZATIONS), "unsigned")
    scale, mean, std = NORMALIZATIONS[normalization]
    if len(mean) == 1:
        mean, std = mean * channels, std * channels
    if len(mean) != channels:
        raise InputError(
            f"the metadata says validation.normalization = {normalization!r}, which is for {len(mean)} channels, "
            f"but the network's input has {channels}; write normalization (or mean and std) under [input] in "
            "model.toml, or correct the metadata."
        )
    resize = _choice(validation, "preprocessing", RESIZES, "letterbox")
    check_tiling(document)
    tiling, named = document.get("tiling"), document.get("calibration")
    pixels = Preprocessing(
        resize,
        Normalization(scale, mean, std),
        snapshot=named if isinstance(named, str) and named else None,
        color=read_color(document, channels),
    )
    if tiling is None:
        return pixels
    mode, full_frame = str(tiling["mode"]), tiling.get("full_frame")
    # Whatever `validation` says: at runtime it is `tiling` that is obeyed.
    return replace(
        pixels,
        resize="tiled" if mode == "tiled" else "letterbox",
        tiling_mode=mode,
        full_frame=isinstance(full_frame, Mapping) and full_frame.get("enabled") is True,
        grid=read_grid(tiling),
    )


def read_color(document: Mapping[str, Any], channels: int) -> str | None:
    """Return the camera adaptor of an edgefirst.json, None when it cannot be told.

    Raises `InputError` for one that is not known, or has other than `channels` channels.
    """
    section = document.get("input")
    section = section if isinstance(section, Mapping) else {}
    key = next((key for key in COLOR_KEYS if section.get(key) is not None), None)
    if key is None:
        return COLOR_OF_CHANNELS.get(channels)
    color = str(section[key]).lower()
    if color not in CAMERA_ADAPTORS:
        raise InputError(
            f"the ONNX metadata says input.{key} = {section[key]!r}, which is not a camera adaptor that is known; "
            f"expected one of: {', '.join(CAMERA_ADAPTORS)}. Export the model again with one of them, or write color "
            "under [input] in model.toml."
        )
    if CAMERA_ADAPTORS[color] != channels:
        raise InputError(
            f"the metadata says input.{key} = {color!r}, which has {CAMERA_ADAPTORS[color]} channels, but the "
            f"network's input has {channels}; write color, as the model was trained, under [input] in model.toml, or "
            "correct the metadata."
        )
    return color
