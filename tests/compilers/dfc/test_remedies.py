"""What is tried when a network finds no place on the chip, in which order, and what the script becomes."""

from __future__ import annotations

import pytest

from build_rules.alls.script import parse_script
from build_rules.compilers.dfc.remedies import (
    LADDER,
    Remedy,
    next_remedy,
    remedy_facts,
    remedy_texts,
    script_with,
)
from tests.compilers.dfc.test_failures import raised

INFEASIBLE = raised("BackendAllocatorException: No successful assignments: concat18 errors: Agent infeasible")
CAPACITY = raised("BackendAllocatorException: Compiler could not find a valid partition to contexts.")
SINGLE = raised("BackendAllocatorException: Context switch is disabled, but model could not fit in single context.")


def ladder(failure: object, script: str = "") -> list[str]:
    """The names of all that is tried for a failure that stays."""
    tried: list[Remedy] = []
    while (remedy := next_remedy(failure, tried, script)) is not None:  # type: ignore[arg-type]
        tried.append(remedy)
    return [remedy.name for remedy in tried]


def test_the_order_is_that_of_the_failure() -> None:
    assert ladder(INFEASIBLE) == ["max", "contexts", "resources-0.8", "resources-0.6"]
    assert ladder(CAPACITY) == ["resources-0.8", "resources-0.6", "max", "contexts"]
    assert ladder(SINGLE)[0] == "contexts"


@pytest.mark.parametrize(
    "wording",
    [
        "AllocatorScriptParserException: No argument named a",
        "BackendValueError: Unsupported NaN values were found",
        "RuntimeError: something else",
        "OSError: [Errno 28] No space left on device",
        "BackendAllocatorException: slice1 has 2 APUs but max allowed is 1",
    ],
)
def test_nothing_is_tried_against_what_is_no_want_of_room(wording: str) -> None:
    assert next_remedy(raised(wording), ()) is None


@pytest.mark.parametrize(
    ("script", "left"),
    [
        ("performance_param(compiler_optimization_level=max)\n", ["contexts", "resources-0.8", "resources-0.6"]),
        ("performance_param(compiler_optimization_level=2)\n", ["max", "contexts", "resources-0.8", "resources-0.6"]),
        ("context_switch_param(mode=enabled)\n", ["max", "resources-0.8", "resources-0.6"]),
        ("context_switch_param(mode=disabled)\n", ["max", "contexts", "resources-0.8", "resources-0.6"]),
        (
            "resources_param(max_control_utilization=0.7, max_compute_utilization=0.7, max_memory_utilization=0.7)\n",
            ["max", "contexts", "resources-0.6"],
        ),
        ("resources_param(max_control_utilization=0.5)\n", ["max", "contexts", "resources-0.8", "resources-0.6"]),
        ("no script (", ["max", "contexts", "resources-0.8", "resources-0.6"]),
    ],
)
def test_what_the_script_says_already_is_no_remedy(script: str, left: list[str]) -> None:
    assert ladder(INFEASIBLE, script) == left


def test_the_script_of_an_attempt() -> None:
    tried = [LADDER["max"], LADDER["contexts"], LADDER["resources-0.8"], LADDER["resources-0.6"]]
    text = script_with("allocator_param(timeout=4h)", tried)
    assert text == (
        "allocator_param(timeout=4h)\n"
        "performance_param(compiler_optimization_level=max)\n"
        "context_switch_param(mode=allowed)\n"
        "resources_param(max_control_utilization=0.6, max_compute_utilization=0.6, max_memory_utilization=0.6)\n"
    )
    assert len(parse_script(text).statements) == 4
    assert script_with("", []) == ""
    assert script_with("a()\n", [LADDER["contexts"]]) == "a()\ncontext_switch_param(mode=allowed)\n"


def test_what_helped_is_a_fact() -> None:
    assert remedy_facts([]) == {}
    tried = [LADDER["max"], LADDER["contexts"]]
    assert remedy_facts(tried) == {
        "remedies": [
            "search as hard as possible: performance_param(compiler_optimization_level=max)",
            "allow several contexts: context_switch_param(mode=allowed)",
        ]
    }
    assert remedy_texts(tried)[1] == "allow several contexts: context_switch_param(mode=allowed)"
