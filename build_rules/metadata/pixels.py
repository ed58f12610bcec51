"""What a compiled document says of the pixels that the network takes, where the trainer's says something else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from build_rules.records.split_json import SWAPPED_COLORS, Split
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.preprocessing import COLOR_OF_CHANNELS, color_word

__all__ = ["say_pixels", "with_front"]


def say_pixels(document: dict[str, Any], trainer: TrainerDocument, split: Split) -> None:
    """Make a compiled document say, in place, what was decided, where the trainer's (`trainer`) says something else."""
    pixels = split.preprocessing
    members = dict(trainer.section("validation"))
    if pixels.word is not None:
        members["normalization"] = pixels.word
    if pixels.tiling is None and members.get("preprocessing", "letterbox") != pixels.resize:
        members["preprocessing"] = pixels.resize
    if members:
        document["validation"] = members
    section = document["input"]
    named = color_word(section)
    was = COLOR_OF_CHANNELS.get(split.input.channels) if named is None else str(named[1]).lower()
    if pixels.color is not None and was != pixels.color:
        section["cameraadaptor"] = pixels.color


def with_front(split: Split) -> Split:
    """Return a split as it is for a HEF that was compiled elsewhere, from the graph with its front and its swap."""
    pixels = split.preprocessing
    if split.front is None or not split.front.swapped or pixels.color is None:
        return split
    return replace(split, preprocessing=replace(pixels, color=SWAPPED_COLORS[pixels.color]))
