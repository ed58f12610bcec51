"""The live view on a terminal: its thread, its end, and processes that are forked while it stands there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import pytest

from build_rules.engine.report.live import LiveView
from tests.doit_runs import wait_until
from tests.engine.report.screen import Screen


@dataclass
class Window:
    """A terminal with its screen."""

    stream: TextIO
    master: int
    screen: Screen

    def look(self, seconds: float = 0.5) -> str:
        """Take what is written within some time."""
        text, end = "", time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.master in select.select([self.master], [], [], left)[0]:
                text += os.read(self.master, 1 << 16).decode()
        self.screen.feed(text)
        return text


@pytest.fixture
def window() -> Iterator[Window]:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        yield Window(stream, master, Screen(80, 24))
    os.close(master)


def live_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "live view"]


def test_it_ends_with_its_thread_and_writes_nothing_more(window: Window) -> None:
    view = LiveView(window.stream, lambda columns, lines: ["", f"{columns}x{lines}"])
    view.print("at once\n")
    view.start()
    window.look()
    assert window.screen.display == ["at once", "", "80x24"]
    view.print("one\ntwo\n")
    view.close()
    view.close()
    assert live_threads() == []
    window.look()
    assert window.screen.display == ["at once", "one", "two"]
    assert window.screen.shows_cursor()
    assert window.look() == ""
    view.print("late\n")
    assert window.look() == "late\r\n"


def test_what_runs_for_a_moment_is_not_drawn(window: Window) -> None:
    view = LiveView(window.stream, lambda columns, lines: ["row"])
    view.start()
    view.print("line")
    view.close()
    assert window.look(0.3) == "line\r\n"


def test_lines_printed_right_after_a_resize(window: Window) -> None:
    view = LiveView(window.stream, lambda columns, lines: [f"row {i}" for i in range(lines - 1)])
    view.refresh()
    window.look(0.1)
    fcntl.ioctl(window.master, termios.TIOCSWINSZ, struct.pack("HHHH", 6, 20, 0, 0))
    window.screen.resize(20, 6, reflow=True)
    view.print("line\n")
    window.look(0.1)
    assert window.screen.everything == ["line"]
    view.refresh()
    window.look(0.1)
    assert window.screen.everything == ["line", *(f"row {i}" for i in range(5))]
    view.close()


def test_it_is_left_for_a_while(window: Window) -> None:
    view = LiveView(window.stream, lambda columns, lines: ["row"])
    view.start()
    window.look()
    with view.left():
        window.look()
        assert (window.screen.display, window.screen.shows_cursor()) == ([], True)
    window.look()
    assert (window.screen.display, window.screen.shows_cursor()) == (["row"], False)
    view.close()


def test_a_forked_process_does_not_touch_it(window: Window) -> None:
    view = LiveView(window.stream, lambda columns, lines: ["row"])
    view.start()
    window.look()
    child = os.fork()
    if child == 0:
        view.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    window.look()
    assert window.screen.display == ["row"]
    view.close()


def test_closing_does_not_wait_for_a_terminal_that_takes_nothing(window: Window) -> None:
    view = LiveView(window.stream, lambda columns, lines: ["row"])
    view.start()
    full = threading.Thread(target=lambda: view.print("x" * (1 << 20)), daemon=True)
    full.start()
    time.sleep(0.3)
    closing = threading.Thread(target=view.close, daemon=True)
    closing.start()
    wait_until(lambda: not (window.look(0.05) and closing.is_alive()), 20)
    closing.join(5)
    assert not closing.is_alive()
    full.join(5)


def test_a_terminal_that_is_gone_is_no_reason_to_stop() -> None:
    master, slave = pty.openpty()
    stream = os.fdopen(slave, "w")
    view = LiveView(stream, lambda columns, lines: ["row"])
    os.close(master)
    view.start()
    view.print("line")
    time.sleep(0.3)
    view.close()
    assert live_threads() == []


def test_many_threads_print_whole_lines(window: Window) -> None:
    view = LiveView(window.stream, lambda columns, lines: ["", "row"])
    view.start()

    def say(name: str) -> None:
        for i in range(50):
            view.print(f"{name} {i}")

    threads = [threading.Thread(target=say, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    window.look(1.0)
    for thread in threads:
        thread.join()
    view.close()
    window.look(0.3)
    assert sorted(window.screen.everything) == sorted(f"{name} {i}" for name in "abcd" for i in range(50))
