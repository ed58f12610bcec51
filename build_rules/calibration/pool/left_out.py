"""What became of the images of a pool, and how a run tells it: one line that counts, then some of the names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from build_rules.errors import printable

__all__ = ["MAX_NAMED", "Outcome", "summarize"]

MAX_NAMED = 20
"""How many images of one kind are named."""


@dataclass(frozen=True)
class Outcome:
    """An image that is left out: `kind` is `broken` or `duplicate`, `reason` says it in words."""

    name: str
    kind: str
    reason: str


def summarize(usable: int, left_out: Sequence[Outcome]) -> tuple[str, ...]:
    """Return the lines that tell what became of a pool, fit for a terminal.

    `5,000 images: 4,980 usable, 12 duplicates, 8 skipped (cannot be decoded)`, then for each kind of those left out at
    most `MAX_NAMED` names, in the order given, and how many more there are.
    """
    duplicates = [outcome for outcome in left_out if outcome.kind == "duplicate"]
    broken = [outcome for outcome in left_out if outcome.kind == "broken"]
    counts = [f"{usable:,} usable"]
    if duplicates:
        counts.append(_count(len(duplicates), "duplicate"))
    if broken:
        counts.append(f"{len(broken):,} skipped (cannot be decoded)")
    total = _count(usable + len(left_out), "image")
    lines = [f"{total}: {', '.join(counts)}", *_named("duplicate", duplicates), *_named("skipped", broken)]
    return tuple(map(printable, lines))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _named(what: str, outcomes: Sequence[Outcome]) -> Iterator[str]:
    for outcome in outcomes[:MAX_NAMED]:
        yield f"{what}: {outcome.name}: {outcome.reason}"
    if len(outcomes) > MAX_NAMED:
        yield f"and {len(outcomes) - MAX_NAMED:,} more"
