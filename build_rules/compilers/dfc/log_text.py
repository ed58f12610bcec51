"""A log of the compiler as plain lines: its sections, without colours, prefixes and what the screen showed in passing.

Several logs are one text, each headed as by `tail`::

    ==> allocator.log <==

A line may begin with its level in one of three ways, all seen in logs of the DFC 3.24 to 3.33::

    [info] Starting Mixed Precision
    [2023-07-17 10:03:11,265][hailo_sdk.client][IMPORTANT] - Starting Model Optimization
    2026-10-04 23:10:01,123 - INFO - qft.py:332 - Using dataset with 1024 entries for finetune
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["LOG_CHARACTERS", "LogLine", "last_attempt", "last_lines", "plain_lines", "read_line", "split_sections"]

LOG_CHARACTERS = 32 << 20
"""Of a longer text its beginning and its end are read; the log of a day is a tenth of that."""
LINE_CHARACTERS = 2000
"""Of a longer line its beginning is read."""

_HEADING = re.compile(r"^==> (.{1,200}) <==$", re.MULTILINE)
_ATTEMPT = re.compile(r"^==> attempt \d{1,6} <==\n", re.MULTILINE)
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*\x07?|.?)", re.DOTALL)
_PREFIXES = (
    re.compile(r"\[(info|warning|error|debug|critical|important|fatal)\]\s*", re.IGNORECASE),
    re.compile(r"\[\d{4}-\d\d-\d\d [\d:,.]{5,20}\]\[[\w.]{1,60}\]\[(\w{1,20})\] - "),
    re.compile(r"\d{4}-\d\d-\d\d[ T][\d:,.]{5,20} - (?:[\w.]{1,60} - )?(\w{1,20}) - (?:[\w.]{1,60}:\d{1,6} - )?"),
    re.compile(r"<Hailo Model Zoo (\w{1,20})> "),
)
_IN_PASSING = re.compile(
    r"""\d{1,3}%\|                                   # bars: Calibration: 100%|###| 64/64 [00:15<00:00]
      | ^\s*\d+/\d+\s[\[━]                           # bars: 24/417 [=====>....] - ETA: 3s
      | ^[\s+─|*●VX.<=>\[\]-]*$                       # rows of signs
      | ^\s*(?:worker|cluster_)\d                    # which worker of which cluster is taken
      | ^\s*\d\d:\d\d\s*$
      | ^Reverts\ on\ | ^\[[.<=>]+\]\ (?:Duration|Elapsed)
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class LogLine:
    """One line: `level` in lower case, `""` when it names none, and what follows."""

    level: str
    text: str


def last_attempt(text: str) -> str:
    """Return what was logged last of what was done several times, each time under `==> attempt 2 <==`."""
    return _ATTEMPT.split(text)[-1]


def split_sections(text: str) -> tuple[tuple[str, str], ...]:
    """Return the logs in a text by name, in order; what stands before the first heading is called `""`."""
    text = _bounded(text)
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings] + [len(text)]
    found = [(heading[1], text[heading.end() : end]) for heading, end in zip(headings, ends[1:], strict=True)]
    before = text[: ends[0]]
    return ((("", before),) if before.strip() else ()) + tuple(found)


def plain_lines(text: str) -> Iterator[LogLine]:
    """Yield the lines of a text that say something, without headings."""
    for raw in _bounded(text).split("\n"):
        if not raw.startswith("==> "):
            line = read_line(raw)
            if line.text:
                yield line


def read_line(raw: str) -> LogLine:
    """Return one line as it stood last on a screen: what a carriage return went back over is left out."""
    shown = next((piece for piece in reversed(raw[-(LINE_CHARACTERS << 2) :].split("\r")) if piece.strip()), "")
    text = _ESCAPES.sub("", shown[:LINE_CHARACTERS]).strip()
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text).strip()
    for prefix in _PREFIXES:
        if match := prefix.match(text):
            return LogLine(match[1].lower(), text[match.end() :].strip())
    return LogLine("", text)


def last_lines(text: str, count: int) -> tuple[str, ...]:
    """Return the last lines of a log that are no bars and tables, each once in a row."""
    kept: list[str] = []
    for raw in reversed(_bounded(text)[-(1 << 18) :].split("\n")):
        line = read_line(raw)
        if line.text and not raw.startswith("==> ") and not _IN_PASSING.search(line.text):
            said = f"[{line.level}] {line.text}" if line.level in ("warning", "error", "critical") else line.text
            if said not in kept[-1:]:
                kept.append(said)
        if len(kept) == count:
            break
    return tuple(reversed(kept))


def _bounded(text: str) -> str:
    if len(text) <= LOG_CHARACTERS:
        return text
    half = LOG_CHARACTERS // 2
    return f"{text[:half]}\n{text[-half:]}"
