"""The output of steps, line by line, with the step that printed it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from typing import Any, Protocol, TextIO, cast

__all__ = ["Capture", "Lines"]

# A line that never ends is not kept for ever.
LONGEST = 1 << 16


class _Take(Protocol):
    def __call__(self, name: str | None, line: str, shown: bool) -> None: ...


class Lines:
    """What was written so far and is no whole line yet, by who wrote it."""

    def __init__(self) -> None:
        self._rest: dict[str | None, str] = {}

    def feed(self, name: str | None, text: str) -> list[str]:
        """Return the lines that `text` completes, without their ends."""
        *lines, rest = (self._rest.pop(name, "") + text).split("\n")
        if len(rest) > LONGEST:
            lines.append(rest)
        elif rest:
            self._rest[name] = rest
        return lines

    def finish(self, name: str | None) -> list[str]:
        """Return what was left without an end."""
        return [self._rest.pop(name)] if name in self._rest else []

    def names(self) -> list[str | None]:
        """Return who left something without an end."""
        return list(self._rest)


class _Stream:
    """Stands in for sys.stdout or sys.stderr. What has been opened for good passes everything on."""

    def __init__(self, original: TextIO, withheld: bool, capture: Capture) -> None:
        self.original = original
        self.withheld = withheld
        self.lines = Lines()
        self._capture = capture

    def write(self, text: str) -> int:
        if self._capture.ended or os.getpid() != self._capture.process:
            return self.original.write(text)
        if not self.withheld:
            self.original.write(text)
        self._capture.take(self, text)
        return len(text)

    def writelines(self, texts: Any) -> None:
        for text in texts:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


class Capture:
    """Takes what this process prints through sys.stdout and sys.stderr while steps run.

    `threads` tells which task runs in a thread. A process forked from this one prints as if nothing were here.
    """

    def __init__(self, take: _Take, threads: Mapping[int, str], withhold: tuple[bool, bool]) -> None:
        self._take = take
        self._threads = threads
        self._lock = threading.RLock()
        self.process = os.getpid()
        self.ended = False
        self._streams = (_Stream(sys.stdout, withhold[0], self), _Stream(sys.stderr, withhold[1], self))

    def install(self) -> None:
        """Stand in for both streams.

        Before every step: doit puts a stream of its own before what it finds, and in parallel runs leaves it there,
        so that without this each step would add one to a chain.
        """
        sys.stdout, sys.stderr = cast("tuple[TextIO, TextIO]", self._streams)

    def take(self, stream: _Stream, text: str) -> None:
        """Take what was written in this thread."""
        name = self._threads.get(threading.get_ident())
        with self._lock:
            lines = stream.lines.feed(name, text)
        for line in lines:
            self._take(name, line, not stream.withheld)

    def finish(self, name: str | None) -> None:
        """Take what a task left without an end of line."""
        for stream in self._streams:
            with self._lock:
                lines = stream.lines.finish(name)
            for line in lines:
                self._take(name, line, not stream.withheld)

    def restore(self) -> None:
        """Take the rest and put the streams back; whoever still holds ours writes through it."""
        for name in {name for stream in self._streams for name in stream.lines.names()}:
            self.finish(name)
        self.ended = True
        sys.stdout, sys.stderr = (stream.original for stream in self._streams)
