"""What was found out about an environment outside, with the marks of the files that tell whether it is still so.

The table `findings` of `build/.records.db`: the key (what was asked, such as the name of a program), and in JSON what
was found out (`facts`, texts by name) and what the file system said of the files then (`files`, whole numbers by path).
Findings are in the order in which they were found out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from build_rules.engine.memory.table import Table

__all__ = ["Found", "keep", "recall"]

FINDINGS = Table("findings (key text primary key, facts text not null, files text not null)")
MAX_KEPT = 200
MAX_TEXT = 8 << 20
"""Characters of a row that are read; the files of a large environment take a tenth."""


class Found(NamedTuple):
    """What was found out, and the marks of the files that tell whether it is still so."""

    facts: Mapping[str, str]
    files: Mapping[str, tuple[int, ...]]


def recall(key: str) -> Found | None:
    """Return what was found out under a key, None when nothing was or it cannot be read any more."""
    query = "select facts, files from findings where key = ? and length(facts) + length(files) <= ?"
    for facts, files in FINDINGS.select(query, (key, MAX_TEXT)):
        with suppress(ValueError, TypeError, RecursionError):
            found = Found(json.loads(facts), json.loads(files))
            if _is_sound(found):
                return Found(found.facts, {path: tuple(marks) for path, marks in found.files.items()})
    return None


def keep(key: str, facts: Mapping[str, str], files: Mapping[str, Sequence[int]]) -> None:
    """Keep what was found out, in the place of what was before; passed over where nothing can be written."""
    row = (key, json.dumps(dict(facts)), json.dumps({path: [*marks] for path, marks in files.items()}))
    kept = "select rowid from findings order by rowid desc limit ?"
    FINDINGS.change(
        ("insert or replace into findings values (?, ?, ?)", [row]),  # a row that is replaced becomes the last one
        (f"delete from findings where rowid not in ({kept})", [(MAX_KEPT,)]),
    )


def _is_sound(found: tuple[Any, Any]) -> bool:
    facts, files = found
    if not (isinstance(facts, dict) and isinstance(files, dict)):
        return False
    return all(isinstance(value, str) for value in facts.values()) and all(
        isinstance(marks, list) and all(type(number) is int for number in marks) for marks in files.values()
    )
