"""What the network takes of pixels: `[input]` of `model.toml`, the trainer's document and the graph, brought together.

`model.toml` counts more than the document, and the document more than what holds without a word (0..1). What the graph
makes certain counts most: whoever contradicts it is told, with both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from build_rules.errors import InputError
from build_rules.records.choices import InputChoice
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import (
    CAMERA_ADAPTORS,
    SWAPPED_COLORS,
    ModelInput,
    PixelFacts,
    Preprocessing,
    swapped_order,
)
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.preprocessing import color_word, read_preprocessing
from build_rules.trainer.vocabulary import NORMALIZATIONS

__all__ = ["DecidedPixels", "decide_pixels"]

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
class _Stated:
    """Who says which normalization; `by` None means nobody."""

    by: str | None
    word: str | None
    value: str


def decide_pixels(
    document: TrainerDocument, choice: InputChoice, facts: PixelFacts, image: ModelInput
) -> DecidedPixels:
    """Return how images become what the chip takes.

    Raises `InputError` for what `read_preprocessing` refuses, for an `[input]` of other channels, and for whoever
    contradicts the graph.
    """
    _check_channels(choice, image)
    pixels = read_preprocessing(document, image.channels, choice)
    if choice.preprocessing is not None and pixels.resize != choice.preprocessing:
        raise InputError(
            f"preprocessing = {choice.preprocessing!r} under [input] in model.toml is not possible: the metadata have "
            f"a tiling section, which asks for {pixels.resize}."
        )
    stated = _who_says(document, choice)
    if choice.mean is not None or choice.std is not None:
        mean, std = choice.mean or (0.0,) * image.channels, choice.std or (1.0,) * image.channels
        pixels = replace(pixels, normalization=Normalization(1.0, mean, std))
    if facts.takes == "raw" and stated.by is None:
        as_they_are = Normalization(1.0, (0.0,) * image.channels, (1.0,) * image.channels)
        pixels = replace(pixels, normalization=as_they_are)
    _check_graph(pixels.normalization, stated, facts)
    if stated.by != METADATA and (stated.by is not None or facts.takes == "raw"):
        pixels = replace(pixels, word=_word(pixels.normalization, image.channels))
    return _swapped(document, choice, facts, pixels)


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


def _who_says(document: TrainerDocument, choice: InputChoice) -> _Stated:
    if choice.normalization is not None:
        return _Stated("model.toml", choice.normalization, f'[input] normalization = "{choice.normalization}"')
    if choice.mean is not None or choice.std is not None:
        numbers = [f"{k} = {list(v)}" for k, v in (("mean", choice.mean), ("std", choice.std)) if v is not None]
        return _Stated("model.toml", None, f"[input] {', '.join(numbers)}")
    word = document.section("validation").get("normalization")
    if word is None:
        return _Stated(None, None, "")
    return _Stated(METADATA, str(word), f"validation.normalization = {str(word)!r}")


def _check_graph(numbers: Normalization, stated: _Stated, facts: PixelFacts) -> None:
    """Refuse pixels that are normalized twice, or not at all, as the graph shows."""
    if facts.takes is None or stated.by is None:
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
        if stated.by == "model.toml"
        else "under [input] in model.toml, or correct the metadata (in the ONNX, or [metadata])"
    )
    raise InputError(
        f"{stated.by} says {stated.value}, but the graph {facts.because}, {fault}; write normalization = "
        f'"{cure}" {where}.'
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


def _swapped(document: TrainerDocument, choice: InputChoice, facts: PixelFacts, pixels: Preprocessing) -> DecidedPixels:
    """Bring what was decided for the graph's input into the order of the chip, which begins behind the swap.

    Without a word about colours it is what comes out of the swap that is `rgb`: detectors are trained on that, and an
    exporter swaps because its users feed what OpenCV reads. But where ImageNet's means are subtracted blue first,
    as networks from Caffe have it, it is `bgr`.
    """
    if facts.front is None or not facts.front.swapped:
        return DecidedPixels(pixels)
    has_colors = choice.color is not None or color_word(document.section("input")) is not None
    numbers = choice.mean is not None or choice.std is not None
    # A word is about colours, so it goes with those that the network behind the swap is taken to see.
    channels = len(pixels.normalization.mean)
    order: Sequence[int] = swapped_order(channels) if has_colors or numbers else range(channels)
    turns = has_colors or _subtracts_blue_first(facts)
    turned = replace(
        pixels,
        normalization=pixels.normalization.in_order(order),
        color=SWAPPED_COLORS[pixels.color] if turns and pixels.color is not None else pixels.color,
    )
    if has_colors or pixels.color is None:
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
