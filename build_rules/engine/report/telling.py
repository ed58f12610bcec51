"""What there is to tell of a run: one method per event, for reporters to fill. Here each of them tells nothing."""

from __future__ import annotations

__all__ = ["Telling"]


class Telling:
    """The events of a run. Several threads may tell at the same time."""

    def tell_begin(self) -> None:
        """The run begins: nobody else builds here now."""

    def begin_steps(self) -> None:
        """The first step is about to run."""

    def end_steps(self) -> None:
        """No step runs any more."""

    def withhold(self) -> tuple[bool, bool]:
        """Say whether what steps print to stdout and stderr is kept from there, and shown by `tell_line` alone."""
        return False, False

    def tell_start(self, name: str) -> None:
        """A step begins."""

    def tell_wait(self, name: str, reason: str) -> None:
        """A step that was told to begin waits, and for what."""

    def tell_done(self, name: str, seconds: float, target: str) -> None:
        """A step has run."""

    def tell_cached(self, name: str, seconds: float, target: str) -> None:
        """A step's outputs came from the cache."""

    def tell_fresh(self, name: str | None, count: int) -> None:
        """A step, or several that have no name, have nothing to do."""

    def tell_ignored(self, name: str) -> None:
        """A step is skipped because the user wants it."""

    def tell_failure(self, name: str, text: str, seconds: float | None) -> None:
        """A step failed; without seconds when it had not begun."""

    def tell_not_reached(self, name: str) -> None:
        """A step could not run because another one failed."""

    def tell_line(self, name: str, line: str, warning: str | None, shown: bool) -> None:
        """A step printed a line, perhaps a warning; `shown` when it has been passed on already."""

    def tell_progress(self, name: str, text: str, due: bool) -> None:
        """A step says how far it is; `due` when that has not been told for a while."""

    def tell_note(self, text: str) -> None:
        """Something about the run as a whole is worth a line."""

    def tell_abort(self, text: str) -> None:
        """The run itself cannot go on."""

    def tell_end(self, code: int) -> None:
        """The run has ended, or is about to be ended by an interrupt."""
