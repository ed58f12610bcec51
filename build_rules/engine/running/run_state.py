"""The state of a run: what ran, what runs, what went wrong, its exit code. Whoever calls says what time it is."""

from __future__ import annotations

from typing import NamedTuple

from build_rules.exit_codes import DONE, FAILED, UNEXPECTED, WRONG_INPUT

__all__ = ["Diagnostic", "RunState"]

PROGRESS_SECONDS = 10.0
"""Where progress becomes lines, a step that says how far it is has one so often,"""
HEARTBEAT_SECONDS = 60.0
"""and after this time every step has one so often, whether it says anything or not."""


class Diagnostic(NamedTuple):
    """Something said about a task; `task` is empty where nobody knows which one said it."""

    task: str
    text: str


class RunState:
    """Counts, running steps, durations, warnings and failures of one run. Names are those of doit's tasks."""

    def __init__(self, now: float) -> None:
        self.began = now
        self.ran = self.cached = self.current = self.failed = self.skipped = 0
        self.unloaded = 0
        """How many of `current` were never loaded as tasks."""
        self.running: dict[str, float] = {}
        """Name to the time it was started."""
        self.waiting: dict[str, str] = {}
        """Name to what it waits for, of what was started and has not really begun."""
        self.notes: dict[str, str] = {}
        """Name to how far it is, of what runs and says so."""
        self.progress_shown: dict[str, float] = {}
        """Name to the time when its progress was last printed as a line."""
        self.took: dict[str, float] = {}
        """Name to seconds, of what ran to its end."""
        self.settled: set[str] = set()
        """Everything that has been decided, with and without work."""
        self.up_to_date: set[str] = set()
        """What ran to its end, came from the cache, or had nothing to do."""
        self.dead: set[str] = set()
        """What failed or was not reached: nothing that needs it will run."""
        self.most_running = 0
        self.warnings: list[Diagnostic] = []
        self.failures: list[Diagnostic] = []
        self.lines_since_failure = 0
        self.aborted = False
        """Whether the run itself could not go on."""
        self.refused = False
        """Whether that was because this user cannot build here."""
        self.wrong_input = False
        """Whether a step refused what it was given."""
        self.unexpected = False
        """Whether a step ended otherwise than by failing."""

    @property
    def exit_code(self) -> int:
        """The exit code of the run as far as it has come; steps that were not reached change nothing in it."""
        if self.aborted and not self.refused:
            return UNEXPECTED
        if self.wrong_input or self.refused:
            return WRONG_INPUT
        return UNEXPECTED if self.unexpected else FAILED if self.failed else DONE

    def start(self, name: str, now: float) -> None:
        """A step begins."""
        self.running[name] = now
        self.most_running = max(self.most_running, len(self.running))
        self.lines_since_failure += 1

    def wait(self, name: str, reason: str) -> None:
        """A step that was started waits for something."""
        if name in self.running:
            self.waiting[name] = reason

    def begin(self, name: str, now: float) -> None:
        """A step has what it waited for; its time counts from now on."""
        self.waiting.pop(name, None)
        if name in self.running:
            self.running[name] = now

    def progress(self, name: str, text: str, now: float) -> bool:
        """A step says how far it is; return whether a line of that is due."""
        self.notes[name] = text
        begun = self.running[name]
        every = PROGRESS_SECONDS if now - begun < HEARTBEAT_SECONDS else HEARTBEAT_SECONDS
        return self._is_due(name, now, every)

    def due(self, now: float) -> list[str]:
        """Return the steps of which nothing has been told for a minute."""
        return [name for name in self.running if self._is_due(name, now, HEARTBEAT_SECONDS)]

    def _is_due(self, name: str, now: float, every: float) -> bool:
        if now - max(self.progress_shown.get(name, 0.0), self.running[name]) < every:
            return False
        self.progress_shown[name] = now
        return True

    def _settle(self, name: str, now: float) -> float:
        self.settled.add(name)
        self.notes.pop(name, None)
        self.waiting.pop(name, None)
        return now - self.running.pop(name, now)

    def done(self, name: str, now: float) -> float:
        """A step has run to its end; return its seconds."""
        self.ran += 1
        self.up_to_date.add(name)
        self.lines_since_failure += 1
        self.took[name] = self._settle(name, now)
        return self.took[name]

    def restored(self, name: str, now: float) -> float:
        """A step's outputs came from the cache; return the seconds that took."""
        self.cached += 1
        self.up_to_date.add(name)
        self.lines_since_failure += 1
        return self._settle(name, now)

    def fresh(self, name: str) -> None:
        """A step has nothing to do."""
        self.current += 1
        self.up_to_date.add(name)
        self.settled.add(name)

    def all_fresh(self, count: int) -> None:
        """Steps that were not even loaded have nothing to do."""
        self.current += count
        self.unloaded += count

    def failure(self, name: str, text: str, now: float, announced: bool = False) -> float | None:
        """A step failed; return its seconds, None when it had not begun. `announced`: that was said before."""
        begun = name in self.running
        self.failed += 1
        self.failures.append(Diagnostic(name, text))
        if not announced:
            self.lines_since_failure = 0
        self.dead.add(name)
        seconds = self._settle(name, now)
        return seconds if begun else None

    def not_reached(self, name: str) -> None:
        """A step could not run, because one that it needs failed."""
        self.skipped += 1
        self.dead.add(name)
        self.settled.add(name)

    def warn(self, name: str, text: str) -> None:
        """A step warned."""
        self.warnings.append(Diagnostic(name, text))

    def owner(self, name: str | None) -> str:
        """Return whose output it is that came from the thread of `name`: a step's own threads have no name."""
        if name is None and len(self.running) == 1:
            return next(iter(self.running))
        return name or ""
