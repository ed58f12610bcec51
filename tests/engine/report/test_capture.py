"""What steps print, by step; and the hooks that they may call."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest
from doit.action import Writer as DoitWriter

from build_rules.engine import messages
from build_rules.engine.report.capture import LONGEST, Capture, Lines, Writer

Taken = list[tuple[str | None, str, bool]]


@contextmanager
def streams() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        yield out, err


def begun(taken: Taken, threads: dict[int, str], *withhold: bool) -> Capture:
    capture = Capture(lambda name, line, shown: taken.append((name, line, shown)), threads, (withhold[0], withhold[1]))
    capture.install()
    return capture


def test_lines_by_who_wrote_them() -> None:
    lines = Lines()
    a, b, none = Writer("a", True), Writer("b", True), Writer(None, False)
    assert lines.feed(a, "one\ntwo\nth") == ["one", "two"]
    assert lines.feed(b, "other") == []
    assert lines.feed(a, "ree\n") == ["three"]
    assert lines.writers() == [b]
    assert (lines.finish(b), lines.finish(b), lines.finish(a)) == (["other"], [], [])
    assert lines.feed(none, "x" * (LONGEST + 1)) == ["x" * (LONGEST + 1)]


def test_lines_are_passed_on_or_withheld() -> None:
    taken: Taken = []
    with streams() as (out, err):
        capture = begun(taken, {threading.get_ident(): "step:a"}, True, False)
        print("to stdout")
        print("to stderr", file=sys.stderr)
        print("no end", end="")
        sys.stderr.write("at on")
        assert (out.getvalue(), err.getvalue()) == ("", "to stderr\nat on")
        held = sys.stdout
        capture.restore()
        print("after")
        held.write("through the old one\n")
        assert (out.getvalue(), err.getvalue()) == ("after\nthrough the old one\n", "to stderr\nat on")
    assert taken == [
        ("step:a", "to stdout", False),
        ("step:a", "to stderr", True),
        ("step:a", "no end", False),
        ("step:a", "at on", True),
    ]


def test_a_step_begins_with_our_streams_whatever_another_left_there() -> None:
    taken: Taken = []
    with streams():
        capture = begun(taken, {}, True, True)
        ours = sys.stdout
        sys.stdout = DoitWriter(ours)
        print("through both")
        capture.install()
        assert sys.stdout is ours
        capture.restore()
    assert [line for _, line, _ in taken] == ["through both"]


@pytest.mark.parametrize("withheld", [True, False])
def test_threads_are_told_apart(withheld: bool) -> None:
    taken: Taken = []
    threads: dict[int, str] = {}

    def step(name: str) -> None:
        threads[threading.get_ident()] = name
        for i in range(100):
            sys.stdout.write(f"{name} ")
            sys.stdout.write(f"{i}\n")
        sys.stdout.write("no end")

    with streams() as (out, _):
        capture = begun(taken, threads, withheld, withheld)
        workers = [threading.Thread(target=step, args=(f"step:{letter}",)) for letter in "abc"]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        capture.restore()
    for letter in "abc":
        name = f"step:{letter}"
        assert [line for who, line, _ in taken if who == name] == [*(f"{name} {i}" for i in range(100)), "no end"]
    assert sorted(out.getvalue().splitlines()) == ([] if withheld else sorted(line for _, line, _ in taken))


def test_a_forked_process_prints_as_ever() -> None:
    taken: Taken = []
    with streams() as (out, _):
        capture = begun(taken, {}, True, True)
        child = os.fork()
        if child == 0:
            print("in the child")
            os._exit(0 if out.getvalue() == "in the child\n" and not taken else 1)
        assert os.waitpid(child, 0)[1] == 0
        capture.restore()


class Ears:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def report_cached(self, task_name: str) -> None:
        self.heard.append(f"{task_name} cached")

    def report_speaker(self, task_name: str) -> None:
        raise AssertionError

    def report_waits(self, task_name: str, reason: str) -> None:
        self.heard.append(f"{task_name} {reason}")

    def report_began(self, task_name: str) -> None:
        self.heard.append(f"{task_name} began")

    def report_progress(self, text: str) -> None:
        self.heard.append(f"so far: {text}")

    def report_warning(self, task_name: str, text: str) -> None:
        self.heard.append(f"{task_name} warns {text}")


def test_hooks(capsys: pytest.CaptureFixture[str]) -> None:
    ears = Ears()
    messages.listen(ears)
    messages.cached("a")
    messages.warn("a", "odd")
    messages.progress("half")
    messages.unlisten(ears)
    messages.progress("all")
    messages.unlisten(ears)
    assert capsys.readouterr().out == ""
    messages.cached("b")
    messages.warn("b", "even")
    assert ears.heard == ["a cached", "a warns odd", "so far: half"]
    assert capsys.readouterr().out == "   warning: even\n"
