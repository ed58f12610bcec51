"""The smallest set of layers that helps: which sets are tried, and which one is taken.

Tried are no layer and all of them, which tells what can be won; then the loudest, 1, 2, 4, ...; between the last that
does not do and the first that does, the smallest that does; and of that each layer is left out, the quietest first. A
set does when it is within `ENOUGH` of what is wanted, or when no paired test over objects can tell the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from build_rules.mixed.candidates import Candidate
from build_rules.objects.agreement import Agreement

__all__ = ["ENOUGH", "MAX_LAYERS", "MAX_TRIALS", "Found", "Trial", "find_smallest"]

ENOUGH = 0.01
"""So far below what all candidates in 16 bits give (AP50-95 of its objects against float's), a set does: on a few dozen
images one object more or less moves it by as much."""
MAX_LAYERS = 16
MAX_TRIALS = 32
Outcome = Literal["found", "not needed", "spread", "no objects"]


@dataclass(frozen=True)
class Trial:
    """One set, tried. `wide` are the layers that have 16 bits then, which may be more than were named.

    `snr` is that at the cells that hold objects, in dB, over all outputs; `frame_bytes` are delivered for one frame.
    """

    candidates: tuple[Candidate, ...]
    agreement: Agreement
    snr: float
    frame_bytes: int
    wide: tuple[str, ...]

    @property
    def value(self) -> float:
        """What sets are compared by."""
        return self.agreement.map50_95 or 0.0


@dataclass(frozen=True)
class Found:
    """What the search ends with: what was `before`, what `all` candidates give, and the set that is `taken`."""

    outcome: Outcome
    before: Trial
    all: Trial | None
    taken: Trial | None
    trials: int


def find_smallest(
    candidates: Sequence[Candidate],
    try_set: Callable[[tuple[Candidate, ...]], Trial],
    helps: Callable[[Trial, Trial], bool],
) -> Found:
    """Return the smallest set; `candidates` come loudest first.

    `try_set` tries one, `helps(before, after)` tells whether the second finds what the first does not, beyond luck.
    """
    return _Search(candidates, try_set, helps).run()


class _Search:
    """Remembers what was tried: no set is tried twice."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        try_set: Callable[[tuple[Candidate, ...]], Trial],
        helps: Callable[[Trial, Trial], bool],
    ) -> None:
        self.candidates, self._try, self.helps = tuple(candidates), try_set, helps
        self._tried: dict[tuple[Candidate, ...], Trial] = {}

    def trial(self, chosen: tuple[Candidate, ...]) -> Trial:
        if chosen not in self._tried:
            self._tried[chosen] = self._try(chosen)
        return self._tried[chosen]

    def loudest(self, count: int) -> Trial:
        return self.trial(self.candidates[:count])

    def does(self, trial: Trial, wanted: Trial) -> bool:
        return trial.value >= wanted.value - ENOUGH or not self.helps(trial, wanted)

    @property
    def has_time(self) -> bool:
        return len(self._tried) < MAX_TRIALS

    def run(self) -> Found:
        before = self.loudest(0)
        if before.agreement.map50_95 is None:
            return self._found("no objects", before, None, None)
        if not self.candidates:
            return self._found("spread", before, None, None)
        best = self.trial(self.candidates)
        if self.does(before, best):
            return self._found("not needed" if before.value >= 1 - 2 * ENOUGH else "spread", before, best, None)
        taken = self._leave_out(self._smallest(best))
        if not self.helps(before, taken):
            return self._found("spread", before, best, None)
        return self._found("found", before, best, taken)

    def _found(self, outcome: Outcome, before: Trial, best: Trial | None, taken: Trial | None) -> Found:
        return Found(outcome, before, best, taken, len(self._tried))

    def _smallest(self, best: Trial) -> Trial:
        """Return the fewest of the loudest that do; where none does, the fewest that come as near as any."""
        sizes = [size for size in (1, 2, 4, 8, MAX_LAYERS) if size < len(self.candidates)]
        sizes.append(min(len(self.candidates), MAX_LAYERS))
        sizes = list(dict.fromkeys(sizes))
        tried: list[Trial] = []
        for size in sizes:
            tried.append(self.loudest(size))
            if self.does(tried[-1], best):
                break
        wanted = max(tried, key=lambda trial: trial.value)
        does = next(trial for trial in tried if self.does(trial, wanted))
        below = max(
            (len(trial.candidates) for trial in tried if len(trial.candidates) < len(does.candidates)), default=0
        )
        return self._between(below, does, wanted)

    def _between(self, below: int, does: Trial, wanted: Trial) -> Trial:
        while len(does.candidates) - below > 1 and self.has_time:
            middle = self.loudest((below + len(does.candidates)) // 2)
            if self.does(middle, wanted):
                does = middle
            else:
                below = len(middle.candidates)
        return does

    def _leave_out(self, taken: Trial) -> Trial:
        """Leave out every layer without which it is as good, the quietest first."""
        wanted = taken.value - ENOUGH / 2
        for candidate in reversed(taken.candidates):
            if len(taken.candidates) == 1 or not self.has_time:
                break
            without = self.trial(tuple(each for each in taken.candidates if each != candidate))
            if without.value >= wanted:
                taken = without
        return taken
