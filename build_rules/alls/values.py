"""Kinds of values that options of a model script take, each with the words that say what is wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

from build_rules.alls.script import Glob, Name, Origin, Value, show_value

__all__ = [
    "ANYTHING",
    "FLAG",
    "LAYERS",
    "PERCENTILES",
    "POLICY",
    "RANGE",
    "SWITCH",
    "WORD",
    "Kind",
    "choice",
    "either",
    "listed",
    "number",
    "whole",
]


@dataclass(frozen=True)
class Kind:
    """What an option takes: `told` completes the sentence `choose ...`, `fits` decides about a value."""

    told: str
    fits: Callable[[Value], bool]


def whole(least: int, most: int | None = None, *others: int) -> Kind:
    """Return whole numbers of a range, and `others` outside of it."""
    limits = f"of at least {least}" if most is None else f"from {least} to {most}"
    also = "".join(f", or {other}" for other in others)

    def fits(value: Value) -> bool:
        return isinstance(value, int) and (value in others or (least <= value and (most is None or value <= most)))

    return Kind(f"a whole number {limits}{also}", fits)


def number(least: float, most: float | None = None, *, above: bool = False) -> Kind:
    """Return numbers of a range; `above`: without its lower end."""
    low = f"above {least:g}" if above else f"of at least {least:g}"
    limits = low if most is None else f"{low} and at most {most:g}" if above else f"from {least:g} to {most:g}"

    def fits(value: Value) -> bool:
        # Far too long a whole number is still one, and no float holds it.
        if not isinstance(value, (int, float)) or (isinstance(value, float) and not isfinite(value)):
            return False
        return (value > least if above else value >= least) and (most is None or value <= most)

    return Kind(f"a number {limits}", fits)


def choice(*values: str | int) -> Kind:
    """Return a few values and no others; strings are bare words."""
    possible: tuple[Value, ...] = tuple(Name(value) if isinstance(value, str) else value for value in values)
    return Kind(f"one of: {', '.join(map(show_value, possible))}", lambda value: value in possible)


def either(one: Kind, other: Kind) -> Kind:
    """Return the values of two kinds."""
    return Kind(f"{one.told}, or {other.told}", lambda value: one.fits(value) or other.fits(value))


def listed(kind: Kind, length: int | None = None) -> Kind:
    """Return lists of values of a kind."""
    size = "" if length is None else f" {length}"

    def fits(value: Value) -> bool:
        return isinstance(value, tuple) and (length is None or len(value) == length) and all(map(kind.fits, value))

    return Kind(f"a list of{size} items, each {kind.told}", fits)


def _ordered(kind: Kind, told: str) -> Kind:
    """Return pairs of numbers of a kind, the smaller one first."""

    def fits(value: Value) -> bool:
        if not isinstance(value, tuple) or len(value) != 2 or not all(map(kind.fits, value)):
            return False
        numbers = [item for item in value if isinstance(item, (int, float))]
        return all(low < high for low, high in pairwise(numbers))

    return Kind(told, fits)


def _names_layers(value: Value) -> bool:
    return all(map(_names_layers, value)) if isinstance(value, tuple) else isinstance(value, (Name, Glob, Origin))


ANYTHING = Kind("anything", lambda value: True)
WORD = Kind("a word", lambda value: isinstance(value, Name))
POLICY = choice("enabled", "disabled", "allowed")
SWITCH = choice("enabled", "disabled")
FLAG = choice("True", "False", "true", "false", "enabled", "disabled")
LAYERS = Kind("layers: a name, a {glob}, or a list of them", _names_layers)
PERCENTILES = _ordered(number(0, 100), "two percentiles from 0 to 100, the smaller one first, such as [0.01, 99.99]")
RANGE = _ordered(number(-3.4e38, 3.4e38), "two numbers, the smaller one first, such as [0.0, 6.0]")
