"""A terminal's screen, as far as what we write goes: cursor moves, erasing, wrapping, scrolling, resizing.

Terminals differ in what they do to rows that are wider than a new width: some wrap them anew (`reflow`), others cut.
"""

from __future__ import annotations

import re

__all__ = ["Screen"]

SEQUENCE = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])")


class Screen:
    """Rows of text; `scrolled` are those that went off at the top."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        self.rows = [""]
        self.scrolled: list[str] = []
        self.x = self.y = 0
        self._cursor_visible = self._wraps = True
        self._unread = ""

    @property
    def display(self) -> list[str]:
        """What is seen, without empty rows at the end."""
        rows = [row.rstrip() for row in self.rows]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    @property
    def everything(self) -> list[str]:
        """What was ever left standing: rows that scrolled off, and those seen now."""
        return [row.rstrip() for row in self.scrolled] + self.display

    def shows_cursor(self) -> bool:
        """Whether the cursor is seen."""
        return self._cursor_visible

    def feed(self, text: str) -> None:
        """Do what a terminal does with text that is written to it."""
        text, self._unread = self._unread + text, ""
        at = 0
        while at < len(text):
            sequence = SEQUENCE.match(text, at)
            if sequence:
                self._obey(sequence[1], sequence[2])
                at = sequence.end()
            elif text[at] == "\x1b":
                if len(text) - at < 12:
                    self._unread = text[at:]
                    return
                raise AssertionError(f"a sequence that no terminal was asked for: {text[at : at + 12]!r}")
            else:
                self._put(text[at])
                at += 1

    def resize(self, columns: int, lines: int, *, reflow: bool) -> None:
        """Take another size; the cursor stays on its row."""
        rows: list[str] = []
        for i, row in enumerate(self.rows):
            if i == self.y:
                self.y = len(rows)
            row = row.rstrip()
            pieces = [row[at : at + columns] for at in range(0, len(row), columns)] or [""]
            rows += pieces if reflow else pieces[:1]
        self.columns, self.lines, self.rows = columns, lines, rows
        self.x = min(self.x, columns - 1)
        while self.y >= lines:
            self._scroll()
        del self.rows[lines:]

    def _scroll(self) -> None:
        self.scrolled.append(self.rows.pop(0))
        self.y -= 1

    def _down(self) -> None:
        self.y += 1
        if self.y == len(self.rows):
            self.rows.append("")
        if self.y == self.lines:
            self._scroll()

    def _put(self, character: str) -> None:
        if character == "\n":
            self._down()
        elif character == "\r":
            self.x = 0
        else:
            assert character.isprintable(), repr(character)
            if self.x == self.columns and self._wraps:
                self.x = 0
                self._down()
            self.x = min(self.x, self.columns - 1)
            row = self.rows[self.y].ljust(self.x)
            self.rows[self.y] = row[: self.x] + character + row[self.x + 1 :]
            self.x += 1

    def _obey(self, values: str, letter: str) -> None:
        if letter == "A":
            self.y = max(self.y - int(values or 1), 0)
        elif letter in "KJ":
            assert values == ""
            self.rows[self.y] = self.rows[self.y][: self.x]
            if letter == "J":
                del self.rows[self.y + 1 :]
        elif letter in "hl":
            assert values in ("?25", "?7")
            if values == "?25":
                self._cursor_visible = letter == "h"
            else:
                self._wraps = letter == "h"
        else:
            assert letter == "m", f"a sequence that no terminal was asked for: {values}{letter}"
