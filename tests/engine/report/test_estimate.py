"""What is left of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from build_rules.engine.report.estimate import Left, Plan, Progress, expected_costs, make_plan, remaining


@dataclass
class Task:
    """As much of doit's task as a plan looks at."""

    task_dep: list[str] = field(default_factory=list)
    setup_tasks: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=lambda: ["do"])
    targets: list[str] = field(default_factory=lambda: ["out"])


# a -> b -> c, and d alone, all below a group.
TASKS = {"c": Task(["b"]), "d": Task(), "b": Task(["a"]), "a": Task(), "e": Task(), "all": Task(["c", "d"], actions=[])}
PLAN = make_plan(TASKS, ["all"])
NOTHING = Progress((), (), {}, {}, 1)


def ten(name: str) -> float:
    return 10.0


def unknown(name: str) -> None:
    return None


def test_a_plan_holds_what_the_run_may_reach_in_order() -> None:
    assert list(PLAN.needs) == ["a", "b", "c", "d", "all"]
    assert list(PLAN.targets) == ["a", "b", "c", "d"]
    assert PLAN.missing(lambda path: False) == {"a", "b", "c", "d"}
    assert PLAN.missing(lambda path: True) == set()


def test_a_plan_of_a_long_chain() -> None:
    tasks = {str(i): Task([str(i - 1)] if i else []) for i in range(5000)}
    plan = make_plan(tasks, ["4999", "0"])
    assert list(plan.needs) == list(tasks)
    assert remaining(plan, NOTHING, set(tasks), ten) == Left(50_000.0, False)


@pytest.mark.parametrize("tasks", [{"a": Task(["b"]), "b": Task(["a"])}, {"a": Task(["a"])}, {"a": Task(["gone"])}])
def test_a_plan_of_tasks_that_doit_refuses_ends(tasks: dict[str, Task]) -> None:
    assert set(make_plan(tasks, ["a"]).needs) == set(tasks)


def test_all_of_it_and_the_longest_chain() -> None:
    everything = set("abcd")
    assert remaining(PLAN, NOTHING, everything, ten) == Left(40.0, False)
    four = Progress((), (), {}, {}, 4)
    assert remaining(PLAN, four, everything, ten) == Left(30.0, False)


def test_what_follows_a_step_that_runs_will_run_and_what_is_there_will_not() -> None:
    assert remaining(PLAN, Progress((), (), {"a": 4.0}, {}, 1), set(), ten) == Left(26.0, False)
    assert remaining(PLAN, Progress({"a", "b"}, (), {}, {"b": 1.0}, 1), set(), ten) == Left(10.0, False)
    assert remaining(PLAN, NOTHING, set(), ten) is None
    assert remaining(PLAN, NOTHING, {"d"}, ten) == Left(10.0, False)


def test_a_step_that_takes_longer_than_expected_is_about_to_end() -> None:
    assert remaining(PLAN, Progress({"a", "b"}, (), {"c": 99.0}, {"a": 1.0}, 1), {"c"}, ten) is None


def test_nothing_is_left_of_what_failed() -> None:
    assert remaining(PLAN, Progress({"a"}, {"a"}, {}, {}, 1), set("abcd"), ten) == Left(10.0, False)


def test_steps_of_which_nothing_is_known() -> None:
    known = {"a": 10.0, "b": 10.0}
    assert remaining(PLAN, NOTHING, set("abcd"), known.get) == Left(20.0, True)
    assert remaining(PLAN, NOTHING, set("abcd"), unknown) is None


def test_costs_are_those_of_former_runs_or_of_steps_alike() -> None:
    cost = expected_costs({"har:a": 5.0}.get, {"har:b": 2.0, "har:c": 4.0})
    assert [cost(name) for name in ("har:a", "har:d", "hef:a")] == [5.0, 3.0, None]


def test_an_empty_plan() -> None:
    assert remaining(Plan({}, {}), NOTHING, set(), ten) is None
