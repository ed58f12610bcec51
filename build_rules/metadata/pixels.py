"""What the network takes of pixels: `[input]` of `model.toml`, the trainer's document and the graph, brought together.

`model.toml` counts more than the document, and the document more than what holds without a word (0..1). What the graph
makes certain counts most: whoever contradicts it is told, with both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from build_rules.errors import InputError
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import (
    CAMERA_ADAPTORS,
    SWAPPED_COLORS,
    InputChoice,
    ModelInput,
    PixelFacts,
    Preprocessing,
    Split,
    swapped_order,
)
from build_rules.trainer.preprocessing import COLOR_KEYS, COLOR_OF_CHANNELS, NORMALIZATIONS, read_preprocessing

__all__ = ["DecidedPixels", "decide_pixels", "say_pixels", "with_front"]

CLOSE = 0.05
METADATA = "the metadata"
"""Of the ONNX, with what `[metadata]` in `model.toml` says over it."""
FAR = 20.0
"""Where pixels brought to more than this are still to be spread by the graph, they were not meant to be."""


@dataclass(frozen=True)
class DecidedPixels:
    """`warnings` are sentences for the person at the terminal."""

    preprocessing: Preprocessing
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Said:
    """Who says which normalization; `by` None means nobody."""

    by: str | None
    word: str | None
    value: str


def decide_pixels(
    document: Mapping[str, Any], choice: InputChoice, facts: PixelFacts, image: ModelInput
) -> DecidedPixels:
    """Return how images become what the chip takes.

    Raises `InputError` for what `read_preprocessing` refuses, for an `[input]` of other channels, and for whoever
    contradicts the graph.
    """
    _check_channels(choice, image)
    pixels = read_preprocessing(_overlaid(document, choice), image.channels)
    if choice.preprocessing is not None and pixels.resize != choice.preprocessing:
        raise InputError(
            f"preprocessing = {choice.preprocessing!r} under [input] in model.toml is not possible: the metadata have "
            f"a tiling section, which asks for {pixels.resize}."
        )
    said = _who_says(document, choice)
    if choice.mean is not None or choice.std is not None:
        mean, std = choice.mean or (0.0,) * image.channels, choice.std or (1.0,) * image.channels
        pixels = replace(pixels, normalization=Normalization(1.0, mean, std))
    if facts.takes == "raw" and said.by is None:
        as_they_are = Normalization(1.0, (0.0,) * image.channels, (1.0,) * image.channels)
        pixels = replace(pixels, normalization=as_they_are)
    _check_graph(pixels.normalization, said, facts)
    if said.by != METADATA and (said.by is not None or facts.takes == "raw"):
        pixels = replace(pixels, word=_word(pixels.normalization, image.channels))
    return _swapped(document, choice, facts, pixels)


def say_pixels(document: dict[str, Any], split: Split) -> None:
    """Make a compiled document say, in place, what was decided, where the trainer's says something else."""
    pixels = split.preprocessing
    validation = document.get("validation")
    told = dict(validation) if isinstance(validation, Mapping) else {}
    if pixels.word is not None:
        told["normalization"] = pixels.word
    if pixels.tiling_mode is None and told.get("preprocessing", "letterbox") != pixels.resize:
        told["preprocessing"] = pixels.resize
    if told:
        document["validation"] = told
    section = document["input"]
    color = next((section[key] for key in COLOR_KEYS if section.get(key) is not None), None)
    was = COLOR_OF_CHANNELS.get(split.input.channels) if color is None else str(color).lower()
    if pixels.color is not None and was != pixels.color:
        section["cameraadaptor"] = pixels.color


def with_front(split: Split) -> Split:
    """Return a split as it is for a HEF that was compiled elsewhere, from the graph with its front and its swap."""
    pixels = split.preprocessing
    if split.front is None or not split.front.swapped or pixels.color is None:
        return split
    return replace(split, preprocessing=replace(pixels, color=SWAPPED_COLORS[pixels.color]))


def _overlaid(document: Mapping[str, Any], choice: InputChoice) -> dict[str, Any]:
    """Return the document with what `model.toml` says in place of its own words, which may be wrong then."""
    word = "raw" if choice.mean is not None or choice.std is not None else choice.normalization
    said = {"normalization": word, "preprocessing": choice.preprocessing}
    validation, section = document.get("validation"), document.get("input")
    over = {key: value for key, value in said.items() if value is not None}
    colors = {} if choice.color is None else {COLOR_KEYS[0]: choice.color}
    return {
        **document,
        "validation": {**(validation if isinstance(validation, Mapping) else {}), **over},
        "input": {**(section if isinstance(section, Mapping) else {}), **colors},
    }


def _check_channels(choice: InputChoice, image: ModelInput) -> None:
    for key, value, count in (
        ("color", choice.color, CAMERA_ADAPTORS.get(choice.color or "")),
        ("normalization", choice.normalization, 3 if choice.normalization == "imagenet" else None),
        ("mean", choice.mean, None if choice.mean is None else len(choice.mean)),
        ("std", choice.std, None if choice.std is None else len(choice.std)),
    ):
        if count is not None and count != image.channels:
            shown = list(value) if isinstance(value, tuple) else repr(value)
            raise InputError(
                f"{key} = {shown} under [input] in model.toml is for {count} channels, but the network's input "
                f"'{image.name}' has {image.channels}."
            )


def _who_says(document: Mapping[str, Any], choice: InputChoice) -> _Said:
    if choice.normalization is not None:
        return _Said("model.toml", choice.normalization, f'[input] normalization = "{choice.normalization}"')
    if choice.mean is not None or choice.std is not None:
        numbers = [f"{k} = {list(v)}" for k, v in (("mean", choice.mean), ("std", choice.std)) if v is not None]
        return _Said("model.toml", None, f"[input] {', '.join(numbers)}")
    validation = document.get("validation")
    word = validation.get("normalization") if isinstance(validation, Mapping) else None
    if word is None:
        return _Said(None, None, "")
    return _Said(METADATA, str(word), f"validation.normalization = {str(word)!r}")


def _check_graph(numbers: Normalization, said: _Said, facts: PixelFacts) -> None:
    """Refuse pixels that are normalized twice, or not at all, as the graph shows."""
    if facts.takes is None or said.by is None:
        return
    fault = None
    if facts.takes == "raw" and not _is_identity(numbers):
        fault = "so it takes pixels as they are, 0..255, and they would be normalized twice"
    elif facts.takes == "unit":
        brightest = max((255 * numbers.scale - m) / d for m, d in zip(numbers.mean, numbers.std, strict=True))
        if brightest > FAR:
            fault = "so it takes pixels brought to 0..1"
        elif _does_the_same(numbers, facts):
            fault = "which is that normalization: it takes pixels brought to 0..1, and they would be normalized twice"
    if fault is None:
        return
    cure = "raw" if facts.takes == "raw" else "unsigned"
    where = (
        "there"
        if said.by == "model.toml"
        else "under [input] in model.toml, or correct the metadata (in the ONNX, or [metadata])"
    )
    raise InputError(
        f'{said.by} says {said.value}, but the graph {facts.because}, {fault}; write normalization = "{cure}" {where}.'
    )


def _is_identity(numbers: Normalization) -> bool:
    return numbers.scale == 1 and not any(numbers.mean) and all(std == 1 for std in numbers.std)


def _does_the_same(numbers: Normalization, facts: PixelFacts) -> bool:
    """Say whether the graph does to 0..1 what was said to be done to pixels before it."""
    if facts.mean is None or facts.std is None:
        return False
    white = 255 * numbers.scale
    mean, std = ([value / white for value in values] for values in (numbers.mean, numbers.std))
    order: Sequence[int] = (
        swapped_order(len(mean)) if facts.front is not None and facts.front.swapped else range(len(mean))
    )
    if not any(mean):
        return False
    return all(
        abs(facts.mean[at] - mean[k]) < CLOSE * max(mean[k], CLOSE) and abs(facts.std[at] - std[k]) < CLOSE * std[k]
        for at, k in enumerate(order)
    )


def _word(numbers: Normalization, channels: int) -> str:
    """Return the document's word for a normalization; `raw` for one without a word, which is what a HEF is fed."""
    for word, (scale, mean, std) in NORMALIZATIONS.items():
        wide = (mean * channels, std * channels) if len(mean) == 1 else (mean, std)
        if numbers == Normalization(scale, *wide):
            return word
    return "raw"


def _swapped(
    document: Mapping[str, Any], choice: InputChoice, facts: PixelFacts, pixels: Preprocessing
) -> DecidedPixels:
    """Bring what was decided for the graph's input into the order of the chip, which begins behind the swap.

    Without a word about colours it is what comes out of the swap that is `rgb`: detectors are trained on that, and an
    exporter swaps because its users feed what OpenCV reads. But where ImageNet's means are subtracted blue first,
    as networks from Caffe have it, it is `bgr`.
    """
    if facts.front is None or not facts.front.swapped:
        return DecidedPixels(pixels)
    section = document.get("input")
    known = choice.color is not None or (isinstance(section, Mapping) and any(section.get(key) for key in COLOR_KEYS))
    numbers = choice.mean is not None or choice.std is not None
    # A word is about colours, so it goes with those that the network behind the swap is taken to see.
    channels = len(pixels.normalization.mean)
    order: Sequence[int] = swapped_order(channels) if known or numbers else range(channels)
    turns = known or _subtracts_blue_first(facts)
    turned = replace(
        pixels,
        normalization=pixels.normalization.in_order(order),
        color=SWAPPED_COLORS[pixels.color] if turns and pixels.color is not None else pixels.color,
    )
    if known or pixels.color is None:
        return DecidedPixels(turned)
    own = SWAPPED_COLORS[str(turned.color)]
    return DecidedPixels(
        turned,
        (
            f"the graph swaps red and blue, and nothing says which comes first at its input; it is taken to be {own}, "
            f'so the chip, which begins behind the swap, takes {turned.color} (color = "{turned.color}" under [input] '
            "in model.toml, if it is the other way)",
        ),
    )


def _subtracts_blue_first(facts: PixelFacts) -> bool:
    """Say whether the graph subtracts ImageNet's means, in whatever unit, in the order blue, green, red."""
    means = NORMALIZATIONS["imagenet"][1][::-1]
    if facts.mean is None or len(facts.mean) != len(means) or not sum(facts.mean) > 0:
        return False
    parts = [(value / sum(facts.mean), mean / sum(means)) for value, mean in zip(facts.mean, means, strict=True)]
    return all(abs(value - mean) < 0.01 for value, mean in parts)
