"""What is said to somebody who named a task that is not there."""

from __future__ import annotations

import pytest

from build_rules.commands.unknown import unknown_task

TASKS = [f"meta:m:hailo8l-{preset}" for preset in ("fast", "balanced", "accurate")] + ["split:m"]


@pytest.mark.parametrize(
    ("name", "commands", "told"),
    [
        ("meta:m:hailo8l-fats", (), "no task called meta:m:hailo8l-fats; did you mean meta:m:hailo8l-fast or meta:m:"),
        ("split:n", (), "no task called split:n; did you mean split:m? `doit list --all` shows the tasks."),
        ("nothing", (), "no task called nothing. `doit list --all` shows the tasks."),
        ("stauts", ("status", "run"), "no command or task called stauts; did you mean status? `doit list --all`"),
        ("zzz", ("status",), "no command or task called zzz. `doit list --all` shows the tasks, `doit help` the"),
        ("no\x1b[1m", (), "no task called no\ufffd[1m"),
    ],
)
def test_what_may_have_been_meant(name: str, commands: tuple[str, ...], told: str) -> None:
    assert told in str(unknown_task(name, TASKS, commands))


def test_three_are_named_at_most() -> None:
    told = str(unknown_task("meta:m0", [f"meta:m{number}" for number in range(1, 6)]))
    assert told.split("?")[0].count(" or ") == 2
