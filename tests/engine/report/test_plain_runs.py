"""doit without a terminal: plain lines, and events for machines."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from build_rules.engine.report.base import RunReporter
from build_rules.engine.report.console import BuildReporter
from build_rules.engine.report.events import EventReporter
from build_rules.engine.report.plain import counts
from build_rules.engine.running.run_state import RunState
from build_rules.engine.running.session import session
from tests.doit_runs import Run, doit, start_doit, wait_until
from tests.engine.memory.sql import select
from tests.engine.report.terminal_runs import make_workspace

REPOSITORY = Path(__file__).resolve().parents[3]
# As the entry point of the installed package does.
PLUGIN = "[REPORTER]\nevents = build_rules.engine.report.events:EventReporter\n"


def workspace(folder: Path, names: str, **say: str) -> Path:
    make_workspace(folder, names, **say)
    (folder / "doit.cfg").write_text(PLUGIN)
    (folder / "go").touch()
    return folder


def lines(run: Run) -> list[str]:
    return [re.sub(r"in [\d.]+ s", "in T", line) for line in run.out.splitlines()]


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def told(found: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(event["event"], event.get("task")) for event in found]


def test_plain_lines(tmp_path: Path) -> None:
    workspace(tmp_path, "a b", a="   warning: odd", b="   warning: odd\nwarn by hook\ncached")
    assert lines(doit(tmp_path)) == [
        ".  step:a",
        "   warning: odd",
        "   step:a done in T: a.out",
        ".  step:b",
        "   warning: odd",
        "   warning: by hook",
        "   step:b from the cache: b.out",
        "3 warnings, 2 different:",
        "   odd (step:a, step:b)",
        "   by hook (step:b)",
        "1 run, 1 from the cache in T",
    ]
    assert lines(doit(tmp_path)) == ["2 up to date in T"]


def test_a_single_step_says_nothing_twice(tmp_path: Path) -> None:
    run = doit(workspace(tmp_path, "a +a", a="   warning: odd\nfail"))
    assert lines(run) == [".  step:a", "   warning: odd", "1 failed in T"]
    assert (run.code, run.err) == (3, "ERROR in step:a: a is wrong; mend it.\n")


def test_the_time_of_a_step_is_not_that_which_it_waited() -> None:
    reporter = BuildReporter(io.StringIO(), {"failure_verbosity": 0})
    reporter.state.start("a", 0.0)
    reporter.report_waits("a", "waits for cores")
    reporter.report_waits("b", "waits for cores")
    assert reporter.state.waiting == {"a": "waits for cores"}
    reporter.report_began("a")
    reporter.report_began("b")
    assert list(reporter.state.running) == ["a"]
    assert reporter.state.waiting == {}
    assert reporter.state.running["a"] > 0.0


def test_what_was_told_of_another_step_is_not_told_at_length_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, long = io.StringIO(), "the level was lowered, for want of images."
    reporter = BuildReporter(out, {"failure_verbosity": 0})
    monkeypatch.setattr(session, "state", RunState(0.0))
    for name in ("har:a", "har:b"):
        reporter.report_warning(name, long)
        reporter.report_warning(name, "odd")
    assert out.getvalue().splitlines() == [
        f"   warning: {long}",
        "   warning: odd",
        "   warning: the same as of har:a",
        "   warning: odd",
    ]
    for name in ("har:a", "har:b"):
        reporter.state.failure(name, long, 1.0)
        reporter.tell_failure(name, long, 1.0)
    assert capsys.readouterr().err == f"ERROR in har:a: {long}\nERROR in har:b: the same as of har:a\n"


def test_failures_are_repeated_last(tmp_path: Path) -> None:
    run = doit(workspace(tmp_path, "a b c", a="fail", c="fail"), "--continue")
    assert lines(run)[-3:] == [
        "1 run, 2 failed in T",
        "failed: step:a: a is wrong; mend it.",
        "failed: step:c: c is wrong; mend it.",
    ]


def test_parallel_steps_print_whole_lines(tmp_path: Path) -> None:
    names = [f"s{i}" for i in range(150)]
    workspace(tmp_path, " ".join(names), **dict.fromkeys(names, "   said"))
    run = doit(tmp_path, "-n", "4")
    assert run.code == 0, run.err
    assert run.out.splitlines().count("   said") == 150
    assert len(run.executed) == 150


def test_events(tmp_path: Path) -> None:
    workspace(tmp_path, "a b +a", a="hello\n   warning: odd", b="cached")
    run = doit(tmp_path, "-r", "events")
    assert (run.code, run.err) == (0, "")
    found = events(run.out)
    assert told(found) == [
        ("start", None),
        ("run", "step:a"),
        ("output", "step:a"),
        ("warning", "step:a"),
        ("done", "step:a"),
        ("run", "step:b"),
        ("cached", "step:b"),
        ("run", "step:a+"),
        ("done", "step:a+"),
        ("end", None),
    ]
    assert found == sorted(found, key=lambda event: float(event["time"]))
    assert abs(found[0]["time"] - time.time()) < 60
    by_name = {event["event"]: event for event in found}
    assert list(by_name["start"]) == ["event", "time", "version", "process", "steps"]
    assert (by_name["start"]["version"], by_name["start"]["steps"]) == (1, 3)
    assert list(by_name["run"]) == ["event", "time", "task", "expected"]
    assert by_name["output"]["text"] == "hello"
    assert by_name["warning"]["text"] == "odd"
    assert list(by_name["done"]) == list(by_name["cached"]) == ["event", "time", "task", "seconds", "target"]
    end = {key: value for key, value in by_name["end"].items() if key not in ("event", "time", "seconds")}
    tally = {"run": 2, "cached": 1, "up_to_date": 0, "failed": 0, "not_reached": 0, "warnings": 1}
    assert end == {"exit": 0, **tally}


def test_events_when_nothing_runs(tmp_path: Path) -> None:
    workspace(tmp_path, "a b")
    doit(tmp_path)
    found = events(doit(tmp_path, "-r", "events").out)
    assert told(found) == [("start", None), ("up-to-date", "step:a"), ("up-to-date", "step:b"), ("end", None)]
    assert found[1]["count"] == 1
    doit(tmp_path, "ignore", "step:a")
    assert told(events(doit(tmp_path, "-r", "events").out))[1] == ("ignored", "step:a")


def test_events_of_failures(tmp_path: Path) -> None:
    workspace(tmp_path, "a b +a", a="fail")
    run = doit(tmp_path, "-r", "events", "--continue", "-n", "2")
    assert (run.code, run.err) == (3, "")
    found = {event["event"]: event for event in events(run.out)}
    assert found["failed"]["text"] == "a is wrong; mend it."
    assert found["failed"]["seconds"] < 10
    assert found["not-reached"]["task"] == "step:a+"
    assert found["end"]["exit"] == 3


def test_steps_that_are_not_even_loaded_are_up_to_date() -> None:
    out = io.StringIO()
    reporter = EventReporter(out, {})
    reporter.add_fresh(40)
    (event,) = events(out.getvalue())
    assert (event["event"], event["task"], event["count"]) == ("up-to-date", None, 40)
    assert counts(reporter.state, reporter.state.began) == "40 up to date in 0.0 s\n"


@pytest.mark.parametrize("reporter", [(), ("-r", "events")])
def test_failures_are_remembered_until_they_succeed(tmp_path: Path, reporter: tuple[str, ...]) -> None:
    workspace(tmp_path, "a", a="fail")
    doit(tmp_path, *reporter)
    noted = "select task, words from failures"
    assert select(noted, workspace=tmp_path) == [("step:a", "a is wrong; mend it.")]
    (tmp_path / "say/a").write_text("cached")
    assert doit(tmp_path, *reporter).code == 0
    assert select(noted, workspace=tmp_path) == []


@pytest.mark.parametrize("reporter", [(), ("-r", "events")])
def test_exit_codes_do_not_depend_on_the_reporter(tmp_path: Path, reporter: tuple[str, ...]) -> None:
    workspace(tmp_path, "a +a", a="fail")
    (tmp_path / "dodo.py").write_text(
        (tmp_path / "dodo.py").read_text()
        + "\ndef task_broken():\n    return {'actions': [lambda: 1 / 0]}"
        + "\ndef task_refused():\n    return {'actions': [lambda: False]}"
        + "\ndef task_lost():\n    return {'actions': [lambda: True], 'file_dep': ['gone']}\n"
    )
    for arguments, code in [
        (("step:b*",), 3),
        (("step:a",), 3),
        (("broken",), 2),
        (("refused",), 1),
        (("lost",), 2),
        (("--continue", "step", "broken"), 3),
        (("--continue", "refused", "broken"), 2),
    ]:
        run = doit(tmp_path, *reporter, *arguments)
        assert run.code == code, arguments
        if reporter and run.out:
            assert events(run.out)[-1]["exit"] == code, arguments


def test_events_wait_for_the_lock_and_end_with_an_interrupt(tmp_path: Path) -> None:
    workspace(tmp_path, "a")
    (tmp_path / "go").unlink()
    first = start_doit(tmp_path, "-r", "events")
    wait_until((tmp_path / "began-a").exists)
    second = start_doit(tmp_path, "-r", "events")
    assert second.stderr is not None
    assert second.stderr.readline() == f"waiting for the doit that is building here (process {first.pid})\n"
    first.send_signal(signal.SIGTERM)
    out, err = first.communicate(timeout=20)
    assert (first.returncode, err.count("\n")) == (130, 1)
    assert events(out)[-1]["exit"] == 130
    (tmp_path / "go").touch()
    out, _ = second.communicate(timeout=20)
    assert told(events(out)) == [("start", None), ("run", "step:a"), ("done", "step:a"), ("end", None)]


@pytest.mark.parametrize("reporter", [("-r", "events"), (), ("-n", "2")], ids=["events", "lines", "n2"])
def test_the_build_goes_on_when_its_reader_goes_away(tmp_path: Path, reporter: tuple[str, ...]) -> None:
    workspace(tmp_path, "a b", a="hello", b="   warning: odd")
    (tmp_path / "go").unlink()
    run = start_doit(tmp_path, *reporter)
    wait_until((tmp_path / "began-a").exists)
    assert run.stdout is not None
    run.stdout.close()
    run.stdout = None
    (tmp_path / "go").touch()
    assert (run.communicate(timeout=20)[1], run.returncode) == ("", 0)
    assert (tmp_path / "b.out").exists()


def test_a_workspace_that_cannot_be_locked_is_told_and_nothing_else(tmp_path: Path) -> None:
    workspace(tmp_path, "a")
    (tmp_path / "build").write_text("in the way")
    for reporter in ((), ("-r", "events")):
        run = doit(tmp_path, *reporter)
        assert (run.code, run.out) == (3, "")
        assert "cannot be written" in run.err


def test_events_are_registered_with_doit() -> None:
    declared = (REPOSITORY / "pyproject.toml").read_text()
    assert (
        '[project.entry-points."doit.REPORTER"]\nevents = "build_rules.engine.report.events:EventReporter"' in declared
    )
    assert issubclass(EventReporter, RunReporter)
    assert issubclass(BuildReporter, RunReporter)


def test_what_only_running_steps_need_is_not_imported_before() -> None:
    program = "import sys, build_rules.engine.doit_config, build_rules.engine.report.events; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    ours = {name.removeprefix("build_rules.engine.report.") for name in loaded if "engine.report." in name}
    assert ours == {"base", "console", "events", "plain", "telling"}
    assert "build_rules.engine.memory.durations" not in loaded


def test_every_key_of_every_event_is_in_the_manual(tmp_path: Path) -> None:
    workspace(tmp_path, "a b c +a", a="hello\n   warning: odd\nfail", b="cached")
    found = events(doit(tmp_path, "-r", "events", "--continue").out)
    page = (REPOSITORY / "docs/building.md").read_text()
    for event in found:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{event['event']}` |")]
        assert set(event) - {"event", "time"} == set(re.findall(r"`(\w+)`", row.split("|")[2]))
