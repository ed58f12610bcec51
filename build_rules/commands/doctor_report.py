"""What `doit doctor` says, as a text that can be sent to others: nobody's name, home folder or password is in it."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Sequence
from pathlib import Path

from build_rules.compilers.protocol import Diagnosis
from build_rules.errors import printable

__all__ = ["anonymous", "checklist_lines", "diagnosis_lines", "summary_line"]

WIDTH = 7
"""Of the longest state."""


def diagnosis_lines(found: Sequence[Diagnosis]) -> list[str]:
    """Return a line for each finding, and one below it for what to do; targets of which the same is said share one."""
    subjects: dict[tuple[str, str, str], list[str]] = {}
    for one in found:
        subjects.setdefault((one.state, one.text, one.advice), []).append(one.subject)
    rows = []
    for (state, text, advice), (first, *others) in subjects.items():
        rows.append((state, first, f"and {len(others)} more: {text}" if others else text, advice))
    width = min(40, max((len(row[1]) for row in rows), default=0))
    lines = []
    for state, subject, text, advice in rows:
        lines.append(f"  {state:{WIDTH}}  {subject:{width}}  {text}")
        if advice:
            lines.append(f"  {'':{WIDTH}}  {'':{width}}  -> {advice}")
    return [printable(line) for line in lines]


def summary_line(found: Sequence[Diagnosis]) -> str:
    """Return how much is wrong; what is said of several targets counts once."""
    states = [state for state, _, _ in dict.fromkeys((one.state, one.text, one.advice) for one in found)]
    errors, warnings = states.count("error"), states.count("warning")
    if not errors and not warnings:
        return "nothing is wrong"
    counts = [f"{count} {word}{'s' if count > 1 else ''}" for count, word in ((errors, "error"), (warnings, "warning"))]
    return ", ".join(text for text in counts if not text.startswith("0"))


def checklist_lines(points: Sequence[str]) -> list[str]:
    """Return what only the real compiler can show, with an empty box before each."""
    if not points:
        return []
    return [
        "",
        "What only this installation, and a device, can show (tick what is so, and send this text back):",
        *(f"  [ ] {point}" for point in points),
    ]


def anonymous(text: str) -> str:
    """Return text without names of people, home folders, folders of the repository, and what looks like a secret."""
    for folder, sign in ((os.getcwd(), "."), (str(Path("~").expanduser()), "~")):  # noqa: PTH109
        if len(folder) > 1:
            text = re.sub(rf"{re.escape(folder)}(?![\w.-])", sign, text)
    text = re.sub(r"(?<![\w.])/(?:home|Users)/[^/\s:'\"]+|(?<![\w.])/root(?![\w.-])", "~", text)
    text = re.sub(r"(://)[^/\s@]+@", r"\1...@", text)
    text = re.sub(r"(?<![\w./@:])[\w.+-]+@(?!sha256:)(?=[\w.-]+)", "...@", text)
    text = re.sub(r"(?i)(\w*(?:token|password|passwd|secret|key)s?=|--(?:token|password)[= ])\S+", r"\1...", text)
    name = _user()
    return re.sub(rf"(?<=/){re.escape(name)}(?![\w.-])", "...", text) if len(name) > 1 else text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
