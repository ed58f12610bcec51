"""A chain of four small steps: every model goes through three of them, the fourth joins all models.

in/MODEL.txt --upper--> upper --mixed--> mixed, index, mixed.data --final--> final --total--> total
                  \\________________________________________________/           /
shared.txt -------------------^-----------------------------------------------^
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from build_rules.engine.command_line import read_request
from build_rules.engine.doit_config import DOIT_CONFIG as ENGINE_CONFIG
from build_rules.engine.freshness.current_run import EVERYBODY, TREE, current_run, watch_code, watch_marks
from build_rules.engine.freshness.key import PACKAGE
from build_rules.engine.running.rule import Rule

if "CRASH_AT" in os.environ:
    import crash  # type: ignore[import-not-found]  # noqa: F401  # lies beside this file once it is in a workspace

DOIT_CONFIG = {**ENGINE_CONFIG, "default_tasks": ["total"]}
SHARED = Path("shared.txt")
BUILD = Path("build")
FUNCTION = os.environ.get("FUNCTION", "upper")

UPPER = Rule("upper", f"steps:{FUNCTION}", ("errors.py",), version=int(os.environ.get("VERSION", "1")))
MIXED = Rule("mixed", "steps:mixed", ("errors.py",))
FINAL = Rule("final", "steps:final", ("varint.py",))
TOTAL = Rule("total", "steps:total", ("errors.py",))

Tasks = Iterator[dict[str, Any]]


def models() -> list[str]:
    return sorted(path.stem for path in Path("in").glob("*.txt"))


@cache
def doubtful() -> list[str]:
    """The models that are not fresh; the others get no tasks, as in the real `dodo.py`."""
    given = {name: os.environ.get(name, "") for name in ("WORD", "TOOL", "VERSION", "FUNCTION", "REVERSE")}
    current_run.begin(read_request(sys.argv), {**given, "rules": PACKAGE})
    current_run.watch(EVERYBODY, {**watch_code(), **watch_marks(["dodo.py", "steps.py"])})
    current_run.watch(TREE, watch_marks(["in"]))
    current_run.set_owners(models())
    return [name for name in models() if name not in current_run.fresh]


def task_upper() -> Tasks:
    for name in doubtful():
        yield UPPER.task(
            name,
            inputs={"source": Path(f"in/{name}.txt")},
            outputs={"upper": BUILD / name / "upper"},
            owner=name,
            settings={"word": os.environ.get("WORD", "")},
            passed={"task": f"upper:{name}"},
        )


def task_mixed() -> Tasks:
    for name in doubtful():
        place = BUILD / name
        yield MIXED.task(
            name,
            inputs={"upper": place / "upper", "shared": SHARED},
            outputs={"mixed": place / "mixed", "index": place / "index"},
            owner=name,
            settings={},
            tools={"mixer": os.environ.get("TOOL", "1")},
            passed={"task": f"mixed:{name}"},
            own_process=os.environ.get("STARTS") == "mixed",
        )


def task_final() -> Tasks:
    for name in doubtful():
        place = BUILD / name
        yield FINAL.task(
            name,
            inputs={"upper": place / "upper", "mixed": place / "mixed", "index": place / "index"},
            outputs={"final": place / "final"},
            owner=name,
            settings={},
            passed={"task": f"final:{name}"},
        )


def task_total() -> Tasks:
    finals = [BUILD / name / "final" for name in models()]
    yield TOTAL.task(
        "all",
        inputs={"finals": finals[::-1] if "REVERSE" in os.environ else finals, "shared": SHARED},
        outputs={"total": BUILD / "total"},
        settings={},
        passed={"task": "total:all"},
    )
