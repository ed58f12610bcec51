"""What another program prints, as lines, whatever it prints: within bounds, and readable."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable

__all__ = ["BoundedText", "LineReader"]

LINE_BYTES = 8 << 10
"""Of one line; what is longer is no text, and is cut."""
_COLOUR = re.compile(rb"\x1b\[[0-9;]*[mK]")
_PIECES = re.compile(rb"[\r\n]|[^\r\n]+")


class LineReader:
    """Makes lines of pieces of bytes. A line that is drawn over (carriage return) is told, but not `final`."""

    def __init__(self, tell: Callable[[str, bool], None]) -> None:
        self._tell = tell
        self._line = bytearray()
        self._drawn = ""

    @property
    def begun(self) -> bytes:
        """What is there of a line that has not ended."""
        return bytes(self._line)

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        for part in _PIECES.findall(piece):
            if part == b"\r":
                if self._line:
                    self._drawn = self._take()
                    self._tell(self._drawn, False)
            elif part == b"\n":
                text = self._take() if self._line or not self._drawn else self._drawn
                self._drawn = ""
                self._tell(text, True)
            elif (room := LINE_BYTES - len(self._line)) > 0:
                self._line += part[:room]

    def close(self) -> None:
        """Take what has not ended as a line."""
        if self._line:
            self.feed(b"\n")

    def _take(self) -> str:
        text = _COLOUR.sub(b"", bytes(self._line)).decode("utf-8", "replace")
        self._line.clear()
        return text


class BoundedText:
    """Text of which beginning and end are kept."""

    def __init__(self, head: int, tail: int) -> None:
        self._room, self._tail_size = head, tail
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._held = self._lost = 0

    def add(self, line: str) -> None:
        """Take one more line."""
        size = len(line) + 1
        if size <= self._room:
            self._room -= size
            self._head.append(line)
            return
        self._room = 0  # what comes later is no beginning
        self._tail.append(line)
        self._held += size
        while self._held > self._tail_size:
            lost = len(self._tail.popleft()) + 1
            self._held, self._lost = self._held - lost, self._lost + lost

    @property
    def text(self) -> str:
        """All that was kept, and how much was not."""
        left_out = [f"[... {self._lost} characters left out ...]"] if self._lost else []
        return "".join(f"{line}\n" for line in (*self._head, *left_out, *self._tail))
