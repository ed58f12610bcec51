"""What the compiler did, read back from its log: much of it is said there alone, and nothing of it as an error.

Wordings are those of the DFC 3.24 to 3.33 in public logs. Facts hold no times and no paths, so that they are the same
whenever the same is made; `read_times` has the times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

from build_rules.compilers.dfc.log_text import LogLine, plain_lines, split_sections

__all__ = ["LogFacts", "Utilization", "algorithm_name", "read_log", "read_times"]

NAMES = 256
"""Layers, algorithms, contexts that are kept, of each kind."""

_ALIASES = {
    "stats collector": "Statistics Collector",
    "fine tune": "Quantization-Aware Fine-Tuning",
    "layer norm decomposition": "LayerNorm Decomposition",
    "create_layer_norm": "LayerNorm Decomposition",
    "matmul_equalization": "Matmul Equalization",
}
"""What algorithms were called in older versions."""


@dataclass(frozen=True)
class Utilization:
    """How much of the chip one context takes, in percent."""

    control: float
    compute: float
    memory: float


@dataclass
class LogFacts:
    """What a log says; what it does not say is None or empty.

    `level` is the optimization level that was lowered to, with the reason; `datasets` the images used by purpose
    (`calibration`, `finetune`, ...), `short` the images that an algorithm wanted and that were not there. `four_bit`
    are layers with 4-bit weights, `four_bit_ratio` their part of all weights; `narrowed` layers lost more than half of
    the bits of their outputs. `bandwidth` is in Mbit for one frame, `noise` the signal-to-noise ratio of the outputs
    in dB, by layer.
    """

    level: int | None = None
    level_reason: str = ""
    default_level: int | None = None
    datasets: Mapping[str, int] = field(default_factory=dict)
    short: Mapping[str, int] = field(default_factory=dict)
    ran: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    four_bit: tuple[str, ...] = ()
    four_bit_ratio: float | None = None
    narrowed: tuple[str, ...] = ()
    unnormalized: bool = False
    end_nodes: tuple[str, ...] = ()
    noise: Mapping[str, float] = field(default_factory=dict)
    contexts: int | None = None
    single_context: str = ""
    utilization: tuple[Utilization, ...] = ()
    bandwidth: Mapping[str, float] = field(default_factory=dict)
    partitions: int | None = None
    attempts: int | None = None


def algorithm_name(name: str) -> str:
    """Return the name that an algorithm has in version 3.33, whatever an older one called it."""
    return _ALIASES.get(name.strip().lower(), name.strip())


def read_log(text: str) -> LogFacts:
    """Read the joined logs of a run. They say much twice; of lists, the log counts that says most."""
    facts = LogFacts()
    for _, section in split_sections(text):
        found = LogFacts()
        for line in plain_lines(section):
            _read(line, found)
        for each in fields(LogFacts):
            setattr(facts, each.name, _merged(getattr(facts, each.name), getattr(found, each.name)))
    return facts


def read_times(text: str) -> dict[str, float]:
    """Return how many seconds each part took, by the name of the algorithm or stage, in order; of several the last."""
    times: dict[str, float] = {}
    for line in plain_lines(text):
        if "time" in line.text or "Time" in line.text:
            for name, seconds in _times(line.text):
                _put(times, name, seconds)
    return times


def _merged(first: object, second: object) -> object:
    if isinstance(first, dict) and isinstance(second, dict):
        return {**second, **first}
    if isinstance(first, tuple) and isinstance(second, tuple):
        return second if len(second) > len(first) else first
    return second if first in (None, "", False) else first


def _read(line: LogLine, facts: LogFacts) -> None:
    for word, pattern, note in _READERS:
        if word in line.text and (match := pattern.search(line.text)):
            note(facts, match)
            return


def _lowered(facts: LogFacts, match: re.Match[str]) -> None:
    facts.level = int(match[1])
    facts.level_reason = match[2].strip(" .") if match[2] else ""


def _default_level(facts: LogFacts, match: re.Match[str]) -> None:
    facts.default_level = int(match[1])


def _dataset(facts: LogFacts, match: re.Match[str]) -> None:
    _put(facts.datasets, match[2].strip(" .").lower(), int(match[1]))


def _short(facts: LogFacts, match: re.Match[str]) -> None:
    _put(facts.short, algorithm_name(match[1]), int(match[2]))


def _ran(facts: LogFacts, match: re.Match[str]) -> None:
    facts.ran = _with(facts.ran, algorithm_name(match[1]))


def _skipped(facts: LogFacts, match: re.Match[str]) -> None:
    facts.skipped = _with(facts.skipped, algorithm_name(match[1]))


def _four_bit(facts: LogFacts, match: re.Match[str]) -> None:
    for name in re.findall(r"[\w.-]{1,100}(?:/[\w.-]{1,100})?", match[1])[:NAMES]:
        facts.four_bit = _with(facts.four_bit, name.rstrip("."))


def _four_bit_ratio(facts: LogFacts, match: re.Match[str]) -> None:
    facts.four_bit_ratio = float(match[1])


def _narrowed(facts: LogFacts, match: re.Match[str]) -> None:
    facts.narrowed = _with(facts.narrowed, match[1])


def _unnormalized(facts: LogFacts, match: re.Match[str]) -> None:
    facts.unnormalized = True


def _end_nodes(facts: LogFacts, match: re.Match[str]) -> None:
    facts.end_nodes = tuple(re.findall(r"'([^']{1,500})'", match[1])[:NAMES])


def _noise(facts: LogFacts, match: re.Match[str]) -> None:
    _put(facts.noise, match[1], float(match[2]))


def _contexts(facts: LogFacts, match: re.Match[str]) -> None:
    facts.contexts = int(match[1])


def _partition(facts: LogFacts, match: re.Match[str]) -> None:
    facts.contexts = int(match[1])
    facts.partitions = (facts.partitions or 0) + 1


def _single_flow(facts: LogFacts, match: re.Match[str]) -> None:
    facts.contexts = 1


def _many_flow(facts: LogFacts, match: re.Match[str]) -> None:
    facts.contexts = None


def _not_single(facts: LogFacts, match: re.Match[str]) -> None:
    facts.single_context = match[1].strip(" .")


def _attempt(facts: LogFacts, match: re.Match[str]) -> None:
    facts.attempts = max(facts.attempts or 0, int(match[1]))


def _utilization(facts: LogFacts, match: re.Match[str]) -> None:
    if len(facts.utilization) < NAMES:
        facts.utilization += (Utilization(float(match[1]), float(match[2]), float(match[3])),)


def _streams(facts: LogFacts, match: re.Match[str]) -> None:
    _put(facts.bandwidth, "inputs", float(match[1]))
    _put(facts.bandwidth, "outputs", float(match[2]))


def _buffers(facts: LogFacts, match: re.Match[str]) -> None:
    _put(facts.bandwidth, match[1].lower(), float(match[2]))


def _with(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return names if name in names or len(names) >= NAMES else (*names, name)


def _put(values: Mapping[str, int] | Mapping[str, float], name: str, value: float) -> None:
    assert isinstance(values, dict)
    if name in values or len(values) < NAMES:
        values[name] = value


_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
_COUNT = r"(\d{1,9})"
_CELL = r"\s{0,40}(\d{1,4}(?:\.\d{1,4})?)%\s{0,40}\|"
_READERS: tuple[tuple[str, re.Pattern[str], Callable[[LogFacts, re.Match[str]], None]], ...] = tuple(
    (word, re.compile(pattern), note)
    for word, pattern, note in (
        (
            "Reducing optimization",
            rf"Reducing optimization level to {_COUNT}(?:.{{0,200}}?\bbecause (.{{1,300}}))?",
            _lowered,
        ),
        ("default optimization", rf"Using default optimization level of {_COUNT}", _default_level),
        ("Using dataset", rf"Using dataset with {_COUNT} entries for ([\w .-]{{1,60}})", _dataset),
        ("enough data", rf"([\w -]{{1,60}}): Dataset didn't have enough data for dataset_size of {_COUNT}", _short),
        ("is done", r"^(?:Model Optimization Algorithm )?([\w -]{1,60}?) is done \(completion", _ran),
        ("skipped", r"^(?:Model Optimization Algorithm )?([\w -]{1,60}?) skipped$", _skipped),
        ("4bit", r"Assigning 4bit weights? to layer (\S{1,200})", _four_bit),
        ("4bit", r"Assigning 4bit weights? to \d{1,9} layers?: (.{1,2000})", _four_bit),
        ("4bit", rf"Ratio of weights in 4bit is {_NUMBER}", _four_bit_ratio),
        ("Reducing output bits", r"Reducing output bits of (\S{1,200}) by \d{1,3}.{0,20}More than half", _narrowed),
        ("not be normalized", r"The calibration set seems to not be normalized", _unnormalized),
        ("End nodes mapped", r"End nodes mapped from original model: (.{1,2000})", _end_nodes),
        ("SNR:", r"^(\S{1,200}) SNR:\s{0,20}(-?\d{1,6}(?:\.\d{1,9})?) dB", _noise),
        ("Applying selected", rf"Applying selected partition to {_COUNT} contexts?", _contexts),
        ("valid partition", rf"Found valid partition to {_COUNT} contexts?", _partition),
        ("Single-context flow", r"Using Single-context flow", _single_flow),
        ("Multi-context flow", r"Using Multi-context flow", _many_flow),
        ("Single context flow", r"Single context flow failed: (.{1,300})", _not_single),
        ("Iteration", rf"Iteration #?{_COUNT}\b", _attempt),
        ("Total", rf"\|\s{{0,4}}Total\s{{0,20}}\|{_CELL}{_CELL}{_CELL}", _utilization),
        ("Bandwidth of model", rf"Bandwidth of model inputs: {_NUMBER} Mbps, outputs: {_NUMBER} Mbps", _streams),
        ("Bandwidth of", rf"Bandwidth of (DDR buffers|inter context tensors): {_NUMBER} Mbps", _buffers),
    )
)

_CLOCK = re.compile(r"^(.{1,120}?) \(completion time(?: is|:) (\d{1,4}):(\d\d):(\d\d(?:\.\d{1,3})?)\)")
_WORDS = re.compile(r"\b(allocation time|compilation time|Time it took): ((?:\d{1,6}(?:h|ms|m|s) ?){1,5})")
_PARTS = {"allocation time": "Allocation", "compilation time": "Compilation", "Time it took": "Partition search"}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def _times(text: str) -> list[tuple[str, float]]:
    if match := _CLOCK.match(text):
        name = match[1].removeprefix("Model Optimization Algorithm ").removesuffix(" is done")
        name = "Translation" if name.startswith("Translation completed") else algorithm_name(name)
        return [(name, round(int(match[2]) * 3600 + int(match[3]) * 60 + float(match[4]), 3))]
    found = []
    for part in _WORDS.finditer(text):
        seconds = sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)(ms|h|m|s)", part[2]))
        found.append((_PARTS[part[1]], round(seconds, 3)))
    return found
