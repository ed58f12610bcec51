"""What the code of a step may tell the reporter of the run it is part of, from any thread.

Without a reporter of ours (doit's own, or no doit at all) a warning is printed and the rest is silent.
"""

from __future__ import annotations

import threading
from typing import Protocol

__all__ = ["Listener", "began", "cached", "listen", "progress", "speak_for", "unlisten", "warn"]


class Listener(Protocol):
    """A reporter."""

    def report_cached(self, task_name: str) -> None:
        """The outputs of a task came from the cache; doit will say that it ran."""

    def report_speaker(self, task_name: str) -> None:
        """This thread speaks for a task from now on."""

    def report_began(self, task_name: str) -> None:
        """A task has what it waited for, and really begins."""

    def report_progress(self, text: str) -> None:
        """The task of this thread says how far it is."""

    def report_warning(self, task_name: str, text: str) -> None:
        """A task warns."""


_listeners: list[Listener] = []
# An interrupt may come while it is held, and unlisten.
_lock = threading.RLock()


def listen(listener: Listener) -> None:
    """From now on tell this reporter."""
    with _lock:
        _listeners.append(listener)


def unlisten(listener: Listener) -> None:
    """Tell this reporter nothing more."""
    with _lock:
        if listener in _listeners:
            _listeners.remove(listener)


def _told() -> list[Listener]:
    with _lock:
        return list(_listeners)


def cached(task_name: str) -> None:
    """Say that a task's outputs came from the cache instead of from running it."""
    for listener in _told():
        listener.report_cached(task_name)


def speak_for(task_name: str) -> None:
    """Say that what this thread prints comes from a task that runs elsewhere."""
    for listener in _told():
        listener.report_speaker(task_name)


def began(task_name: str) -> None:
    """Say that a task has waited long enough: its time counts from now on."""
    for listener in _told():
        listener.report_began(task_name)


def progress(text: str) -> None:
    """Say how far the step is that runs in this thread; the last word counts, so it may be said often."""
    for listener in _told():
        listener.report_progress(text)


def warn(task_name: str, text: str) -> None:
    """Warn the person at the terminal, now and in the summary."""
    listeners = _told()
    if not listeners:
        print(f"   warning: {text}")
    for listener in listeners:
        listener.report_warning(task_name, text)
