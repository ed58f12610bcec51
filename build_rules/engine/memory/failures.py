"""Which steps failed last time, when and with what words: for `doit status`, after the terminal is closed.

`build/.failures.json`, JSON: `{"har:yolov8n:hailo8l-fast": {"when": 1790000000, "text": "..."}}`; seconds since 1970.
A damaged file is an empty one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from typing import Any

from build_rules.engine.places import read_regular, write_whole

__all__ = ["FAILURES", "note_failures", "read_failures"]

FAILURES = "build/.failures.json"
MAX_TEXT = 2000


def read_failures() -> dict[str, dict[str, Any]]:
    """Return the failures by task."""
    with suppress(OSError, ValueError):
        found = json.loads(read_regular(FAILURES))
        if isinstance(found, dict) and all(map(_is_failure, found.values())):
            return found
    return {}


def _is_failure(one: Any) -> bool:
    return isinstance(one, dict) and type(one.get("when")) is int and isinstance(one.get("text"), str)


def note_failures(failed: Mapping[str, str], succeeded: Iterable[str], fresh: Container[str] = ()) -> None:
    """Add what failed in a run, with its words, and take out what succeeded; what cannot be written is not noted.

    `fresh` are the owners of whose steps, all of them, a run has found out together that they are up to date.
    """
    before = read_failures()
    known = {task: one for task, one in before.items() if "".join(task.split(":")[1:2]) not in fresh}
    now = int(time.time())
    after = {task: one for task, one in known.items() if task not in set(succeeded)}
    after |= {task: {"when": now, "text": text[:MAX_TEXT]} for task, text in failed.items()}
    if after == before:
        return
    with suppress(OSError):
        write_whole(FAILURES, [json.dumps(after, indent=1).encode()])
