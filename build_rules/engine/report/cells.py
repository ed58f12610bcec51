"""Text in the cells of a terminal: how wide it is, cut to a width, freed of what would steer the terminal."""

from __future__ import annotations

import re
import unicodedata

from build_rules.errors import printable

__all__ = ["clean", "clip", "pad", "width"]

CUT = ".."
# Colours stay; every other sequence (CSI, OSC, two bytes) goes.
_SEQUENCE = re.compile(r"(\x1b\[[0-9;:]*m)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?")


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def width(text: str) -> int:
    """Return how many cells a text takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def clip(text: str, room: int) -> str:
    """Return text in at most `room` cells; two dots tell that something was cut off."""
    if width(text) <= room:
        return text
    if room <= len(CUT):
        return CUT[: max(room, 0)]
    kept, used = "", len(CUT)
    for character in text:
        used += _cells(character)
        if used > room:
            break
        kept += character
    return kept + CUT


def pad(text: str, room: int) -> str:
    """Return text in exactly `room` cells."""
    text = clip(text, room)
    return text + " " * (room - width(text))


def clean(line: str) -> str:
    """Return a printed line as it may stand above rows that are drawn over: one line, no controls but colours.

    Of a line that was written over itself (a progress bar, with carriage returns) what stood there last remains.
    """
    if line.isprintable():
        return line
    last = next((part for part in reversed(line.split("\r")) if part), "").expandtabs()
    parts = _SEQUENCE.split(last)
    text = "".join(part if i % 2 else printable(part) for i, part in enumerate(parts) if part)
    return f"{text}\x1b[0m" if len(parts) > 1 else text
