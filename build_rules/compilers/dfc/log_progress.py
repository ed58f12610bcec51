"""How far a run of the compiler is, from what it prints while it runs: one short text, or nothing.

The optimization prints a bar for each algorithm (tqdm's, or Keras' with epochs), the compilation how many contexts it
tries and which attempt it is.
"""

from __future__ import annotations

import re

from build_rules.compilers.dfc.log_facts import algorithm_name
from build_rules.compilers.dfc.log_text import read_line

__all__ = ["Follower"]

_SHORT = {"Quantization-Aware Fine-Tuning": "fine-tune"}
_STARTING = re.compile(r"^Starting ([\w -]{1,60})$")
_BAR = re.compile(r"^([A-Za-z][\w ./:-]{0,80}?):?\s{0,8}(\d{1,3})%\|", re.ASCII)
_EPOCH = re.compile(r"^Epoch (\d{1,6})/(\d{1,6})")
_STEPS = re.compile(r"^(\d{1,9})/(\d{1,9}) ?[\[━]")
_PARTITION = re.compile(r"Found valid partition to (\d{1,6}) contexts?")
_TRIED = re.compile(r"^Iteration #(\d{1,9}) - Contexts: (\d{1,6})")
_MAPPING = re.compile(r"^Context:(\d{1,6})/(\d{1,6}) Iteration (\d{1,9})")
_ATTEMPT = re.compile(r"\b[Aa]llocation attempt #?(\d{1,9})(?:\D{1,40}(\d{1,6}) contexts?)?")
_VALIDATING = re.compile(r"^Validating \S{1,200} layer by layer \((\d{1,3})%\)")
_FIXED = (
    ("Translation started", "translation"),
    ("Finding the best partition", "partition search"),
    ("Running resources allocation", "allocation"),
    ("Solving the allocation", "allocation"),
    ("Compiling kernels", "code generation"),
    ("Compiling context", "code generation"),
    ("Building HEF", "writing the HEF"),
)
_NO_ALGORITHM = ("Model Optimization", "Hailo allocation and compilation flow")


class Follower:
    """Follows one run: `feed` it every raw line, in order."""

    def __init__(self) -> None:
        self._algorithm = ""
        self._epoch: tuple[int, int] | None = None
        self._partitions = 0
        self._told: str | None = None

    def feed(self, line: str) -> str | None:
        """Return what there is to tell now; None when the line says nothing, or what was told last."""
        text = self._text(read_line(line).text)
        if text is None or text == self._told:
            return None
        self._told = text
        return text

    def _text(self, line: str) -> str | None:
        return self._optimizing(line) or self._compiling(line)

    def _optimizing(self, line: str) -> str | None:
        if (match := _STARTING.match(line)) and match[1] not in _NO_ALGORITHM:
            name = algorithm_name(match[1])
            self._algorithm, self._epoch = _SHORT.get(name, name.lower()), None
            return self._algorithm
        if match := _EPOCH.match(line):
            self._epoch = (int(match[1]), int(match[2]))
            return self._of_epoch("")
        if (match := _STEPS.match(line)) and self._epoch is not None and int(match[2]) > 0:
            return self._of_epoch(f", {_percent(int(match[1]) * 100 // int(match[2]))}")
        if match := _BAR.match(line):
            name = match[1].strip().lower()
            known = self._algorithm if name == "calibration" and self._algorithm else name
            return f"{known}: {_percent(int(match[2]))}"
        return None

    def _of_epoch(self, rest: str) -> str:
        assert self._epoch is not None
        return f"{self._algorithm or 'fine-tune'}: epoch {self._epoch[0]} of {self._epoch[1]}{rest}"

    def _compiling(self, line: str) -> str | None:
        if match := _PARTITION.search(line):
            self._partitions += 1
            return f"partition search: attempt {self._partitions}, {_contexts(int(match[1]))}"
        if match := _TRIED.match(line):
            return f"partition search: attempt {int(match[1])}, {_contexts(int(match[2]))}"
        if match := _MAPPING.match(line):
            return f"allocation: attempt {int(match[3])}, {_contexts(int(match[2]) + 1)}"
        if match := _ATTEMPT.search(line):
            contexts = f", {_contexts(int(match[2]))}" if match[2] else ""
            return f"allocation: attempt {int(match[1])}{contexts}"
        if match := _VALIDATING.match(line):
            return f"validation: {_percent(int(match[1]))}"
        return next((text for begin, text in _FIXED if line.startswith(begin)), None)


def _percent(value: int) -> str:
    return f"{min(value, 100)} %"


def _contexts(count: int) -> str:
    return f"{count} context{'' if count == 1 else 's'}"
