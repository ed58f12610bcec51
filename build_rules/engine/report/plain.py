"""The lines of a run without a terminal, and the line at its end."""

from __future__ import annotations

from build_rules.engine.running.run_state import RunState
from build_rules.errors import printable

__all__ = ["cached", "counts", "done", "failed", "ignored", "running", "seconds", "started"]


def seconds(duration: float) -> str:
    """Return a duration as people say it."""
    return f"{duration:.1f} s" if duration < 100 else f"{duration / 60:.1f} min"


def started(name: str) -> str:
    """A step begins."""
    return f".  {name}\n"


def running(name: str, elapsed: float, expected: float | None, note: str, waits: str) -> str:
    """A step runs, or waits."""
    from build_rules.engine.report.frame import clock

    parts = [clock(elapsed), note]
    if waits:
        parts = [waits, clock(elapsed)]
    elif expected is not None:
        left = expected - elapsed
        parts.append(f"about {clock(left)} left" if left > 0 else f"{clock(expected)} expected")
    return f"   {name} {printable(', '.join(filter(None, parts)))}\n"


def done(name: str, duration: float, target: str) -> str:
    """A step has run."""
    return f"   {name} done in {seconds(duration)}: {target}\n"


def cached(name: str, target: str) -> str:
    """A step's outputs came from the cache."""
    return f"   {name} from the cache: {target}\n"


def ignored(name: str) -> str:
    """A step is skipped because the user said `doit ignore`."""
    return f"!! {name} is left out: it, or what it reads, was told to `doit ignore`\n"


def failed(name: str, text: str, word: str = "ERROR") -> str:
    """A step failed."""
    return f"{word} in {name}: {text}\n"


def counts(state: RunState, now: float) -> str:
    """Return the line at the end."""
    counted = [
        (state.ran, "run"),
        (state.cached, "from the cache"),
        (state.current, "up to date"),
        (state.failed, "failed"),
        (state.skipped, "not reached"),
    ]
    text = ", ".join(f"{count} {what}" for count, what in counted if count) or "nothing to do"
    return f"{text} in {seconds(now - state.began)}\n"
