"""The live view: rows of a width and a height, and the one string that draws them.

    > har:shapes-det:hailo8l-balanced   [#######...]  5 s of about 7 s
    > har:shapes-seg:hailo8l-fast                     3 s
    20 of 45: 12 run, 3 from the cache, 5 up to date; about 40 s left

The cursor rests at the beginning of the first row, which is empty: there it stays on its row when the terminal is
resized (rows may wrap or be cut, but those below it), and what others write there (a library, the keyboard's echo)
stands whole. Each frame is drawn from the cursor down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from build_rules.engine.report.cells import clip, pad, width
from build_rules.engine.report.estimate import Left
from build_rules.engine.report.terminal import Ink
from build_rules.errors import printable

__all__ = ["LEAVE", "Shown", "Step", "clock", "draw", "rows"]

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
# A row that turns out to be wider than the terminal (it was resized just now; it has characters that this terminal
# takes for wide ones) is cut there instead of making two.
CUT_ROWS, WRAP_ROWS = "\x1b[?7l", "\x1b[?7h"
ERASE_LINE, ERASE_BELOW = "\x1b[K", "\x1b[J"
NEXT_ROW = f"{ERASE_LINE}\n"
LEAVE = f"\r{ERASE_BELOW}{SHOW}"
"""Takes the view off the screen."""

BAR = 10
NAME = 16
"""A name is shortened to this rather than its times left out."""


class Step(NamedTuple):
    """A running step: seconds since it began, seconds expected, how far it says it is; or what it waits for."""

    name: str
    elapsed: float
    expected: float | None
    note: str = ""
    waits: str = ""


@dataclass(frozen=True)
class Shown:
    """What the view shows."""

    running: Sequence[Step]
    steps: int
    settled: int
    ran: int = 0
    cached: int = 0
    current: int = 0
    failed: int = 0
    warnings: int = 0
    left: Left | None = None


def clock(seconds: float) -> str:
    """Return a duration in whole seconds, in a form that does not jump about."""
    whole = max(int(seconds), 0)
    if whole < 100:
        return f"{whole} s"
    if whole < 6000:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole // 60 % 60:02} min"


def rows(shown: Shown, columns: int, lines: int, ink: Ink) -> list[str]:
    """Return the rows of the view, fewer than `lines` and each narrower than `columns`.

    The last column stays free, since a character there makes some terminals wrap.
    """
    room = max(columns - 1, 0)
    status = _status(shown, room, ink)
    if lines < 4:
        return [status]
    free = lines - 3
    running = sorted(shown.running, key=lambda step: -step.elapsed)
    more = 0 if len(running) <= free else len(running) - free + 1
    listed = running[: len(running) - more]
    longest = max((width(printable(step.name)) for step in listed), default=0)
    no_bar = " " * (BAR + 4) if any(_is_timely(step) for step in listed) else ""
    listing = [_row(step, longest, no_bar, room, ink) for step in listed]
    rest = [clip(f"  and {more} more", room)] if more else []
    return ["", *listing, *rest, status]


def _is_timely(step: Step) -> bool:
    """Say whether a bar can tell how far a step is."""
    return step.expected is not None and step.elapsed <= step.expected and not step.waits


def _row(step: Step, longest: int, no_bar: str, room: int, ink: Ink) -> str:
    name = printable(step.name)
    for bar, time in _forms(step, no_bar):
        free = room - width(f">   {bar}{time}")
        if free >= (longest if bar else min(longest, NAME)):
            named = pad(name, min(longest, free))
            return f"{' ' if step.waits else ink.paint(ink.blue, '>')} {ink.paint(ink.bold, named)}  {bar}{time}"
    return clip(f"> {name}", room)


def _forms(step: Step, no_bar: str) -> list[tuple[str, str]]:
    """Return bar and time of a step in the forms there are, the most telling first."""
    short, bar = clock(step.elapsed), no_bar
    if step.waits:
        reason = printable(step.waits)
        return [(bar, f"{reason}, {short}"), ("", reason), ("", "waits")]
    if step.expected is None:
        duration = short
    elif _is_timely(step):
        duration, bar = f"{short} of about {clock(step.expected)}", _bar(step.elapsed, step.expected)
    else:
        duration = f"{short}, {clock(step.expected)} expected"
    noted = [(bar, f"{duration}: {printable(step.note)}")] if step.note else []
    return [*noted, (bar, duration), ("", duration), ("", short)]


def _bar(elapsed: float, expected: float) -> str:
    full = min(int(BAR * elapsed / expected), BAR) if expected > 0 else BAR
    return f"[{'#' * full}{'.' * (BAR - full)}]  "


def _status(shown: Shown, room: int, ink: Ink) -> str:
    counts = [
        (shown.failed, "failed"),
        (shown.ran, "run"),
        (shown.cached, "from the cache"),
        (shown.current, "up to date"),
        (shown.warnings, "warning" if shown.warnings == 1 else "warnings"),
    ]
    progress = ", ".join(f"{count} {what}" for count, what in counts if count)
    done = f"{shown.settled} of {shown.steps}"
    failed = f"{shown.failed} failed" if shown.failed else ""
    left = ""
    if shown.left is not None:
        left = f"{'at least' if shown.left.at_least else 'about'} {clock(shown.left.seconds)} left"
    forms = [
        "; ".join(filter(None, [f"{done}: {progress}" if progress else done, left])),
        "; ".join(filter(None, [done, failed, left])),
        "; ".join(filter(None, [done, failed])),
    ]
    text = next((form for form in forms if width(form) <= room), clip(forms[-1], room))
    return text.replace(failed, ink.paint(ink.orange, failed), 1) if failed else text


def draw(above: Sequence[str], view: Sequence[str], *, drawn: bool) -> str:
    """Return what prints lines above the view and draws it again; `drawn` when one stands on the screen now.

    Without rows the view is taken off the screen.
    """
    text = "\r" if drawn else ""
    if above:
        text += (ERASE_BELOW if drawn else "") + "".join(f"{line}\n" for line in above)
    if view:
        up = f"\x1b[{len(view) - 1}A" if len(view) > 1 else ""
        return f"{text}{'' if drawn else HIDE}{CUT_ROWS}{NEXT_ROW.join(view)}{ERASE_BELOW}{WRAP_ROWS}{up}\r"
    return f"{text}{ERASE_BELOW}{SHOW}" if drawn else text
