"""Which steps failed last time, when and with what words: for `doit status`, after the terminal is closed.

The table `failures` of `build/.records.db`: the task, when it failed in seconds since 1970, and the words.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import NamedTuple

from build_rules.engine.memory.table import Table

__all__ = ["Failure", "note_failures", "read_failures"]

FAILURES = Table("failures (task text primary key, moment integer not null, words text not null)")
MAX_TEXT = 2000


class Failure(NamedTuple):
    """When a step failed, in seconds since 1970, and with what words."""

    when: int
    text: str


def read_failures() -> dict[str, Failure]:
    """Return the failures by task."""
    rows = FAILURES.select("select task, moment, words from failures")
    return {
        task: Failure(moment, words)
        for task, moment, words in rows
        if (type(task), type(moment), type(words)) == (str, int, str)
    }


def note_failures(failed: Mapping[str, str], up_to_date: Collection[str]) -> None:
    """Add what failed in a run, with its words, and take out what is up to date."""
    over = read_failures().keys() & up_to_date
    if not failed and not over:
        return
    now = int(time.time())
    FAILURES.change(
        ("delete from failures where task = ?", [(task,) for task in sorted(over)]),
        ("insert or replace into failures values (?, ?, ?)", [(t, now, text[:MAX_TEXT]) for t, text in failed.items()]),
    )
