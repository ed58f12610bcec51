"""What the code of a step may say of the run that it is part of, from any thread.

It imports nothing of ours, so a step's action key holds no reporter's code. Without a reporter of ours (doit's own, or
no doit at all) a warning is printed and the rest is silent.
"""

from __future__ import annotations

from typing import Protocol

__all__ = [
    "Listener",
    "began",
    "cached",
    "listen",
    "progress",
    "speak_for",
    "tell_warning",
    "unlisten",
    "waits",
    "warn",
]


class Listener(Protocol):
    """Who takes what steps say: the reporter, or in a step's own process what passes it on to that."""

    def report_cached(self, task_name: str) -> None:
        """The outputs of a task came from the cache; doit will say that it ran."""

    def report_speaker(self, task_name: str) -> None:
        """This thread speaks for a task from now on."""

    def report_waits(self, task_name: str, reason: str) -> None:
        """A task cannot begin yet, and why."""

    def report_began(self, task_name: str) -> None:
        """A task has what it waited for, and really begins."""

    def report_progress(self, text: str) -> None:
        """The task of this thread says how far it is."""

    def report_warning(self, task_name: str, text: str) -> None:
        """A task warns."""


class _Line:
    """Leads from the steps of this process to its reporter, where there is one."""

    listener: Listener | None = None


_line = _Line()
"""There is one per process: a step is called with paths and settings alone, in whatever thread, and a process has one
reporter at most. That is put in and taken out in one go, so threads that speak meanwhile need no lock."""


def listen(listener: Listener) -> None:
    """From now on tell this listener, and nobody else."""
    _line.listener = listener


def unlisten(listener: Listener) -> None:
    """Tell this listener nothing more."""
    if _line.listener is listener:
        _line.listener = None


def cached(task_name: str) -> None:
    """Say that a task's outputs came from the cache instead of from running it."""
    if (listener := _line.listener) is not None:
        listener.report_cached(task_name)


def speak_for(task_name: str) -> None:
    """Say that what this thread prints comes from a task that runs elsewhere."""
    if (listener := _line.listener) is not None:
        listener.report_speaker(task_name)


def waits(task_name: str, reason: str) -> None:
    """Say that a task that was to begin waits, and for what."""
    if (listener := _line.listener) is not None:
        listener.report_waits(task_name, reason)


def began(task_name: str) -> None:
    """Say that a task has waited long enough: its time counts from now on."""
    if (listener := _line.listener) is not None:
        listener.report_began(task_name)


def progress(text: str) -> None:
    """Say how far the step is that runs in this thread; the last word counts, so it may be said often."""
    if (listener := _line.listener) is not None:
        listener.report_progress(text)


def tell_warning(text: str) -> None:
    """Warn the person at the terminal from within a step: whoever reports knows which one it is that prints."""
    print(f"   warning: {text}", flush=True)


def warn(task_name: str, text: str) -> None:
    """Warn the person at the terminal, now and in the summary."""
    if (listener := _line.listener) is None:
        tell_warning(text)
    else:
        listener.report_warning(task_name, text)
