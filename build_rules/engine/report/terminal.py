"""What can be done with a terminal: whether there is one to draw on, and its colours.

Colours are a help only: everything is said in words, and blue and orange are told apart by every kind of eye.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TextIO

__all__ = ["NO_INK", "Ink", "choose_ink", "is_live"]

NO_TERMINALS = ("", "dumb", "unknown")
NO = ("", "0", "false")


class Ink(NamedTuple):
    """The sequences that begin each colour, and the one that ends them all; all empty where there are none."""

    bold: str = ""
    blue: str = ""
    orange: str = ""
    plain: str = ""

    def paint(self, colour: str, text: str) -> str:
        """Return text in one of the colours."""
        return f"{colour}{text}{self.plain}"


NO_INK = Ink()


def is_live(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Say whether rows on this stream can be drawn over: not in a file, nor in a log that CI pretends is a terminal."""
    if not stream.isatty() or environment.get("TERM", "") in NO_TERMINALS:
        return False
    return environment.get("CI", "").lower() in NO


def choose_ink(environment: Mapping[str, str]) -> Ink:
    """Return the colours of the terminal; none where the person wants none (https://no-color.org)."""
    if environment.get("NO_COLOR"):
        return NO_INK
    many = "256" in environment.get("TERM", "") or environment.get("COLORTERM")
    blue, orange = ("38;5;33", "38;5;208") if many else ("34", "33")
    return Ink("\x1b[1m", f"\x1b[{blue}m", f"\x1b[{orange}m", "\x1b[0m")
