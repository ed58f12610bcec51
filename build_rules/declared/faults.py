"""What is declared wrongly, and which step cannot be done because of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from build_rules.errors import InputError

__all__ = ["Fault", "Faults"]

T = TypeVar("T")


@dataclass(frozen=True)
class Fault:
    """What is wrong with a declaration, in one paragraph, and the first step that cannot be done because of it.

    `target` names the target that it is about; empty when it is about all of them.
    """

    step: str
    text: str
    target: str = ""


class Faults:
    """What is found to be wrong while a model is read, each with the step that it stops."""

    def __init__(self, place: Path) -> None:
        self.recorded: list[Fault] = []
        self._place = place

    def ask(self, step: str, choose: Callable[[], T], otherwise: T, target: str = "") -> T:
        """Return what `choose` returns; what it refuses becomes a fault of the step."""
        try:
            return choose()
        except InputError as error:
            self.recorded.append(Fault(step, str(error), target))
        except OSError as error:
            self.recorded.append(
                Fault(step, f"{error.filename or self._place}: cannot be read ({error.strerror}).", target)
            )
        return otherwise
