"""What became of each file of a pool, and how a run tells it: one line that counts, then some of the names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from build_rules.errors import printable

__all__ = ["MAX_NAMED", "Kind", "Outcome", "summarize"]

Kind = Literal["used", "duplicate", "broken"]

MAX_NAMED = 20
"""How many files of one kind are named."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file: `used` (it can be selected), `duplicate` or `broken` (it cannot be decoded).

    `name` is its name in the pool. `reason` says why a broken one is skipped; of a duplicate it is the name of the file
    with the same content that stands for it.
    """

    name: str
    kind: Kind
    reason: str = ""


def summarize(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Return the lines that tell the outcomes of a whole pool, fit for a terminal.

    `5,000 images: 4,980 usable, 12 duplicates, 8 skipped (cannot be decoded)`, then for each kind of those not used at
    most `MAX_NAMED` names in the order given, and how many more there are.
    """
    duplicates = [outcome for outcome in outcomes if outcome.kind == "duplicate"]
    broken = [outcome for outcome in outcomes if outcome.kind == "broken"]
    counts = [f"{len(outcomes) - len(duplicates) - len(broken):,} usable"]
    if duplicates:
        counts.append(_count(len(duplicates), "duplicate"))
    if broken:
        counts.append(f"{len(broken):,} skipped (cannot be decoded)")
    lines = [f"{_count(len(outcomes), 'image')}: {', '.join(counts)}", *_named(duplicates), *_named(broken)]
    return tuple(map(printable, lines))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _named(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for outcome in outcomes[:MAX_NAMED]:
        if outcome.kind == "duplicate":
            yield f"duplicate: {outcome.name} is the same as {outcome.reason}"
        else:
            yield f"skipped: {outcome.name}: {outcome.reason}"
    if len(outcomes) > MAX_NAMED:
        yield f"and {len(outcomes) - MAX_NAMED:,} more"
