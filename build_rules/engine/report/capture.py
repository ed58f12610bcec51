"""The output of steps, line by line, with the step that printed it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TextIO, cast

from build_rules.engine.standard_streams import say

__all__ = ["Capture", "Lines", "Writer"]

# A line that never ends is not kept for ever.
LONGEST = 1 << 16


class Writer(NamedTuple):
    """A task, or whoever else prints; `direct` when the text is passed on as it comes, and not line by line."""

    name: str | None
    direct: bool


class _Take(Protocol):
    def __call__(self, name: str | None, line: str, shown: bool) -> None: ...


class Lines:
    """What was written so far and is no whole line yet, by who wrote it."""

    def __init__(self) -> None:
        self._rest: dict[Writer, str] = {}

    def feed(self, writer: Writer, text: str) -> list[str]:
        """Return the lines that `text` completes, without their ends."""
        *lines, rest = (self._rest.pop(writer, "") + text).split("\n")
        if len(rest) > LONGEST:
            lines.append(rest)
        elif rest:
            self._rest[writer] = rest
        return lines

    def finish(self, writer: Writer) -> list[str]:
        """Return what was left without an end."""
        return [self._rest.pop(writer)] if writer in self._rest else []

    def writers(self) -> list[Writer]:
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
        """Take what was written in this thread.

        What the main thread writes is passed on as it comes. Steps in other threads run side by side, and `print` alone
        writes twice, so theirs is passed on in whole lines.
        """
        direct = not stream.withheld and threading.current_thread() is threading.main_thread()
        writer = Writer(self._threads.get(threading.get_ident()), direct)
        if direct:
            say(stream.original, text)
        with self._lock:
            lines = stream.lines.feed(writer, text)
        self._give(stream, writer, lines)

    def _give(self, stream: _Stream, writer: Writer, lines: list[str]) -> None:
        for line in lines:
            if not (stream.withheld or writer.direct):
                say(stream.original, f"{line}\n")
            self._take(writer.name, line, not stream.withheld)

    def finish(self, name: str | None) -> None:
        """Take what a task left without an end of line."""
        for stream in self._streams:
            for writer in (Writer(name, True), Writer(name, False)):
                with self._lock:
                    lines = stream.lines.finish(writer)
                self._give(stream, writer, lines)

    def restore(self) -> None:
        """Take the rest and put the streams back; whoever still holds ours writes through it."""
        for name in {writer.name for stream in self._streams for writer in stream.lines.writers()}:
            self.finish(name)
        self.ended = True
        sys.stdout, sys.stderr = (stream.original for stream in self._streams)
