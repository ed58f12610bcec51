"""What the trainer's document says about the pixels the network was trained on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from build_rules.errors import InputError
from build_rules.records.choices import InputChoice
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import CAMERA_ADAPTORS, Preprocessing
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.vocabulary import COLOR_KEYS, NORMALIZATIONS, RESIZES

__all__ = ["COLOR_OF_CHANNELS", "color_word", "read_color", "read_preprocessing"]

# Two channels, or four, may be one of several things.
COLOR_OF_CHANNELS = {3: "rgb", 1: "grey"}
NO_CHOICE = InputChoice()


def read_preprocessing(document: TrainerDocument, channels: int, choice: InputChoice = NO_CHOICE) -> Preprocessing:
    """Return how images become network input, from `input`, `validation` and `tiling` of a trainer's document.

    `channels` is the input's channel count; words of `choice` stand in place of the document's, which may be wrong
    then. Without a word: letterbox, [0, 1], and `rgb` or `grey` by the channels. Raises `InputError` for unknown words,
    for a normalization or camera adaptor of other channels and for a `tiling` section that the contract refuses.
    """
    validation = document.section("validation")
    by_numbers = choice.mean is not None or choice.std is not None
    own = "raw" if by_numbers else choice.normalization
    normalization = own or _word(validation, "normalization", NORMALIZATIONS, "unsigned")
    scale, mean, std = NORMALIZATIONS[normalization]
    if len(mean) == 1:
        mean, std = mean * channels, std * channels
    if len(mean) != channels:
        raise InputError(
            f"the metadata says validation.normalization = {normalization!r}, which is for {len(mean)} channels, "
            f"but the network's input has {channels}; write normalization (or mean and std) under [input] in "
            "model.toml, or correct the metadata."
        )
    resize = choice.preprocessing or _word(validation, "preprocessing", RESIZES, "letterbox")
    tiling = document.tiling
    if tiling is not None:
        # Whatever `validation` says: at runtime it is `tiling` that is obeyed.
        resize = "tiled" if tiling.mode == "tiled" else "letterbox"
    color = choice.color or read_color(document.content, channels)
    return Preprocessing(resize, Normalization(scale, mean, std), tiling, document.snapshot, color)


def _word(validation: Mapping[str, Any], key: str, allowed: Collection[str], default: str) -> str:
    value = validation.get(key, default)
    if value not in tuple(allowed):
        raise InputError(
            f"the ONNX metadata says validation.{key} = {value!r}, which is not known; expected one of: "
            f"{', '.join(allowed)}. Export the model again with one of them, or write {key} under [input] in "
            "model.toml."
        )
    return str(value)


def color_word(section: Any) -> tuple[str, Any] | None:
    """Return which member of the section `input` names a camera adaptor, and what it says; None when none does."""
    members = section if isinstance(section, Mapping) else {}
    return next(((key, members[key]) for key in COLOR_KEYS if members.get(key) is not None), None)


def read_color(document: Mapping[str, Any], channels: int) -> str | None:
    """Return the camera adaptor of an edgefirst.json, None when it cannot be told.

    Raises `InputError` for one that is not known, or has other than `channels` channels.
    """
    named = color_word(document.get("input"))
    if named is None:
        return COLOR_OF_CHANNELS.get(channels)
    key, word = named
    color = str(word).lower()
    if color not in CAMERA_ADAPTORS:
        raise InputError(
            f"the ONNX metadata says input.{key} = {word!r}, which is not a camera adaptor that is known; "
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
