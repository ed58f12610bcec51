"""A target is finished before the next one begins, whatever doit's own queue would do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from doit.control import TaskControl
from doit.task import Task

from build_rules.engine.running.dispatch import TargetDispatcher, in_order

TARGETS = ("fast", "balanced", "accurate", "exact")
OWN = ("alls", "har", "hef", "meta")


def chain() -> list[Task]:
    """The chain of one model with four targets, as dodo.py makes it."""
    tasks = [Task("split", []), Task("parse", [], task_dep=["split"])]
    for step, before in zip(OWN, ("parse", *OWN[:-1]), strict=True):
        group = Task(step, [], has_subtask=True, task_dep=[f"{step}:{target}" for target in TARGETS])
        tasks.append(group)
        for target in TARGETS:
            needs = [before] if before == "parse" else [f"{before}:{target}"]
            tasks.append(Task(f"{step}:{target}", [], subtask_of=step, task_dep=needs))
    return tasks


def finished(workers: int, selected: Sequence[str], last: Sequence[str] = ()) -> list[str]:
    """Run tasks that take equally long on some workers, as doit's runners do; return them as they were finished."""
    control = TaskControl(chain())
    control.process(list(selected))
    dispatcher = TargetDispatcher(control.tasks, control.targets, control.selected_tasks, last)
    running: list[Any] = []
    done: list[str] = []
    ended = None
    try:
        while True:
            node = dispatcher.generator.send(ended)
            ended = None
            if node != "hold on":
                node.run_status = "run"
                running.append(node)
            if node == "hold on" or len(running) == workers:
                ended = running.pop(0)
                ended.run_status = "successful"
                done.append(ended.task.name)
    except StopIteration:
        return [*done, *(node.task.name for node in running)]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("selected", [["meta"], ["meta:fast", "meta:balanced", "meta:accurate", "meta:exact"]])
def test_the_first_target_is_finished_first(workers: int, selected: list[str]) -> None:
    done = finished(workers, selected)
    assert [name for name in done if name.startswith("meta:")] == [f"meta:{target}" for target in TARGETS]
    for number, target in enumerate(TARGETS[:-workers]):
        later = TARGETS[number + workers]
        assert done.index(f"meta:{target}") < done.index(f"har:{later}"), done
    if workers == 1:
        steps = ["split", "parse", *(f"{step}:{target}" for target in TARGETS for step in OWN)]
        assert [name for name in done if name != "meta"] == steps


def test_what_cannot_succeed_comes_last() -> None:
    done = finished(1, ["meta"], ["meta:fast"])
    assert [name for name in done if name.startswith("har:")][-1] == "har:fast"
    control = TaskControl(chain())
    assert in_order(control.tasks, ["meta:exact", "meta"], ["meta:fast"]) == [
        "meta:exact",
        "meta:balanced",
        "meta:accurate",
        "meta:fast",
        "meta",
    ]
    assert in_order(control.tasks, ["har:fast", "hef:exact", "hef:fast", "har:exact"], ["hef:fast", "har:fast"]) == [
        *("hef:exact", "har:exact", "har:fast", "hef:fast"),
    ]
    both = in_order(control.tasks, ["har", "hef"], ["har:exact"])
    assert both[-2:] == ["har:exact", "har"]
    assert both[3] == "hef:fast"
