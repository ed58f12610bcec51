"""Another program, which may hang, chatter without end, ask for a password, or outlive whoever started it.

It leads a process group of its own. Its standard input stays open as long as it is waited for, whatever ends us, and
that end is how a worker on any machine learns that nobody waits any more.
"""

from __future__ import annotations

import fcntl
import os
import re
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from build_rules.compilers.dfc.launch.lines import LineReader

__all__ = ["Child", "Cut", "Ended", "NotStartedError"]

CHUNK = 1 << 16
PIPE = 1 << 20
TICK = 0.5
"""Seconds between two looks at a program that says nothing; one that asks for a password says nothing more."""
GRACE = 5.0
"""Seconds that a worker has to end what it started."""
PATIENCE = 30.0
"""Seconds that killing a container may take."""
MAX_RETURNED = 8 << 30
"""Bytes of a tar that comes back; the largest HARs have some hundred MiB."""
_ASKS = re.compile(rb"(?:password|passphrase|passcode|verification code|\(yes/no[^)]*\)\??)[^\n]{0,200}[:?] ?$", re.I)

Cut = Literal["", "timeout", "start", "password", "returned"]


class NotStartedError(Exception):
    """A program that is not there, or none: `error` is what the system says of it."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code (negative for a signal), and whether it was made to."""

    code: int
    cut: Cut


@dataclass
class Child:
    """A program that is to be run; `run` does it.

    `hear` gets every line, and whether it stays (or is drawn over). `has_begun` says whether it has told what makes a
    password unlikely and `patience` needless. `feed` writes its input. With `mark` standard output is text up to that,
    and goes to the file `returned` from there; lines of standard error then come apart, to `hear_errors`.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    hear: Callable[[str, bool], None]
    hear_errors: Callable[[str, bool], None]
    has_begun: Callable[[], bool]
    limit: float
    patience: float | None = None
    kill: Sequence[str] = ()
    feed: Callable[[IO[bytes]], None] | None = None
    mark: bytes = b""
    returned: Path | None = None

    def run(self) -> Ended:
        """Run it to its end, or to the limit in seconds. Raises `NotStartedError`."""
        self._begun_at, self._is_over = time.monotonic(), False
        try:
            self._process = subprocess.Popen(
                list(self.command),
                env=dict(self.environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if self.mark else subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            is_folder = os.path.isdir(self.command[0])  # noqa: PTH112 - the system only says that it is not allowed
            raise NotStartedError(IsADirectoryError(error) if is_folder else error) from error
        self._feeder = threading.Thread(target=self._feed, daemon=True)
        try:
            self._feeder.start()
            cut = self._listen() or self._wait()
            self._end()
            return Ended(self._process.returncode, cut)
        finally:
            self._end()
            self._feeder.join()
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()

    def _feed(self) -> None:
        if self.feed is not None and self._process.stdin is not None:
            with suppress(OSError, AttributeError):  # a wish: there is a limit to what all pipes of a user hold
                fcntl.fcntl(self._process.stdin, fcntl.F_SETPIPE_SZ, PIPE)
            try:
                self.feed(self._process.stdin)
            except (OSError, ValueError):  # it has ended, and says why itself; or it waits for what cannot be read
                with suppress(OSError):
                    self._process.stdin.close()

    def _listen(self) -> Cut:
        text, errors, ended = LineReader(self.hear), LineReader(self.hear_errors), 0.0
        with selectors.DefaultSelector() as selector, _Returned(self.mark, self.returned, text) as taken:
            assert self._process.stdout is not None
            selector.register(self._process.stdout, selectors.EVENT_READ, taken.feed if self.mark else text.feed)
            if self._process.stderr is not None:
                selector.register(self._process.stderr, selectors.EVENT_READ, errors.feed)
            while selector.get_map():
                ready = selector.select(TICK)
                for key, _ in ready:
                    piece = os.read(key.fd, CHUNK)
                    if piece:
                        key.data(piece)
                    else:
                        selector.unregister(key.fileobj)
                if cut := self._cut((text, errors), is_quiet=not ready, returned=taken.size):
                    return cut
                if self._process.poll() is not None:
                    ended = ended or time.monotonic()
                    # What it left behind may hold the pipe still, and go on to chatter.
                    if not ready or time.monotonic() - ended > GRACE:
                        break
            taken.close_text()
            text.close()
            errors.close()
        return ""

    def _cut(self, readers: Sequence[LineReader], *, is_quiet: bool, returned: int) -> Cut:
        seconds = time.monotonic() - self._begun_at
        if seconds > self.limit:
            return "timeout"
        if returned > MAX_RETURNED:
            return "returned"
        if self.has_begun():
            return ""
        if is_quiet and any(_ASKS.search(reader.begun) for reader in readers):
            return "password"
        return "start" if self.patience is not None and seconds > self.patience else ""

    def _wait(self) -> Cut:
        """Wait for one that has closed its output; it may go on all the same."""
        left = self.limit - (time.monotonic() - self._begun_at)
        try:
            self._process.wait(max(left, TICK))
        except subprocess.TimeoutExpired:
            return "timeout"
        return ""

    def _end(self) -> None:
        """Leave nothing of it behind, here or in a container."""
        process = self._process
        if self._is_over:
            return
        self._is_over = True
        if process.poll() is None:
            if self._feeder.is_alive():  # it holds the pipe; the end of the program ends that too
                self._kill_group()
            elif process.stdin is not None:
                with suppress(OSError):
                    process.stdin.close()
            self._kill_container()
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        elif process.returncode:  # a client may have died and left the container to the daemon
            self._kill_container()
        self._kill_group()
        process.wait()

    def _kill_container(self) -> None:
        if self.kill:
            with suppress(OSError, subprocess.SubprocessError):
                subprocess.run(
                    list(self.kill), stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
                )

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


class _Returned:
    """Standard output of a program that sends a tar: text up to a mark, and from there a file."""

    def __init__(self, mark: bytes, path: Path | None, text: LineReader) -> None:
        self._mark, self._text = mark, text
        self._file = None if path is None else path.open("xb")
        self._held = b""
        self._is_found = False
        self.size = 0

    def __enter__(self) -> _Returned:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        if not self._is_found:
            held = self._held + piece
            before, found, piece = held.partition(self._mark)
            self._is_found = bool(found)
            if not found:
                kept = len(self._mark) - 1
                before, self._held = held[:-kept], held[-kept:]
            self._text.feed(before)
            if not found:
                return
        if self._file is not None and self.size <= MAX_RETURNED:
            self._file.write(piece)
            self.size += len(piece)

    def close_text(self) -> None:
        """Tell what could have been the beginning of the mark."""
        if not self._is_found:
            self._text.feed(self._held)
